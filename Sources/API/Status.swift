public import Policy

/// The answer of `GET /v1/status`.
public struct StatusDocument: Codable, Hashable, Sendable {
    /// The running agent.
    public var agent: AgentStatus
    /// The gate in the kernel.
    public var gate: GateStatus
    /// Why the ledger takes nothing, and so nothing opens; absent where it does.
    public var ledgerFault: String?
    /// What the agent found wrong with the audit trail when it started; absent where nothing was, and
    /// for who is but a requester.
    public var auditFault: String?
    /// A change that is rolled back unless it is confirmed in time; absent where there is none.
    public var unconfirmed: UnconfirmedDocument?
    /// The policies the caller may see, in the order of the files: to a requester those it may ask
    /// under, with figures of its own requests alone.
    public var policies: [PolicyStatus]
    /// Who asked, and what this person may do.
    public var you: YouDocument

    /// Makes it of its parts.
    public init(
        agent: AgentStatus,
        gate: GateStatus,
        ledgerFault: String?,
        auditFault: String?,
        unconfirmed: UnconfirmedDocument? = nil,
        policies: [PolicyStatus],
        you: YouDocument
    ) {
        self.agent = agent
        self.gate = gate
        self.ledgerFault = ledgerFault
        self.auditFault = auditFault
        self.unconfirmed = unconfirmed
        self.policies = policies
        self.you = you
    }
}

/// A change that waits for its confirmation.
public struct UnconfirmedDocument: Codable, Hashable, Sendable {
    /// What was changed.
    public var change: UnconfirmedChange
    /// When.
    public var at: Timestamp
    /// The name of who did it.
    public var by: String
    /// When it is rolled back.
    public var until: Timestamp

    /// Makes it of its parts.
    public init(change: UnconfirmedChange, at: Timestamp, by: String, until: Timestamp) {
        self.change = change
        self.at = at
        self.by = by
        self.until = until
    }
}

/// That the gate was taken away.
public struct DisarmedDocument: Codable, Hashable, Sendable {
    /// When; absent where the gate was never armed.
    public var at: Timestamp?
    /// The name of who did it; absent where it was the agent, since the arming was not confirmed.
    public var by: String?

    /// Takes both.
    public init(at: Timestamp?, by: String?) {
        self.at = at
        self.by = by
    }
}

/// The caller, as the agent knows them.
public struct YouDocument: Codable, Hashable, Sendable {
    /// Who it is.
    public var who: WhoDocument
    /// The roles that count.
    public var roles: [Role]
    /// What these roles allow, in words: `ask for access`.
    public var may: [String]
    /// The policies that the caller may ask under.
    public var asks: [String]
    /// The policies that ask for approvals which the caller may give.
    public var approves: [String]

    /// Makes it of its parts.
    public init(
        who: WhoDocument,
        roles: Set<Role>,
        may: [String],
        asks: [String],
        approves: [String]
    ) {
        self.who = who
        self.roles = Role.allCases.filter(roles.contains)
        self.may = may
        self.asks = asks
        self.approves = approves
    }
}

/// The running agent.
public struct AgentStatus: Codable, Hashable, Sendable {
    /// The version of the program.
    public var version: String
    /// The process.
    public var pid: Int32
    /// When the process started.
    public var startedAt: Timestamp
    /// When the running policies were loaded.
    public var configuredAt: Timestamp
    /// Where they come from.
    public var configuration: ConfigurationOrigin
    /// Why the files, as they are now, were refused; absent where they were not, and for who does not
    /// see all policies.
    public var configurationError: String?
    /// What of the running configuration means nothing on this host: users and groups that it does
    /// not know, each with its place.
    public var warnings: [String]
    /// Grants live now, of those that the caller may see.
    public var liveGrants: Int

    /// Makes it of its parts.
    public init(
        version: String,
        pid: Int32,
        startedAt: Timestamp,
        configuredAt: Timestamp,
        configuration: ConfigurationOrigin,
        configurationError: String?,
        warnings: [String],
        liveGrants: Int
    ) {
        self.version = version
        self.pid = pid
        self.startedAt = startedAt
        self.configuredAt = configuredAt
        self.configuration = configuration
        self.configurationError = configurationError
        self.warnings = warnings
        self.liveGrants = liveGrants
    }
}

/// The gate in the kernel.
public struct GateStatus: Codable, Hashable, Sendable {
    /// Whether the table is in the kernel and is what it should be.
    public var armed: Bool
    /// What is wrong where it is not armed.
    public var fault: String?
    /// That it is not armed because it was taken away, and stays so until somebody arms it; absent
    /// where it was not.
    public var disarmed: DisarmedDocument?
    /// `inet sallyport`.
    public var table: String
    /// Whether the kernel keeps other processes from changing the table (Linux 6.9 and later).
    public var owned: Bool
    /// The running kernel's release, as `uname -r` prints it.
    public var kernel: String
    /// Packets to managed ports that were dropped since the gate was armed.
    public var droppedPackets: UInt64
    /// Why refused attempts are not seen; absent where they are.
    public var refusedFault: String?
    /// Why connections that grants let in are not seen; absent where they are.
    public var connectionsFault: String?
    /// Sources that are always let in; none for who is but a requester.
    public var breakGlass: [BreakGlassStatus]

    /// Makes it of its parts.
    public init(
        armed: Bool,
        fault: String?,
        disarmed: DisarmedDocument? = nil,
        table: String,
        owned: Bool,
        kernel: String,
        droppedPackets: UInt64,
        refusedFault: String?,
        connectionsFault: String?,
        breakGlass: [BreakGlassStatus]
    ) {
        self.armed = armed
        self.fault = fault
        self.disarmed = disarmed
        self.table = table
        self.owned = owned
        self.kernel = kernel
        self.droppedPackets = droppedPackets
        self.refusedFault = refusedFault
        self.connectionsFault = connectionsFault
        self.breakGlass = breakGlass
    }
}

/// One source that is always let in, and what it used.
public struct BreakGlassStatus: Codable, Hashable, Sendable {
    /// The addresses that are let in.
    public var source: CIDR
    /// Packets that opened a connection.
    public var packets: UInt64

    /// Makes it of its parts.
    public init(source: CIDR, packets: UInt64) {
        self.source = source
        self.packets = packets
    }
}

/// One policy with its figures of the last seven days.
public struct PolicyStatus: Codable, Hashable, Sendable {
    /// The name.
    public var name: String
    /// What it is for; absent where the file does not say.
    public var description: String?
    /// Its managed ports.
    public var ports: [PortRange]
    /// The hosts behind this machine that they are of; absent where they are this machine's.
    public var hosts: [CIDR]?
    /// What becomes of sessions when a grant ends.
    public var sessions: SessionMode
    /// Whether its ports are managed.
    public var enabled: Bool
    /// Grants live now.
    public var activeGrants: Int
    /// Requests granted in the last seven days.
    public var requests7d: Int
    /// The request of the last seven days that opened last; absent where there is none.
    public var lastAccess: LastAccess?

    /// Makes it of its parts.
    public init(
        name: String,
        description: String?,
        ports: [PortRange],
        hosts: [CIDR]? = nil,
        sessions: SessionMode,
        enabled: Bool,
        activeGrants: Int,
        requests7d: Int,
        lastAccess: LastAccess?
    ) {
        self.name = name
        self.description = description
        self.ports = ports
        self.hosts = hosts
        self.sessions = sessions
        self.enabled = enabled
        self.activeGrants = activeGrants
        self.requests7d = requests7d
        self.lastAccess = lastAccess
    }
}

/// When a policy was last used, by whom, and for what.
public struct LastAccess: Codable, Hashable, Sendable {
    /// When it was opened.
    public var at: Timestamp
    /// Who asked.
    public var who: WhoDocument
    /// The ports that were opened under the policy.
    public var ports: [PortRange]
    /// The hosts behind this machine that they were opened on; absent where there are none.
    public var hosts: [IPAddress]?
    /// The addresses that were let in.
    public var sources: [CIDR]

    /// Makes it of its parts.
    public init(
        at: Timestamp,
        who: WhoDocument,
        ports: [PortRange],
        hosts: [IPAddress] = [],
        sources: [CIDR]
    ) {
        self.hosts = hosts.isEmpty ? nil : hosts
        self.at = at
        self.who = who
        self.ports = ports
        self.sources = sources
    }
}

/// The answer of `GET /v1/delegation`: what of the configuration a delegate has to know.
public struct DelegationDocument: Codable, Hashable, Sendable {
    /// The delegate's name.
    public var name: String
    /// The issuers whose people it may speak for, and of each the groups that give some right here.
    public var groups: [String: [String]]
    /// The roles its people can have.
    public var ceiling: [Role]
    /// The policies it may ask under; absent where it may under all.
    public var policies: [String]?
    /// How long ago a person may have logged in: `8h`.
    public var maxLoginAge: String

    /// Makes it of its parts.
    public init(_ delegate: Delegate, groups: [String: [String]]) {
        name = delegate.name
        self.groups = groups
        ceiling = delegate.ceiling.sorted { $0.rawValue < $1.rawValue }
        policies = delegate.policies?.sorted()
        maxLoginAge = delegate.maxLoginAge.compactDescription
    }
}

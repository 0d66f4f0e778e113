public import Policy

/// The answer of `GET /v1/status`.
public struct StatusDocument: Codable, Hashable, Sendable {
    /// The running agent.
    public var agent: AgentStatus
    /// The gate in the kernel.
    public var gate: GateStatus
    /// Every policy, in the order of the files.
    public var policies: [PolicyStatus]

    /// Makes it of its parts.
    public init(agent: AgentStatus, gate: GateStatus, policies: [PolicyStatus]) {
        self.agent = agent
        self.gate = gate
        self.policies = policies
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
    /// Why the last reload was refused; absent where it was not.
    public var configurationError: String?
    /// Grants live now.
    public var liveGrants: Int

    /// Makes it of its parts.
    public init(
        version: String,
        pid: Int32,
        startedAt: Timestamp,
        configuredAt: Timestamp,
        configurationError: String?,
        liveGrants: Int
    ) {
        self.version = version
        self.pid = pid
        self.startedAt = startedAt
        self.configuredAt = configuredAt
        self.configurationError = configurationError
        self.liveGrants = liveGrants
    }
}

/// The gate in the kernel.
public struct GateStatus: Codable, Hashable, Sendable {
    /// Whether the table is in the kernel and is what it should be.
    public var armed: Bool
    /// What is wrong where it is not armed.
    public var fault: String?
    /// `inet sallyport`.
    public var table: String
    /// Whether the kernel keeps other processes from changing the table (Linux 6.9 and later).
    public var owned: Bool
    /// The running kernel's release, as `uname -r` prints it.
    public var kernel: String
    /// Packets to managed ports that were dropped since the gate was armed.
    public var droppedPackets: UInt64
    /// Sources that are always let in.
    public var breakGlass: [BreakGlassStatus]

    /// Makes it of its parts.
    public init(
        armed: Bool,
        fault: String?,
        table: String,
        owned: Bool,
        kernel: String,
        droppedPackets: UInt64,
        breakGlass: [BreakGlassStatus]
    ) {
        self.armed = armed
        self.fault = fault
        self.table = table
        self.owned = owned
        self.kernel = kernel
        self.droppedPackets = droppedPackets
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
    /// What becomes of sessions when a grant ends.
    public var sessions: SessionMode
    /// Whether its ports are managed.
    public var enabled: Bool
    /// Grants live now.
    public var activeGrants: Int
    /// Requests granted in the last seven days.
    public var requests7d: Int
    /// The newest grant of the last seven days; absent where there is none.
    public var lastAccess: LastAccess?

    /// Makes it of its parts.
    public init(
        name: String,
        description: String?,
        ports: [PortRange],
        sessions: SessionMode,
        enabled: Bool,
        activeGrants: Int,
        requests7d: Int,
        lastAccess: LastAccess?
    ) {
        self.name = name
        self.description = description
        self.ports = ports
        self.sessions = sessions
        self.enabled = enabled
        self.activeGrants = activeGrants
        self.requests7d = requests7d
        self.lastAccess = lastAccess
    }
}

/// When a policy was last used, and by whom.
public struct LastAccess: Codable, Hashable, Sendable {
    /// When it was opened.
    public var at: Timestamp
    /// The Unix user name of the requester.
    public var user: String

    /// Makes it of its parts.
    public init(at: Timestamp, user: String) {
        self.at = at
        self.user = user
    }
}

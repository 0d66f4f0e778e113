/// The answer of `GET /v1/doctor`: what would defeat the gate on this host, or lead past it.
public struct DoctorDocument: Codable, Hashable, Sendable {
    /// Whether nothing of severity `error` was found.
    public var healthy: Bool
    /// What was found, the worst first.
    public var findings: [Finding]
    /// How many findings more there are.
    public var more: Int
    /// How many rules were read, of all tables.
    public var rules: Int

    /// Makes it of all findings, of which it has the first 200.
    public init(findings: [Finding], rules: Int) {
        let sorted = findings.sorted { $0.severity.rank < $1.severity.rank }
        self.findings = Array(sorted.prefix(200))
        more = sorted.count - self.findings.count
        healthy = !findings.contains { $0.severity == .error }
        self.rules = rules
    }
}

/// One thing that stands in the gate's way, or leads past it.
public struct Finding: Codable, Hashable, Sendable {
    /// How bad it is.
    public enum Severity: String, Codable, Hashable, Sendable, CaseIterable {
        /// Granted access does not work, or ports are open that should be closed.
        case error
        /// One of these may be, or will be.
        case warning
        /// Good to know.
        case note

        fileprivate var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    }

    /// What it is; stable, for programs.
    public enum Code: String, Codable, Hashable, Sendable, CaseIterable {
        /// The gate is not what it should be.
        case gateNotArmed = "gate-not-armed"
        /// Other programs can change the gate.
        case gateNotOwned = "gate-not-owned"
        /// What a grant lets in is dropped elsewhere.
        case dropsGranted = "drops-granted"
        /// The same, under conditions or where a rule is not understood.
        case mayDropGranted = "may-drop-granted"
        /// A managed port is rewritten before the gate sees it.
        case hidesPort = "hides-port"
        /// A port that is not managed leads to one that is, and is judged as that one.
        case judgedBehind = "judged-behind"
        /// Connections to a managed port are not tracked.
        case notTracked = "not-tracked"
        /// A managed port is accepted in front of the gate, to no effect.
        case acceptedBefore = "accepted-before"
        /// What is for a host behind this machine is led elsewhere.
        case leadsElsewhere = "leads-elsewhere"
        /// No route leads to hosts behind this machine.
        case noRoute = "no-route"
        /// The kernel passes nothing on to hosts behind this machine.
        case notForwarded = "not-forwarded"
        /// Something else than rules decides in front of the gate.
        case decidedBefore = "decided-before"
        /// Connections go past all chains.
        case flowtable
        /// A program sees packets before netfilter does.
        case xdp
        /// Filters see packets before the gate does.
        case ingressFilter = "ingress-filter"
        /// IPVS takes connections in.
        case virtualServer = "virtual-server"
        /// Rules of the older iptables.
        case legacyTables = "legacy-tables"
        /// Rules that this does not judge.
        case notUnderstood = "not-understood"
        /// conntrack will soon take no new connection.
        case connectionsNearlyFull = "connections-nearly-full"
        /// Source addresses can be forged.
        case forgeableSources = "forgeable-sources"
        /// No time service keeps the clock right.
        case clockNotSynchronized = "clock-not-synchronized"
        /// Who asks through a delegate cannot reach it.
        case delegateManaged = "delegate-managed"
        /// Not everything could be looked at.
        case incomplete
    }

    /// How bad it is.
    public var severity: Severity
    /// What it is.
    public var code: Code
    /// What was found, a sentence for people.
    public var message: String
    /// What to do, a sentence for people.
    public var advice: String
    /// The table, `ip filter`; absent where it is in none.
    public var table: String?
    /// The chain.
    public var chain: String?
    /// The rule's handle, as `nft -a list ruleset` shows it; absent where it is the chain's policy.
    public var handle: UInt64?
    /// The managed ports that it is about: `22/tcp`.
    public var ports: [String]

    /// Takes the parts.
    public init(
        _ severity: Severity,
        _ code: Code,
        _ message: String,
        advice: String,
        table: String? = nil,
        chain: String? = nil,
        handle: UInt64? = nil,
        ports: [String] = []
    ) {
        self.severity = severity
        self.code = code
        self.message = message
        self.advice = advice
        self.table = table
        self.chain = chain
        self.handle = handle
        self.ports = ports
    }
}

/// The answer of `GET /v1/discover`: what of this host takes connections.
public struct DiscoverDocument: Codable, Hashable, Sendable {
    /// Ports with a listening socket, or published by DNAT: Azure's default ports first.
    public var services: [ServiceDocument]
    /// How many more there are.
    public var more: Int
    /// What could not be looked at, in words.
    public var gaps: [String]

    /// Makes it of all services, of which it has the first 1,000.
    public init(services: [ServiceDocument], gaps: [String]) {
        self.services = Array(services.prefix(1000))
        more = services.count - self.services.count
        self.gaps = gaps
    }
}

/// A port of this host that something answers at.
public struct ServiceDocument: Codable, Hashable, Sendable {
    /// Whether it is closed unless granted, in Azure's words.
    public enum State: String, Codable, Hashable, Sendable, CaseIterable {
        /// Managed: closed unless granted.
        case configured = "Configured"
        /// Not managed.
        case notConfigured = "Not configured"
        /// Nobody from elsewhere reaches it, so there is nothing to manage.
        case unsupported = "Unsupported"
    }

    /// The port as others see it: `22/tcp`, `8000-8010/tcp`.
    public var port: String
    /// Whether it is managed.
    public var state: State
    /// Why, a sentence for people.
    public var reason: String
    /// The addresses it listens at; none where it is published.
    public var addresses: [String]
    /// The user whose socket it is; absent where it is published.
    public var uid: UInt32?
    /// The name of the process, where the agent may see it.
    public var process: String?
    /// Where DNAT leads: `172.17.0.2:80`; absent where a socket listens.
    public var target: String?
    /// The table, chain and handle of the rule that publishes it: `ip nat DOCKER 4`.
    public var rule: String?
    /// The policy that manages it, or would if it was enabled.
    public var policy: String?
    /// The lines of a policy file that would manage it; absent where there is nothing to do.
    public var lines: String?

    /// Takes the parts.
    public init(
        port: String,
        state: State,
        reason: String,
        addresses: [String] = [],
        uid: UInt32? = nil,
        process: String? = nil,
        target: String? = nil,
        rule: String? = nil,
        policy: String? = nil,
        lines: String? = nil
    ) {
        self.port = port
        self.state = state
        self.reason = reason
        self.addresses = addresses
        self.uid = uid
        self.process = process
        self.target = target
        self.rule = rule
        self.policy = policy
        self.lines = lines
    }
}

/// The policies in force and who holds which role: everything a request is judged by.
public struct PolicySet: Hashable, Sendable {
    /// All policies in the order of their files, those that are not enabled included.
    public let policies: [AccessPolicy]
    /// Who holds which role.
    public let roles: RoleTable

    /// Takes policies that agree with each other: no name and no port of a destination twice.
    public init(policies: [AccessPolicy], roles: RoleTable) {
        self.policies = policies
        self.roles = roles
    }

    /// The policy of a name, enabled or not.
    public func policy(named name: String) -> AccessPolicy? {
        policies.first { $0.name == name }
    }

    var managedRanges: [PortRange] { policies.filter(\.enabled).flatMap(\.ports) }

    /// The ports that are closed unless granted: those of the enabled policies.
    public var managedPorts: [ManagedPort] {
        policies.filter(\.enabled).flatMap { policy in
            policy.ports.map {
                ManagedPort(
                    range: $0,
                    sessions: policy.sessions,
                    udpSessions: policy.udpSessions,
                    hosts: policy.hosts
                )
            }
        }
    }
}

/// Ports that are closed unless granted.
public struct ManagedPort: Hashable, Sendable {
    /// The ports.
    public var range: PortRange
    /// What becomes of sessions to them when their grant ends.
    public var sessions: SessionMode
    /// The same of UDP and UDP-Lite.
    public var udpSessions: SessionMode
    /// The hosts behind this machine that they are closed for; nil: this machine itself.
    public var hosts: [CIDR]?

    /// Takes ports, and modes and destinations of their policy.
    public init(
        range: PortRange,
        sessions: SessionMode,
        udpSessions: SessionMode,
        hosts: [CIDR]? = nil
    ) {
        self.range = range
        self.hosts = hosts
        self.sessions = sessions
        self.udpSessions = udpSessions
    }

    /// What becomes of sessions of a protocol.
    public func sessions(of transport: Transport) -> SessionMode {
        transport.isDatagrams ? udpSessions : sessions
    }
}

/// The policies in force and who holds which role: everything a request is judged by.
public struct PolicySet: Hashable, Sendable {
    /// All policies in the order of their files, those that are not enabled included.
    public let policies: [AccessPolicy]
    /// Who holds which role.
    public let roles: RoleTable

    /// Takes policies that agree with each other: no name and no port twice.
    public init(policies: [AccessPolicy], roles: RoleTable) {
        self.policies = policies
        self.roles = roles
    }

    /// The policy of a name, enabled or not.
    public func policy(named name: String) -> AccessPolicy? {
        policies.first { $0.name == name }
    }

    var managedRanges: [PortRange] { policies.filter(\.enabled).flatMap(\.ports) }

    /// The ports that are managed here and by the other set no longer, in their order.
    public func ports(notManagedBy other: PolicySet) -> [PortRange] {
        Transport.allCases.flatMap { transport in
            let (mine, others) = (ports(of: transport), other.ports(of: transport))
            var ranges: [PortRange] = []
            for port in UInt16(1)...UInt16.max where mine[Int(port)] && !others[Int(port)] {
                let isNext = ranges.last.map { Int($0.upper) + 1 == Int(port) } ?? false
                let lower = isNext ? ranges.removeLast().lower : port
                let range = PortRange(lower, port, transport == .tcp ? .tcp : .udp)
                if let range { ranges.append(range) }
            }
            return ranges
        }
    }

    /// Of each port whether it is managed.
    private func ports(of transport: Transport) -> [Bool] {
        var ports = [Bool](repeating: false, count: 65_536)
        for range in managedRanges where range.portProtocol.transports.contains(transport) {
            for port in range.lower...range.upper { ports[Int(port)] = true }
        }
        return ports
    }

    /// The ports that are closed unless granted: those of the enabled policies.
    public var managedPorts: [ManagedPort] {
        policies.filter(\.enabled).flatMap { policy in
            policy.ports.map {
                ManagedPort(
                    range: $0,
                    sessions: policy.sessions,
                    udpSessions: policy.udpSessions
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

    /// Takes ports and the modes of their policy.
    public init(range: PortRange, sessions: SessionMode, udpSessions: SessionMode) {
        self.range = range
        self.sessions = sessions
        self.udpSessions = udpSessions
    }

    /// What becomes of sessions of a protocol.
    public func sessions(of transport: Transport) -> SessionMode {
        transport.isDatagrams ? udpSessions : sessions
    }
}

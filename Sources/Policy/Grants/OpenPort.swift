/// Ports that are closed no longer, of this machine or of hosts behind it.
///
/// The text form is `22/tcp`, or `22/tcp@192.0.2.0/24`.
public struct OpenPort: TextForm {
    /// The ports.
    public var port: PortRange
    /// The hosts behind this machine; nil for this machine itself.
    public var hosts: CIDR?

    /// Takes the parts.
    public init(port: PortRange, hosts: CIDR? = nil) {
        self.port = port
        self.hosts = hosts
    }

    /// Reads `22/tcp` or `22/tcp@192.0.2.0/24`.
    public init(parsing text: String) throws(ParseError) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        port = try PortRange(parsing: String(parts[0]))
        hosts = parts.count > 1 ? try CIDR(parsing: String(parts[1])) : nil
    }

    /// The text form.
    public var description: String { hosts.map { "\(port)@\($0)" } ?? port.description }
}

extension PolicySet {
    /// The ports that are managed here and by the other set no longer, in their order: those of this
    /// machine, then those of hosts behind it.
    ///
    /// SCTP and UDP-Lite, which only `any` names, go with TCP and UDP.
    public func ports(notManagedBy other: PolicySet) -> [OpenPort] {
        let hosts = Set(policies.filter(\.enabled).flatMap { $0.hosts ?? [] }).sorted()
        let places: [CIDR?] = [nil] + hosts
        return places.flatMap { host -> [OpenPort] in
            let (mine, others) = (managedRanges(at: host), other.managedRanges(at: host))
            guard mine != others else { return [] }
            return [Transport.tcp, .udp].flatMap { transport in
                let (mine, others) = (Self.ports(mine, transport), Self.ports(others, transport))
                var ranges: [PortRange] = []
                for port in UInt16(1)...UInt16.max where mine[Int(port)] && !others[Int(port)] {
                    let isNext = ranges.last.map { Int($0.upper) + 1 == Int(port) } ?? false
                    let lower = isNext ? ranges.removeLast().lower : port
                    let range = PortRange(lower, port, transport == .tcp ? .tcp : .udp)
                    if let range { ranges.append(range) }
                }
                return ranges.map { OpenPort(port: $0, hosts: host) }
            }
        }
    }

    /// What is managed on all of these hosts; of this machine itself where there are none.
    private func managedRanges(at host: CIDR?) -> [PortRange] {
        policies.filter { policy in
            guard policy.enabled else { return false }
            guard let host else { return policy.hosts == nil }
            return policy.hosts?.contains { $0.contains(host) } ?? false
        }.flatMap(\.ports)
    }

    /// Of each port whether it is in one of the ranges.
    private static func ports(_ ranges: [PortRange], _ transport: Transport) -> [Bool] {
        var ports = [Bool](repeating: false, count: 65_536)
        for range in ranges where range.portProtocol.transports.contains(transport) {
            for port in range.lower...range.upper { ports[Int(port)] = true }
        }
        return ports
    }
}

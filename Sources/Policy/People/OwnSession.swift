/// The session that somebody works in: a TCP connection to this host, by its four numbers.
public struct OwnSession: TextForm {
    /// Where it comes from.
    public let source: IPAddress
    /// The port there.
    public let sourcePort: UInt16
    /// The address of this host.
    public let host: IPAddress
    /// The port of this host.
    public let port: UInt16

    /// Reads what sshd sets as `SSH_CONNECTION`: `198.51.100.7 52044 192.0.2.1 22`.
    public init(parsing text: String) throws(ParseError) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 4, let sourcePort = UInt16(words[1]), let port = UInt16(words[3]),
            sourcePort > 0, port > 0
        else {
            throw ParseError(
                text,
                "it is not the four numbers of a session: 198.51.100.7 52044 192.0.2.1 22"
            )
        }
        source = try Self.address(words[0])
        host = try Self.address(words[2])
        (self.sourcePort, self.port) = (sourcePort, port)
    }

    /// An address, without the zone of a link-local one (`fe80::1%eth0`).
    private static func address(_ word: Substring) throws(ParseError) -> IPAddress {
        try IPAddress(parsing: String(word.prefix { $0 != "%" }))
    }

    /// The form that is read.
    public var description: String { "\(source) \(sourcePort) \(host) \(port)" }
}

extension PolicySet {
    /// Whether whoever has a session gets in as they did, while the gate is armed.
    ///
    /// - Parameters:
    ///   - session: A session to this host.
    ///   - breakGlass: Sources that are always let in.
    ///   - grants: What is open.
    /// - Returns: Whether the port is not managed, or something lets the address in.
    public func lets(
        _ session: OwnSession,
        breakGlass: [CIDR],
        grants: some Sequence<Grant>
    ) -> Bool {
        guard let port = PortRange(session.port, session.port, .tcp) else { return true }
        let isFar = isFar(session)
        guard isFar || managedPorts.contains(where: { $0.hosts == nil && $0.range.overlaps(port) })
        else { return true }
        return breakGlass.contains { $0.contains(session.source) }
            || grants.contains {
                $0.host == (isFar ? session.host : nil) && $0.source.contains(session.source)
                    && $0.port.overlaps(port)
            }
    }

    /// Whether a session goes to an address of this host that a policy for hosts behind it names.
    public func isFar(_ session: OwnSession) -> Bool {
        managedPorts.contains { managed in
            managed.hosts?.contains { $0.contains(session.host) } == true
                && managed.range.portProtocol.transports.contains(.tcp)
                && managed.range.lower <= session.port && session.port <= managed.range.upper
        }
    }
}

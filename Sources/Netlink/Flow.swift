/// One direction of a connection: from where, to where, over which protocol.
public struct Flow: Hashable, Sendable {
    /// The protocol's number in the IP header.
    public var transport: UInt8
    /// 4 bytes for IPv4, 16 for IPv6.
    public var source: [UInt8]
    /// In the host's byte order.
    public var sourcePort: UInt16
    /// As long as ``source``.
    public var destination: [UInt8]
    /// In the host's byte order.
    public var destinationPort: UInt16

    /// Takes the parts.
    public init(
        transport: UInt8,
        source: [UInt8],
        sourcePort: UInt16,
        destination: [UInt8],
        destinationPort: UInt16
    ) {
        self.transport = transport
        self.source = source
        self.sourcePort = sourcePort
        self.destination = destination
        self.destinationPort = destinationPort
    }

    /// The other direction of the same connection, where no address is translated.
    public var reversed: Flow {
        Flow(
            transport: transport,
            source: destination,
            sourcePort: destinationPort,
            destination: source,
            destinationPort: sourcePort
        )
    }
}

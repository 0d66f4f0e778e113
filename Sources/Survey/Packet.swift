import Nftables
import Policy

/// The first packet of a connection from elsewhere, or an answer to it, as far as it is decided.
struct Packet {
    var family: AddressFamily
    var transport: Transport
    var source: Value
    /// The address it is for; unknown: any of this host's.
    var destination: Value
    /// Whether that is an address of this host.
    var isForThisHost = true
    var sourcePort: Value
    var destinationPort: Value
    /// The interface it comes in by; nil: any but loopback.
    var input: Interface?
    /// The interface it leaves by, where it is forwarded; nil: any.
    var output: Interface?
    /// Whether its destination was rewritten.
    var isTranslated = false
    /// Whether it answers one that came in.
    var isReply = false
    /// Whether it is of this host itself.
    var isFromThisHost = false

    struct Interface: Hashable {
        var index: UInt32
        var name: String

        /// What the kernel compares with where a packet has none.
        static let absent = Interface(index: 0, name: "")
    }

    /// A packet from some range of sources to some range of ports.
    ///
    /// - Parameters:
    ///   - source: Where from.
    ///   - isTypical: Whether it stands for most of the range.
    ///   - transport: The protocol.
    ///   - ports: To which ports.
    ///   - destination: To which address; nil: any of this host's.
    ///   - input: By which interface; nil: any but loopback.
    init(
        from source: CIDR,
        isTypical: Bool = false,
        _ transport: Transport,
        to ports: ClosedRange<UInt16>,
        at destination: [UInt8]? = nil,
        by input: Interface? = nil
    ) {
        family = source.family
        self.transport = transport
        self.source = Value(source, isTypical: isTypical)
        self.destination =
            destination.map { Value($0) } ?? .unknown(length: source.family.bits / 8)
        // Clients' ports lie above those of services.
        sourcePort = Value(1024, through: 65_535, length: 2)
        sourcePort.isTypical = true
        destinationPort = Value(UInt128(ports.lowerBound), length: 2)
        destinationPort.high = UInt128(ports.upperBound)
        destinationPort.isDestinationPort = true
        self.input = input
    }

    var ports: ClosedRange<UInt16> {
        UInt16(
            truncatingIfNeeded: destinationPort.low
        )...UInt16(
            truncatingIfNeeded: destinationPort.high
        )
    }

    /// The same packet, of those of its ports that lie in a range; nil where none does.
    ///
    /// A register may still hold ports that the packet was narrowed from.
    func narrowed(to range: ClosedRange<UInt128>) -> Packet? {
        var packet = self
        packet.destinationPort.low = max(destinationPort.low, range.lowerBound)
        packet.destinationPort.high = min(destinationPort.high, range.upperBound)
        return packet.destinationPort.low <= packet.destinationPort.high ? packet : nil
    }

    /// An answer to it, from where it was led to.
    var reply: Packet {
        var packet = self
        packet.isReply = true
        (packet.source, packet.destination) = (destination, source)
        (packet.sourcePort, packet.destinationPort) = (destinationPort, sourcePort)
        packet.sourcePort.isDestinationPort = false
        (packet.isFromThisHost, packet.isForThisHost) = (isForThisHost, false)
        (packet.input, packet.output) = (isForThisHost ? Interface.absent : output, input)
        return packet
    }

    /// Bytes of a header.
    func payload(_ base: Expression.PayloadBase, offset: Int, length: Int) -> [Value] {
        let header: [Value]
        switch (base, family) {
        case (.linkLayer, _): return [.unknown(length: length)]
        case (.network, .ipv4):
            // RFC 791, 3.1: no options, not a fragment.
            header = [
                Value(0x45, length: 1), .unknown(length: 5), Value(0x4000, length: 2),
                .unknown(length: 1), number, .unknown(length: 2), source, destination,
            ]
        case (.network, .ipv6):
            // RFC 8200, 3.
            header = [.unknown(length: 6), number, .unknown(length: 1), source, destination]
        case (.transport, _):
            let rest: [Value] =
                transport == .tcp
                ? [.unknown(length: 9), Value(UInt128(flags.rawValue), length: 1)]
                : [.unknown(length: 4)]
            header = [sourcePort, destinationPort] + rest
        }
        var (values, start): ([Value], Int) = ([], 0)
        for field in header where length > 0 {
            defer { start += field.length }
            let first = max(offset, start) - start
            let last = min(offset + length, start + field.length) - start
            if first < last { values.append(field.bytes(from: first, count: last - first)) }
        }
        let missing = length - values.reduce(0) { $0 + $1.length }
        return missing > 0 ? values + [.unknown(length: missing)] : values
    }

    /// Those of TCP.
    var flags: TCPFlags { isReply ? [.syn, .ack] : .syn }

    private var number: Value { Value(UInt128(transport.rawValue), length: 1) }

    /// A property that `meta` loads.
    func meta(_ key: Expression.MetaKey) -> Value {
        switch key {
        case .networkProtocol: Value(family == .ipv4 ? 2 : 10, length: 1)
        case .transportProtocol: number
        case .etherType: Value(family == .ipv4 ? 0x0800 : 0x86dd, length: 2)
        case .packetType: Value(0, length: 1)
        // Of a packet that came in by an interface of no routing domain.
        case .mark, .domainInterface: Value(0, length: 4)
        case .inputInterface: Self.index(input)
        case .inputInterfaceName: Self.name(input)
        case .outputInterface: Self.index(output)
        case .outputInterfaceName: Self.name(output)
        }
    }

    private static func index(_ interface: Interface?) -> Value {
        guard let interface else {
            // Any but loopback's, which is 1 in every namespace.
            var value = Value.unknown(length: 4)
            value.excluded = Value(native(1)).low
            return value
        }
        return Value(native(interface.index))
    }

    private static func name(_ interface: Interface?) -> Value {
        guard let interface else {
            var value = Value.unknown(length: 16)
            value.excluded = name("lo").low
            return value
        }
        return name(interface.name)
    }

    private static func name(_ name: String) -> Value {
        let bytes = name.utf8.prefix(16)
        return Value(Array(bytes) + [UInt8](repeating: 0, count: 16 - bytes.count))
    }
}

extension Value {
    /// The addresses of a network; of one that has several, all or most of them.
    init(_ network: CIDR, isTypical: Bool) {
        let first = Value(network.address.bytes)
        let rest = network.family.bits - network.prefixLength
        let size = rest >= 128 ? UInt128.max : (1 << UInt128(rest)) - 1
        self.init(first.low, through: first.low | size, length: first.length)
        self.isTypical = isTypical
    }
}

/// The bytes of a number in the host's order.
func native(_ number: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: number.littleEndian >> (8 * $0)) }
}

/// A condition of a rule, composed of the expressions it needs.
///
/// Each match checks what it depends on first: an IPv4 address is only loaded from a packet whose
/// `meta nfproto` is IPv4, a TCP flag only behind `meta l4proto tcp`.
public struct Match: Hashable, Sendable {
    /// What the kernel evaluates, in this order.
    public let expressions: [Expression]

    /// Composes a match of its own.
    public init(_ expressions: [Expression]) { self.expressions = expressions }

    /// The address family of a packet in an inet table.
    public enum AddressFamily: Hashable, Sendable, CaseIterable {
        case ipv4, ipv6

        /// Bytes of an address.
        public var addressLength: Int { self == .ipv4 ? 4 : 16 }
        /// `NFPROTO_*`, linux/netfilter.h.
        var number: UInt8 { self == .ipv4 ? 2 : 10 }
        /// Where the source address lies: RFC 791, 3.1 and RFC 8200, 3.
        var sourceOffset: UInt32 { self == .ipv4 ? 12 : 8 }
    }

    // MARK: Addresses

    /// The packet is of a family: `meta nfproto ipv4`.
    public static func family(_ family: AddressFamily) -> Match {
        Match([
            .meta(.networkProtocol, into: .first),
            .compare(.first, .equal, value: [family.number]),
        ])
    }

    /// The source address lies in a prefix: `ip saddr 10.0.0.0/8`.
    ///
    /// The address has 4 or 16 bytes, in network order, of which those past the prefix are ignored.
    /// The prefix length is 0 to 32 or 128; 0 matches the whole family.
    public static func source(_ address: [UInt8], prefixLength: Int) -> Match {
        prefix(address, prefixLength) { loadSource($0, prefixLength: prefixLength) }
    }

    /// The destination address lies in a prefix: `ip daddr 10.0.0.0/8`, as ``source(_:prefixLength:)``.
    public static func destination(_ address: [UInt8], prefixLength: Int) -> Match {
        prefix(address, prefixLength) {
            loadDestination($0, prefixLength: prefixLength, into: .first)
        }
    }

    private static func prefix(
        _ address: [UInt8],
        _ length: Int,
        load: (AddressFamily) -> [Expression]
    ) -> Match {
        let family: AddressFamily = address.count == 4 ? .ipv4 : .ipv6
        let mask = mask(length, bytes: address.count)
        let isFamily = Match.family(family).expressions
        guard length > 0 else { return Match(isFamily) }
        return Match(
            isFamily + load(family) + [
                .compare(.first, .equal, value: zip(address, mask).map { $0 & $1 })
            ]
        )
    }

    /// The source address is in a set of addresses: `ip saddr @allowed`.
    public static func source(_ family: AddressFamily, in set: NamedSet) -> Match {
        Match(
            Match.family(family).expressions
                + loadSource(family, prefixLength: family.addressLength * 8)
                + [.lookup(.first, set: set.name)]
        )
    }

    /// The source's prefix, protocol and destination port are in a set:
    /// `ip saddr & 255.255.255.0 . meta l4proto . th dport @grants`.
    ///
    /// The set's key is address, `inet_proto`, `inet_service`. A prefix length of 0 looks up the
    /// all-zero address, so that "everybody" is an element like any other.
    public static func sourcePrefixProtocolPort(
        _ family: AddressFamily,
        prefixLength: Int,
        in set: NamedSet
    ) -> Match {
        let behind = Register.first.advanced(pastBytes: family.addressLength)
        return Match(
            Match.family(family).expressions
                + loadSource(family, prefixLength: prefixLength)
                + loadProtocolPort(into: behind)
                + [.lookup(.first, set: set.name)]
        )
    }

    /// The source's prefix, destination, protocol and destination port are in a set:
    /// `ip saddr & 255.255.255.0 . ip daddr . meta l4proto . th dport @grants`.
    public static func sourcePrefixDestinationProtocolPort(
        _ family: AddressFamily,
        prefixLength: Int,
        in set: NamedSet
    ) -> Match {
        let behind = Register.first.advanced(pastBytes: family.addressLength)
        return Match(
            Match.family(family).expressions
                + loadSource(family, prefixLength: prefixLength)
                + loadDestination(family, prefixLength: family.addressLength * 8, into: behind)
                + loadProtocolPort(into: behind.advanced(pastBytes: family.addressLength))
                + [.lookup(.first, set: set.name)]
        )
    }

    /// What ``sourcePrefixProtocolPort(_:prefixLength:in:)`` looks for is put into a set for so long,
    /// or stays there for so long: `update @clients { ip saddr . meta l4proto . th dport }`.
    ///
    /// Matches only if the set has room. The set must be dynamic, with timeouts and a size.
    public static func rememberSourcePrefixProtocolPort(
        _ family: AddressFamily,
        prefixLength: Int,
        in set: NamedSet,
        for time: Duration
    ) -> Match {
        let match = sourcePrefixProtocolPort(family, prefixLength: prefixLength, in: set)
        return Match(
            match.expressions.dropLast() + [.update(.first, set: set.name, timeout: time)]
        )
    }

    // MARK: Transport

    /// The transport protocol: `meta l4proto tcp`.
    public static func transportProtocol(_ number: UInt8) -> Match {
        Match([
            .meta(.transportProtocol, into: .first),
            .compare(.first, .equal, value: [number]),
        ])
    }

    /// Protocol and destination port: `tcp dport 22`, `udp dport 5000-5010`.
    public static func destinationPort(
        _ ports: ClosedRange<UInt16>,
        transportProtocol number: UInt8
    ) -> Match {
        let (low, high) = (bigEndian(ports.lowerBound), bigEndian(ports.upperBound))
        let load = Expression.payload(.transport, offset: 2, length: 2, into: .first)
        let comparison: [Expression] =
            low == high
            ? [.compare(.first, .equal, value: low)]
            : [
                .compare(.first, .greaterOrEqual, value: low),
                .compare(.first, .lessOrEqual, value: high),
            ]
        return Match(transportProtocol(number).expressions + [load] + comparison)
    }

    /// Protocol and destination port are in a set: `meta l4proto . th dport @ports`.
    public static func protocolPort(in set: NamedSet) -> Match {
        Match(loadProtocolPort(into: .first) + [.lookup(.first, set: set.name)])
    }

    /// TCP, and of the flags in `mask` exactly `flags` are set: `tcp flags syn / syn,ack`.
    public static func tcpFlags(_ flags: TCPFlags, of mask: TCPFlags) -> Match {
        Match(
            transportProtocol(6).expressions + [
                .payload(.transport, offset: 13, length: 1, into: .first),
                .bitwise(.first, into: .first, mask: [mask.rawValue], xor: [0]),
                .compare(.first, .equal, value: [flags.rawValue]),
            ]
        )
    }

    /// The source port is in a set: `udp sport @ports`, behind a match of the protocol.
    public static func sourcePort(in set: NamedSet) -> Match {
        Match([
            .payload(.transport, offset: 0, length: 2, into: .first),
            .lookup(.first, set: set.name),
        ])
    }

    // MARK: Interface and connection

    /// The packet came in through loopback, whose index is 1 in every namespace: `iif "lo"`.
    public static let inputIsLoopback = Match([
        .meta(.inputInterface, into: .first),
        .compare(.first, .equal, value: native(1)),
    ])

    /// No route leads to the packet's source through the interface it came in by:
    /// `fib saddr . iif oif missing`.
    ///
    /// So it is with a forged source, and where the way back is another one. What comes in through
    /// loopback has a route back. To be used where packets come in, in the hooks prerouting, input
    /// and forward.
    public static let hasNoRouteBack = Match([
        .routeExists([.source, .inputInterface], into: .first),
        .compare(.first, .equal, value: native(0)),
    ])

    /// The packet goes to another host's address, as far as the table of local addresses knows:
    /// `fib daddr type unicast`.
    ///
    /// Addresses of routing domains (VRF) stand in tables of their own, and count as other hosts'.
    public static let goesToAnotherHost = Match([
        .addressType(.destination, into: .first),
        .compare(.first, .equal, value: native(Expression.RouteType.unicast.rawValue)),
    ])

    /// The packet came in by an interface of a routing domain (VRF): `meta sdif != 0`.
    ///
    /// To be used in the hooks input and forward.
    public static let cameThroughADomain = Match([
        .meta(.domainInterface, into: .first),
        .compare(.first, .notEqual, value: native(0)),
    ])

    /// The packet's destination was translated, or that of its connection was: `ct status dnat`.
    public static let isTranslated = Match([
        .connection(.status, into: .first),
        // IPS_DST_NAT, linux/netfilter/nf_conntrack_common.h.
        .bitwise(.first, into: .first, mask: native(1 << 5), xor: native(0)),
        .compare(.first, .notEqual, value: native(0)),
    ])

    /// The packet begins its connection: `ct status ! confirmed`.
    ///
    /// conntrack confirms a connection when its first packet has passed all chains. Packets without
    /// a connection never match.
    public static let beginsConnection = Match([
        .connection(.status, into: .first),
        // IPS_CONFIRMED, linux/netfilter/nf_conntrack_common.h.
        .bitwise(.first, into: .first, mask: native(1 << 3), xor: native(0)),
        .compare(.first, .equal, value: native(0)),
    ])

    /// The packet is a reply within its connection: `ct direction reply`.
    ///
    /// Packets without a connection never match, so judge *all the rest* after it, not `original`.
    public static let isReply = Match([
        .connection(.direction, into: .first),
        .compare(.first, .equal, value: [1]),
    ])

    /// The connection is in one of the states: `ct state established,related`.
    public static func connection(_ states: ConnectionState) -> Match {
        Match([
            .connection(.state, into: .first),
            .bitwise(.first, into: .first, mask: native(states.rawValue), xor: native(0)),
            .compare(.first, .notEqual, value: native(0)),
        ])
    }

    /// The connection's mark: `ct mark 0x00000001`.
    public static func connectionMark(_ mark: UInt32) -> Match {
        Match([
            .connection(.mark, into: .first),
            .compare(.first, .equal, value: native(mark)),
        ])
    }
}

extension Array where Element == Expression {
    /// What the map says of the destination's prefix, the protocol and the destination port:
    /// `ip daddr & 255.255.255.0 . meta l4proto . th dport vmap @hosts`.
    public static func destinationPrefixProtocolPort(
        _ family: Match.AddressFamily,
        prefixLength: Int,
        verdictMap map: NamedSet
    ) -> [Expression] {
        let behind = Register.first.advanced(pastBytes: family.addressLength)
        return Match.family(family).expressions
            + loadDestination(family, prefixLength: prefixLength, into: .first)
            + loadProtocolPort(into: behind) + [.verdictMap(.first, map: map.name)]
    }

    /// A statement: does what a verdict map says of protocol and destination port,
    /// `meta l4proto . th dport vmap @modes`.
    ///
    /// Breaks the rule off for packets without ports, such as ICMP's.
    public static func protocolPort(verdictMap map: NamedSet) -> [Expression] {
        loadProtocolPort(into: .first) + [.verdictMap(.first, map: map.name)]
    }
}

/// The flags of a TCP header (RFC 9293, 3.1).
public struct TCPFlags: OptionSet, Hashable, Sendable {
    /// The header's bits.
    public let rawValue: UInt8

    /// Takes the header's bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The sender has no more to send.
    public static let fin = TCPFlags(rawValue: 1)
    /// Opens a connection.
    public static let syn = TCPFlags(rawValue: 2)
    /// Ends a connection at once.
    public static let rst = TCPFlags(rawValue: 4)
    /// Hand on at once.
    public static let psh = TCPFlags(rawValue: 8)
    /// The acknowledgement number counts.
    public static let ack = TCPFlags(rawValue: 16)
    /// The urgent pointer counts.
    public static let urg = TCPFlags(rawValue: 32)
}

private func loadSource(_ family: Match.AddressFamily, prefixLength: Int) -> [Expression] {
    let length = family.addressLength
    let load = Expression.payload(
        .network,
        offset: family.sourceOffset,
        length: UInt32(length),
        into: .first
    )
    guard prefixLength < length * 8 else { return [load] }
    let mask = mask(prefixLength, bytes: length)
    let zero = [UInt8](repeating: 0, count: length)
    return [load, .bitwise(.first, into: .first, mask: mask, xor: zero)]
}

private func loadDestination(
    _ family: Match.AddressFamily,
    prefixLength: Int,
    into register: Register
) -> [Expression] {
    let length = family.addressLength
    // RFC 791, 3.1 and RFC 8200, 3: the destination follows the source.
    let load = Expression.payload(
        .network,
        offset: family.sourceOffset + UInt32(length),
        length: UInt32(length),
        into: register
    )
    guard prefixLength < length * 8 else { return [load] }
    let mask = mask(prefixLength, bytes: length)
    let zero = [UInt8](repeating: 0, count: length)
    return [load, .bitwise(register, into: register, mask: mask, xor: zero)]
}

private func loadProtocolPort(into register: Register) -> [Expression] {
    [
        .meta(.transportProtocol, into: register),
        .payload(.transport, offset: 2, length: 2, into: register.advanced(pastBytes: 1)),
    ]
}

/// A netmask of a prefix length, which is taken between 0 and the address' length.
private func mask(_ prefixLength: Int, bytes: Int) -> [UInt8] {
    (0..<bytes).map { index in
        let bits = min(8, max(0, prefixLength - index * 8))
        return UInt8(truncatingIfNeeded: 0xff00 >> bits)
    }
}

private func bigEndian(_ number: UInt16) -> [UInt8] {
    [UInt8(number >> 8), UInt8(number & 0xff)]
}

/// The bytes of a number in the host's order, as the kernel keeps marks, states and indices.
private func native(_ number: UInt32) -> [UInt8] {
    unsafe withUnsafeBytes(of: number) { unsafe [UInt8]($0) }
}

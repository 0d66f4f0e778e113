import Nftables
import Policy

/// One of the kernel's sets of open elements: all sources of one family and prefix length.
///
/// A hash set per prefix length, looked up by the packet's masked source, takes any number of
/// ranges without their ever overlapping and at the same cost whether it holds one or a million.
struct GrantSet: Hashable, Comparable, Sendable {
    let family: AddressFamily
    /// At most 32 or 128 bits.
    let prefixLength: Int

    init(of source: CIDR) {
        family = source.family
        prefixLength = source.prefixLength
    }

    /// Reads the name of a set of this kind, `grants4_32`.
    init?(name: String) {
        let families: [(Substring, AddressFamily)] = [("grants4_", .ipv4), ("grants6_", .ipv6)]
        for (prefix, family) in families where name.hasPrefix(prefix) {
            let digits = name.dropFirst(prefix.count)
            guard let length = Int(digits), String(length) == digits,
                (0...family.bits).contains(length)
            else { return nil }
            self.family = family
            prefixLength = length
            return
        }
        return nil
    }

    var name: String { "grants\(family == .ipv4 ? 4 : 6)_\(prefixLength)" }

    var named: NamedSet {
        NamedSet(
            name,
            in: Layout.table,
            key: [
                family == .ipv4 ? .ipv4Address : .ipv6Address, .transportProtocol, .port,
            ],
            flags: .timeout,
            countsPackets: true
        )
    }

    /// `ip saddr & 255.255.255.0 . meta l4proto . th dport @grants4_24 accept`, one for each session
    /// mode.
    var rules: [Rule] {
        let isGranted = Match.sourcePrefixProtocolPort(
            family.match,
            prefixLength: prefixLength,
            in: named
        )
        return [
            Rule(in: Layout.judge, [isGranted], then: [.verdict(.accept)]),
            Rule(in: Layout.cut, [isGranted], then: [.verdict(.goto(Layout.admit.name))]),
        ]
    }

    func key(of element: ElementKey) -> Key {
        var key = Key()
        key.append(field: element.source.address.bytes)
        key.append(field: element.transport.rawValue)
        key.append(field: element.port)
        return key
    }

    /// The element a key of this set stands for; nil for one the gate would not have made.
    func element(of key: Key) -> ElementKey? {
        let length = family.bits / 8
        let bytes = key.bytes
        guard bytes.count == length + 8, let transport = Transport(rawValue: bytes[length]),
            let address = IPAddress(bytes: Array(bytes[..<length])),
            let source = CIDR(address, prefixLength: prefixLength), source.address == address
        else { return nil }
        let port = UInt16(bytes[length + 4]) << 8 | UInt16(bytes[length + 5])
        return ElementKey(source: source, transport: transport, port: port)
    }

    static func < (one: GrantSet, other: GrantSet) -> Bool {
        // The most specific first: most grants are for single addresses.
        (one.family.bits, -one.prefixLength) < (other.family.bits, -other.prefixLength)
    }
}

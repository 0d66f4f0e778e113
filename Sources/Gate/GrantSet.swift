import Nftables
import Policy

/// One of the kernel's sets of open elements: all sources of one family and prefix length, to this
/// machine or to hosts behind it.
///
/// A hash set per prefix length, looked up by the packet's masked source, takes any number of
/// ranges without their ever overlapping and at the same cost whether it holds one or a million.
struct GrantSet: Hashable, Comparable, Sendable {
    let family: AddressFamily
    /// At most 32 or 128 bits.
    let prefixLength: Int
    /// Whether each element is for one host behind this machine.
    let isFar: Bool

    init(of key: ElementKey) {
        family = key.source.family
        prefixLength = key.source.prefixLength
        isFar = key.host != nil
    }

    private init(_ family: AddressFamily, _ prefixLength: Int, isFar: Bool) {
        self.family = family
        self.prefixLength = prefixLength
        self.isFar = isFar
    }

    /// Reads the name of a set of this kind, `grants4_32`.
    init?(name: String) {
        for family in AddressFamily.allCases {
            for isFar in [false, true] {
                let begins = GrantSet(family, 0, isFar: isFar).name.dropLast()
                let digits = name.dropFirst(begins.count)
                guard name.hasPrefix(begins), let length = Int(digits), String(length) == digits,
                    (0...family.bits).contains(length)
                else { continue }
                self.init(family, length, isFar: isFar)
                return
            }
        }
        return nil
    }

    var name: String { "\(isFar ? "far" : "grants")\(family == .ipv4 ? 4 : 6)_\(prefixLength)" }

    var named: NamedSet {
        let address: DataType = family == .ipv4 ? .ipv4Address : .ipv6Address
        return NamedSet(
            name,
            in: Layout.table,
            key: (isFar ? [address, address] : [address]) + [.transportProtocol, .port],
            flags: .timeout,
            countsPackets: true
        )
    }

    /// `ip saddr & 255.255.255.0 . meta l4proto . th dport @grants4_24 accept`, one for each session
    /// mode.
    var rules: [Rule] {
        let match =
            isFar ? Match.sourcePrefixDestinationProtocolPort : Match.sourcePrefixProtocolPort
        let isGranted = match(family.match, prefixLength, named)
        let (judge, cut) = isFar ? (Layout.farJudge, Layout.farCut) : (Layout.judge, Layout.cut)
        return [
            Rule(in: judge, [isGranted], then: [.verdict(.accept)]),
            Rule(in: cut, [isGranted], then: [.verdict(.goto(Layout.admit.name))]),
        ]
    }

    func key(of element: ElementKey) -> Key {
        var key = Key()
        key.append(field: element.source.address.bytes)
        if let host = element.host { key.append(field: host.bytes) }
        key.append(field: element.transport.rawValue)
        key.append(field: element.port)
        return key
    }

    /// The element a key of this set stands for; nil for one the gate would not have made.
    func element(of key: Key) -> ElementKey? {
        let length = family.bits / 8
        let bytes = key.bytes
        let behind = isFar ? 2 * length : length
        guard bytes.count == behind + 8, let transport = Transport(rawValue: bytes[behind]),
            let address = IPAddress(bytes: Array(bytes[..<length])),
            let source = CIDR(address, prefixLength: prefixLength), source.address == address
        else { return nil }
        let port = UInt16(bytes[behind + 4]) << 8 | UInt16(bytes[behind + 5])
        let host = isFar ? IPAddress(bytes: Array(bytes[length..<behind])) : nil
        guard !isFar || host?.family == family else { return nil }
        return ElementKey(source: source, transport: transport, port: port, host: host)
    }

    static func < (one: GrantSet, other: GrantSet) -> Bool {
        // The most specific first: most grants are for single addresses.
        (one.family.bits, -one.prefixLength, one.isFar ? 1 : 0)
            < (other.family.bits, -other.prefixLength, other.isFar ? 1 : 0)
    }
}

import Netlink
import Nftables
import Policy

extension Layout {
    /// The managed ports, as sets of the kernel.
    struct Ports {
        /// A set and what is in it.
        struct Content {
            let set: NamedSet
            let elements: [SetElement]
        }

        /// What is managed on hosts behind this machine, of one family and prefix length.
        struct Hosts {
            let family: AddressFamily
            let prefixLength: Int
            /// The verdict map from host, protocol and port to the chain of the session mode.
            let content: Content
            /// Networks that have one chain for all ports that are managed on hosts anywhere, where
            /// there are so few of them that comparing takes less time than the map, of 70 ns.
            let alike: [(network: CIDR, chain: Chain)]
        }

        /// From protocol and port to the chain of the port's session mode, or to that which finds
        /// the host: everybody else's traffic pays this one lookup.
        let managed: Content
        /// The same for this machine, of the ports that are managed on hosts behind it, too.
        let own: Content
        /// The longest prefix first.
        let hosts: [Hosts]
        /// The managed ports of UDP, for packets that come from one.
        let udp: Content
        /// Whether some are of SCTP, too.
        let hasAssociations: Bool

        var all: [Content] { [managed, own, udp] + hosts.map(\.content) }

        var managing: Managing { Managing(all) }

        /// Whether a set is one of these, which are made anew with each arming.
        static func isOne(_ name: String) -> Bool {
            ["managed", "own", "managed_udp"].contains(name) || name.hasPrefix("hosts4_")
                || name.hasPrefix("hosts6_")
        }

        init(_ ports: [ManagedPort]) {
            let ranges = Transport.allCases.flatMap { Self.ranges(ports, of: $0) }
            managed = Self.map("managed", ranges.map { ($0, $0.isFar ? far : $0.mode?.chain) })
            own = Self.map("own", ranges.filter(\.isFar).map { ($0, $0.mode?.chain) })
            hosts = Self.hosts(ports, ranges.filter(\.isFar).portCount)
            hasAssociations = ranges.contains { $0.transport == .sctp }
            let datagrams = ranges.filter { $0.transport == .udp }
            let isListed = datagrams.isListed
            udp = Content(
                set: NamedSet(
                    "managed_udp",
                    in: table,
                    key: [.port],
                    flags: isListed ? [] : .interval
                ),
                elements: datagrams.flatMap { $0.elements(isListed) { Key([], nil, $0) } }
            )
        }

        /// How many ports are listed one by one.
        ///
        /// A packet finds its port among them at once, but in 160 ns more where there are ranges:
        /// the kernel then takes a set of another kind (pipapo).
        fileprivate static let mostListed = 1024
        /// How many networks are compared with one by one.
        fileprivate static let mostCompared = 4
    }
}

extension Layout.Ports {
    /// Ports in a row that are managed alike.
    fileprivate struct Range {
        let transport: Transport
        let lower: UInt16
        let upper: UInt16
        /// What becomes of sessions to this machine; nil where it is not managed here.
        let mode: SessionMode?
        /// Whether it is managed on hosts behind this machine.
        let isFar: Bool

        func elements(
            _ isListed: Bool,
            verdict: Verdict? = nil,
            _ key: (UInt16) -> Key
        ) -> [SetElement] {
            guard isListed else {
                let end = lower == upper ? nil : key(upper)
                return [SetElement(key(lower), through: end, verdict: verdict)]
            }
            return (lower...upper).map { SetElement(key($0), verdict: verdict) }
        }
    }

    /// The managed ports of a protocol in their order, those in a row together that are managed alike.
    private static func ranges(_ ports: [ManagedPort], of transport: Transport) -> [Range] {
        let ports = ports.filter { $0.range.portProtocol.transports.contains(transport) }
        guard let first = ports.map(\.range.lower).min(), let last = ports.map(\.range.upper).max()
        else { return [] }
        var kinds = [UInt8](repeating: 0, count: Int(last - first) + 1)
        for port in ports {
            let kind: UInt8 = port.hosts != nil ? 1 : port.sessions(of: transport) == .keep ? 2 : 4
            for number in port.range.lower...port.range.upper { kinds[Int(number - first)] |= kind }
        }
        var ranges: [Range] = []
        var start = 0
        while start < kinds.count {
            var end = start
            while end + 1 < kinds.count, kinds[end + 1] == kinds[start] { end += 1 }
            let kind = kinds[start]
            if kind != 0 {
                ranges.append(
                    Range(
                        transport: transport,
                        lower: first + UInt16(start),
                        upper: first + UInt16(end),
                        mode: kind & 4 != 0 ? .cut : kind & 2 != 0 ? .keep : nil,
                        isFar: kind & 1 != 0
                    )
                )
            }
            start = end + 1
        }
        return ranges
    }

    /// A verdict map of protocols and ports.
    private static func map(_ name: String, _ ranges: [(Range, Chain?)]) -> Content {
        let isListed = ranges.map(\.0).isListed
        return Content(
            set: NamedSet(
                name,
                in: Layout.table,
                key: [.transportProtocol, .port],
                flags: isListed ? [] : .interval,
                mapsToVerdict: true
            ),
            elements: ranges.flatMap { range, chain -> [SetElement] in
                guard let chain else { return [] }
                return range.elements(isListed, verdict: .goto(chain.name)) {
                    Key([], range.transport, $0)
                }
            }
        )
    }

    /// What is managed on hosts behind this machine, of so many ports in all.
    private static func hosts(_ ports: [ManagedPort], _ count: Int) -> [Hosts] {
        var found: [CIDR: [(range: Range, chain: Chain)]] = [:]
        for port in ports {
            for transport in port.range.portProtocol.transports {
                let range = Range(
                    transport: transport,
                    lower: port.range.lower,
                    upper: port.range.upper,
                    mode: nil,
                    isFar: true
                )
                let mode = port.sessions(of: transport)
                for host in port.hosts ?? [] {
                    found[host, default: []].append((range, mode.farChain))
                }
            }
        }
        let alike = found.compactMapValues { ports -> Chain? in
            let chains = Set(ports.map(\.chain))
            return ports.map(\.range).portCount == count && chains.count == 1 ? chains.first : nil
        }
        let areFew = alike.count <= mostCompared
        let groups = Dictionary(grouping: found.keys.sorted()) {
            GroupKey(family: $0.family, prefixLength: $0.prefixLength)
        }
        return groups.sorted {
            ($0.key.family, -$0.key.prefixLength) < ($1.key.family, -$1.key.prefixLength)
        }
        .map { group, hosts in
            let isListed = hosts.flatMap { found[$0] ?? [] }.map(\.range).isListed
            let elements = hosts.flatMap { host in
                (found[host] ?? []).flatMap { range, chain in
                    range.elements(isListed, verdict: .goto(chain.name)) {
                        Key(host.address.bytes, range.transport, $0)
                    }
                }
            }
            let isIPv4 = group.family == .ipv4
            let set = NamedSet(
                "hosts\(isIPv4 ? 4 : 6)_\(group.prefixLength)",
                in: Layout.table,
                key: [isIPv4 ? .ipv4Address : .ipv6Address, .transportProtocol, .port],
                flags: isListed ? [] : .interval,
                mapsToVerdict: true
            )
            return Hosts(
                family: group.family,
                prefixLength: group.prefixLength,
                content: Content(set: set, elements: elements),
                alike: areFew ? hosts.compactMap { host in alike[host].map { (host, $0) } } : []
            )
        }
    }

    private struct GroupKey: Hashable {
        let family: AddressFamily
        let prefixLength: Int
    }
}

extension Layout {
    /// What is managed, where, and what becomes of sessions there, as verdict maps have it.
    struct Managing: Equatable {
        private struct Numbers: Equatable {
            var all: Set<UInt16> = []
            var cut: Set<UInt16> = []
        }

        private struct Place: Hashable {
            let transport: Transport
            /// The hosts behind this machine; nil for this machine itself.
            let hosts: CIDR?
        }

        private var numbers: [Place: Numbers] = [:]
        /// How long the prefixes of hosts are.
        private var lengths: Set<Int> = []

        /// Takes verdict maps and what is in them.
        init(_ maps: [Ports.Content]) {
            for map in maps where map.set.mapsToVerdict {
                let prefixLength = map.set.name.split(separator: "_").last.flatMap { Int($0) }
                if let prefixLength { lengths.insert(prefixLength) }
                for element in map.elements where element.verdict != .goto(far.name) {
                    add(element, prefixLength)
                }
            }
        }

        private mutating func add(_ element: SetElement, _ prefixLength: Int?) {
            // Each field takes whole words: the address, the protocol, the port.
            let length = element.key.count - 8
            guard length >= 0, let transport = Transport(rawValue: element.key[length]) else {
                return
            }
            let address = IPAddress(bytes: Array(element.key.bytes[..<length]))
            let hosts = prefixLength.flatMap { length in
                address.flatMap { CIDR($0, prefixLength: length) }
            }
            guard (hosts == nil) == (prefixLength == nil) else { return }
            let low = Self.port(element.key, length)
            let high = Self.port(element.keyEnd ?? element.key, length)
            guard low <= high else { return }
            let place = Place(transport: transport, hosts: hosts)
            numbers[place, default: Numbers()].all.formUnion(low...high)
            let isCut = [cut, farCut].contains { element.verdict == .goto($0.name) }
            if isCut { numbers[place, default: Numbers()].cut.formUnion(low...high) }
        }

        private static func port(_ key: Key, _ length: Int) -> UInt16 {
            UInt16(key[length + 4]) << 8 | UInt16(key[length + 5])
        }

        /// What becomes of sessions that come in as a flow, and whether they go to a host behind this
        /// machine; nil where it is not managed.
        private func mode(of flow: Flow) -> (mode: SessionMode, isFar: Bool)? {
            guard let transport = Transport(rawValue: flow.transport),
                let destination = IPAddress(bytes: flow.destination)
            else { return nil }
            let networks = lengths.sorted(by: >).compactMap {
                CIDR(destination, prefixLength: $0)
            }
            for hosts in networks + [nil] {
                let numbers = numbers[Place(transport: transport, hosts: hosts)]
                guard let numbers, numbers.all.contains(flow.destinationPort) else { continue }
                return (numbers.cut.contains(flow.destinationPort) ? .cut : .keep, hosts != nil)
            }
            return nil
        }

        /// Whether a flow was not judged before, by grants of another kind, or its session not cut.
        func isNew(_ flow: Flow, since old: Managing) -> Bool {
            guard let now = mode(of: flow) else { return false }
            guard let before = old.mode(of: flow), before.isFar == now.isFar else { return true }
            return now.mode == .cut && before.mode == .keep
        }
    }
}

extension [Layout.Ports.Range] {
    /// Whether they are few enough to be listed one by one.
    fileprivate var isListed: Bool { portCount <= Layout.Ports.mostListed }

    fileprivate var portCount: Int { reduce(0) { $0 + Int($1.upper - $1.lower) + 1 } }
}

extension Key {
    fileprivate init(_ address: [UInt8], _ transport: Transport?, _ port: UInt16) {
        self.init()
        if !address.isEmpty { append(field: address) }
        if let transport { append(field: transport.rawValue) }
        append(field: port)
    }
}

extension SessionMode {
    /// The chain of ports of this machine.
    fileprivate var chain: Chain { self == .keep ? Layout.keep : Layout.cut }
    /// The chain of ports of hosts behind it.
    fileprivate var farChain: Chain { self == .keep ? Layout.farKeep : Layout.farCut }
}

import Netlink
import Nftables
import Policy

/// What the table `inet sallyport` is made of, but for its elements.
enum Layout {
    static let table = Table(family: .inet, name: "sallyport")

    static func isTable(_ other: Table) -> Bool {
        other.family == table.family && other.name == table.name
    }

    /// Sees every packet under its original port: after conntrack (-200), before DNAT (-100), so
    /// that published container ports and forwarded hosts are judged like local services.
    static let prerouting = Chain(
        "prerouting",
        in: table,
        base: .init(hook: .prerouting, priority: Gate.priority, policy: .accept)
    )
    /// Lets in what belongs to a running session, of managed ports whose sessions outlive their
    /// grant, and has the rest judged.
    static let keep = Chain("keep", in: table)
    /// Lets in what a live grant covers, with one rule for each set of grants.
    static let judge = Chain("judge", in: table)
    /// The same for each packet, of managed ports whose sessions end with their grant.
    static let cut = Chain("cut", in: table)
    /// Remembers who is let in to ports whose sessions are cut, whenever a flow begins.
    static let admit = Chain("admit", in: table)
    /// Lets in what answers a flow that began here, and returns with the rest.
    static let answers = Chain("answers", in: table)
    /// Lets in what has a right without a grant, and has the rest refused.
    static let others = Chain("others", in: table)
    /// Refuses: the sessions that ran, so that their ends hear of it, and all else without a word.
    static let refuse = Chain("refuse", in: table)

    /// Chains in the order they can be added: each before what leads to it.
    static let chains = [refuse, others, answers, admit, judge, keep, cut, prerouting]

    /// The chain of a session mode.
    private static func chain(of mode: SessionMode) -> Chain {
        switch mode {
        case .keep: keep
        case .cut: cut
        }
    }

    /// The sources that are always let in.
    static func breakGlass(_ family: AddressFamily) -> NamedSet {
        NamedSet(
            family == .ipv4 ? "breakglass4" : "breakglass6",
            in: table,
            key: [family == .ipv4 ? .ipv4Address : .ipv6Address],
            flags: .interval,
            countsPackets: true
        )
    }

    /// The sessions that were there before the gate.
    static func earlier(_ family: AddressFamily) -> NamedSet {
        NamedSet(
            family == .ipv4 ? "earlier4" : "earlier6",
            in: table,
            key: sessionKey(family)
        )
    }

    /// How sessions are told apart: source, source port, destination, port, protocol.
    static func sessionKey(_ family: AddressFamily) -> [DataType] {
        let address: DataType = family == .ipv4 ? .ipv4Address : .ipv6Address
        return [address, .port, address, .port, .transportProtocol]
    }

    /// Who was let in to ports whose sessions are cut: address, or IPv6 network of a site, and port.
    static func clients(_ family: AddressFamily) -> NamedSet {
        NamedSet(
            family == .ipv4 ? "clients4" : "clients6",
            in: table,
            key: [
                family == .ipv4 ? .ipv4Address : .ipv6Address, .transportProtocol, .port,
            ],
            flags: [.dynamic, .timeout],
            size: 65_536
        )
    }

    /// Which part of an address a client is remembered by: whoever has an IPv6 network could fill
    /// any set with its addresses.
    private static func clientPrefixLength(_ family: AddressFamily) -> Int {
        family == .ipv4 ? 32 : 64
    }

    /// How long a client is remembered after its last flow began, which may last for long.
    private static let clientLifetime: Duration = .seconds(30 * 24 * 3600)

    /// Sets that are always there and the same; those of ``Ports`` follow from the managed ports,
    /// and the sets of grants come and go.
    static let fixedSets = AddressFamily.allCases.flatMap {
        [breakGlass($0), earlier($0), clients($0)]
    }

    /// The rules of all chains but those of the sets of grants, which stand in front of `judge` and
    /// `cut`.
    ///
    /// - Parameters:
    ///   - ports: What is managed.
    ///   - families: The families that have sources which are always let in.
    ///   - dropped: What the dropping rules have counted so far.
    ///   - telling: Whether attempts that are refused are told of.
    /// - Returns: The rules, in the order of their evaluation.
    static func rules(
        _ ports: Ports,
        breakGlass families: Set<AddressFamily>,
        dropped: Counter,
        telling: Bool
    ) -> [Rule] {
        let judged: [Expression] = [.verdict(.goto(judge.name))]
        let otherwise: [Expression] = [.verdict(.goto(others.name))]
        var rules = [Rule(in: prerouting, [], then: .protocolPort(verdictMap: ports.map))]
        if !ports.udpElements.isEmpty {
            // Established is also what answers a flow from a managed port of this host, or of one
            // behind it. Such a flow must have begun there: whoever could begin it from elsewhere,
            // with a forged source, would have his next datagram taken for the answer. What goes to
            // a managed port is judged anyhow, wherever from, and so is each handshake of TCP.
            let udp = Match.transportProtocol(Transport.udp.rawValue)
            rules.append(
                Rule(
                    in: prerouting,
                    [udp, .beginsConnection, .sourcePort(in: ports.udp), .hasNoRouteBack],
                    then: [.counter(), .verdict(.drop)]
                )
            )
        }
        // A SYN is judged whatever conntrack says: it counts one to an established connection as long
        // as it holds an entry of the same four numbers, and each handshake needs a live grant.
        let opens = Match.tcpFlags(.syn, of: [.syn, .ack])
        rules.append(Rule(in: keep, [opens], then: judged))
        // Never "related": a conntrack helper's expectation must not open a managed port. All else
        // is judged, also what conntrack does not track: judging only its "original" direction would
        // let untracked and invalid packets walk in.
        rules.append(Rule(in: keep, [.connection(.established)], then: letIn))
        rules.append(Rule(in: keep, [], then: judged))
        rules.append(Rule(in: judge, [], then: otherwise))
        rules.append(Rule(in: cut, [.isReply], then: [.verdict(.jump(answers.name))]))
        rules.append(Rule(in: cut, [], then: otherwise))
        rules += admitting + answering
        rules.append(Rule(in: others, [.inputIsLoopback], then: letIn))
        for family in AddressFamily.allCases where families.contains(family) {
            let always = Match.source(family.match, in: breakGlass(family))
            rules.append(Rule(in: others, [always], then: letIn))
        }
        for family in AddressFamily.allCases {
            // Of TCP what runs, and nothing that opens a session anew.
            let runs = Match.tcpFlags(.ack, of: [.syn, .ack])
            let isEarlier = Match.session(family.match, in: earlier(family))
            let datagrams = Transport.allCases.filter(\.isDatagrams).map {
                Match.transportProtocol($0.rawValue)
            }
            for match in [runs] + datagrams {
                rules.append(Rule(in: others, [match, isEarlier], then: letIn))
            }
        }
        rules.append(Rule(in: others, [], then: [.verdict(.goto(refuse.name))]))
        return rules + refusals(dropped, telling)
    }

    private static let letIn: [Expression] = [.verdict(.accept)]

    /// What a grant lets in to ports whose sessions are cut.
    private static var admitting: [Rule] {
        AddressFamily.allCases.map { family in
            let remembered = Match.rememberSourcePrefixProtocolPort(
                family.match,
                prefixLength: clientPrefixLength(family),
                in: clients(family),
                for: clientLifetime
            )
            // Not decided here: where the set is full, the grant counts all the same.
            return Rule(in: admit, [.beginsConnection, remembered], then: [.verdict(.accept)])
        } + [Rule(in: admit, [], then: letIn)]
    }

    /// What comes in for a flow that this host, or one behind it, began from a managed port.
    ///
    /// conntrack forgets the flow of a client that is silent for long enough (or ends one half of it),
    /// and takes the next packet of the service for the beginning of another: what the client then
    /// sends would pass as an answer, with no grant. Who was let in as a client needs one.
    private static var answering: [Rule] {
        AddressFamily.allCases.map { family in
            let isClient = Match.sourcePrefixProtocolPort(
                family.match,
                prefixLength: clientPrefixLength(family),
                in: clients(family)
            )
            return Rule(in: answers, [isClient], then: [.verdict(.return)])
        } + [Rule(in: answers, [.connection(.established)], then: letIn)]
    }

    /// What nothing lets in.
    ///
    /// Of sessions that keep their grant only SYNs come here while conntrack knows them.
    private static func refusals(_ dropped: Counter, _ telling: Bool) -> [Rule] {
        let ran = Match.connection(.established)
        let tcp = Match.transportProtocol(Transport.tcp.rawValue)
        let datagrams = Transport.allCases.filter(\.isDatagrams).map { transport in
            Rule(
                in: refuse,
                [ran, .transportProtocol(transport.rawValue)],
                then: [.counter(), .reject(.icmpx(.portUnreachable))]
            )
        }
        return [
            Rule(
                in: refuse,
                [ran, .tcpFlags(.syn, of: [.syn, .ack])],
                then: [.counter(), .verdict(.drop)]
            ),
            // How a client whose session was refused tells the service, which goes on sending.
            Rule(in: refuse, [ran, .tcpFlags(.rst, of: .rst)], then: letIn),
            Rule(in: refuse, [ran, tcp], then: [.counter(), .reject(.tcpReset)]),
        ] + datagrams + refusing(in: refuse, [], dropped: dropped, telling: telling)
    }

    /// The managed ports of a protocol, and those of them whose sessions are cut.
    struct PortNumbers {
        var all: Set<UInt16> = []
        var cut: Set<UInt16> = []
    }

    /// Drops what matches, and counts it; what begins a connection is told of before.
    static func refusing(
        in chain: Chain,
        _ matches: [Match],
        dropped: Counter,
        telling: Bool
    ) -> [Rule] {
        (telling ? self.telling(in: chain, matches) : [])
            + [Rule(in: chain, matches, then: [.counter(dropped), .verdict(.drop)])]
    }

    /// Tells a ``RefusalMonitor`` of what matches and begins a connection, so many in a second, and
    /// decides nothing.
    static func telling(in chain: Chain, _ matches: [Match]) -> [Rule] {
        let most = UInt64(RefusalMonitor.mostPerSecond)
        let tell: [Expression] = [
            .limit(Limit(packets: most, perSeconds: 1, burst: UInt32(most) * 2)),
            .log(Log(group: RefusalMonitor.group)),
        ]
        let isOther = Match([
            .meta(.transportProtocol, into: .first),
            .compare(.first, .notEqual, value: [Transport.tcp.rawValue]),
        ])
        return [Match.tcpFlags(.syn, of: [.syn, .ack]), isOther].map {
            Rule(in: chain, matches + [$0], then: tell)
        }
    }

    /// The managed ports, as sets of the kernel.
    struct Ports {
        static let mapName = "managed"
        static let udpName = "managed_udp"

        /// The verdict map from protocol and port to the chain of the port's session mode:
        /// everybody else's traffic pays this one lookup.
        let map: NamedSet
        let mapElements: [SetElement]
        /// The managed UDP ports, for packets that come from one.
        let udp: NamedSet
        let udpElements: [SetElement]

        /// How many ports are listed one by one.
        ///
        /// A packet finds its port among them at once, but in 160 ns more where there are ranges:
        /// the kernel then takes a set of another kind (pipapo).
        private static let mostListed = 1024

        init(_ managed: [ManagedPort]) {
            let count = managed.reduce(0) {
                $0 + $1.range.count * $1.range.portProtocol.transports.count
            }
            let flags: NamedSet.Flags = count > Self.mostListed ? .interval : []
            map = NamedSet(
                Self.mapName,
                in: table,
                key: [.transportProtocol, .port],
                flags: flags,
                mapsToVerdict: true
            )
            udp = NamedSet(Self.udpName, in: table, key: [.port], flags: flags)
            let ranges = managed.flatMap { port -> [ManagedPort] in
                guard flags.isEmpty else { return [port] }
                return (port.range.lower...port.range.upper).compactMap { number in
                    PortRange(number, number, port.range.portProtocol)
                        .map { range in
                            var one = port
                            one.range = range
                            return one
                        }
                }
            }
            mapElements = ranges.flatMap { port in
                port.range.portProtocol.transports.map {
                    let mode = port.sessions(of: $0)
                    return element(port.range, of: $0, verdict: .goto(chain(of: mode).name))
                }
            }
            udpElements = ranges.map(\.range)
                .filter { $0.portProtocol.transports.contains(.udp) }
                .map { element($0) }
        }
    }

    /// An element for a port, or for several in a row.
    private static func element(
        _ port: PortRange,
        of transport: Transport? = nil,
        verdict: Verdict? = nil
    ) -> SetElement {
        func key(_ number: UInt16) -> Key {
            var key = Key()
            if let transport { key.append(field: transport.rawValue) }
            key.append(field: number)
            return key
        }
        return SetElement(
            key(port.lower),
            through: port.lower == port.upper ? nil : key(port.upper),
            verdict: verdict
        )
    }

    /// The ports of elements of the verdict map.
    static func numbers(of elements: [SetElement]) -> [Transport: PortNumbers] {
        var numbers: [Transport: PortNumbers] = [:]
        for element in elements {
            guard let transport = Transport(rawValue: element.key[0]) else { continue }
            let (low, high) = (port(element.key), port(element.keyEnd ?? element.key))
            guard low <= high else { continue }
            numbers[transport, default: PortNumbers()].all.formUnion(low...high)
            guard element.verdict == .goto(cut.name) else { continue }
            numbers[transport, default: PortNumbers()].cut.formUnion(low...high)
        }
        return numbers
    }

    private static func port(_ key: Key) -> UInt16 { UInt16(key[4]) << 8 | UInt16(key[5]) }

    /// The element of a break-glass set for a source.
    static func element(alwaysLettingIn source: CIDR) -> SetElement {
        let first = source.address.bytes
        let last = first.enumerated().map { index, byte in
            let networkBits = min(8, max(0, source.prefixLength - index * 8))
            return byte | UInt8(truncatingIfNeeded: 0xff >> networkBits)
        }
        return SetElement(Key(first), through: first == last ? nil : Key(last))
    }

    /// The element of the set of earlier sessions for packets that come in for one.
    ///
    /// It stays until the session has ended, however long nothing is said or conntrack is flushed.
    static func element(keeping session: Flow) -> SetElement { SetElement(key(of: session)) }

    /// The numbers of packets of a flow, as a session's set has them.
    static func key(of flow: Flow) -> Key {
        var key = Key()
        key.append(field: flow.source)
        key.append(field: flow.sourcePort)
        key.append(field: flow.destination)
        key.append(field: flow.destinationPort)
        key.append(field: flow.transport)
        return key
    }

    /// The flow of a key of a session's set.
    static func flow(of key: Key) -> Flow? {
        let bytes = key.bytes
        // Each field takes whole words.
        guard let length = [4, 16].first(where: { bytes.count == 2 * $0 + 12 }) else { return nil }
        let port = { (place: Int) in UInt16(bytes[place]) << 8 | UInt16(bytes[place + 1]) }
        return Flow(
            transport: bytes[2 * length + 8],
            source: Array(bytes[..<length]),
            sourcePort: port(length),
            destination: Array(bytes[length + 4..<2 * length + 4]),
            destinationPort: port(2 * length + 4)
        )
    }
}

extension AddressFamily {
    var match: Match.AddressFamily { self == .ipv4 ? .ipv4 : .ipv6 }
}

extension Match {
    /// A packet's session is in a set: `ip saddr . th sport . ip daddr . th dport . meta l4proto @set`.
    ///
    /// To be used behind a match of a protocol with ports.
    static func session(_ family: AddressFamily, in set: NamedSet) -> Match {
        // RFC 791, 3.1 and RFC 8200, 3: the destination follows the source.
        let (length, source): (Int, UInt32) = family == .ipv4 ? (4, 12) : (16, 8)
        let sourcePort = Register.first.advanced(pastBytes: length)
        let destination = sourcePort.advanced(pastBytes: 2)
        let destinationPort = destination.advanced(pastBytes: length)
        return Match(
            Match.family(family).expressions + [
                .payload(.network, offset: source, length: UInt32(length), into: .first),
                .payload(.transport, offset: 0, length: 2, into: sourcePort),
                .payload(
                    .network,
                    offset: source + UInt32(length),
                    length: UInt32(length),
                    into: destination
                ),
                .payload(.transport, offset: 2, length: 2, into: destinationPort),
                .meta(.transportProtocol, into: destinationPort.advanced(pastBytes: 2)),
                .lookup(.first, set: set.name),
            ]
        )
    }
}

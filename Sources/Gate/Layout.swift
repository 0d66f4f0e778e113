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
        base: .init(hook: .prerouting, priority: -150, policy: .accept)
    )
    /// Lets in what belongs to a running session, of managed ports whose sessions outlive their
    /// grant, and has the rest judged.
    static let keep = Chain("keep", in: table)
    /// Lets in what has a right of its own, and drops the rest.
    ///
    /// What a live grant covers comes first: one rule for each set of grants.
    static let judge = Chain("judge", in: table)

    /// Chains in the order they can be added: each before what leads to it.
    static let chains = [judge, keep, prerouting]

    /// The chain of a session mode.
    private static func chain(of mode: SessionMode) -> Chain {
        switch mode {
        case .keep: keep
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

    /// The sessions that were there before the gate: source, source port, destination, port.
    static func earlier(_ family: AddressFamily) -> NamedSet {
        let address: DataType = family == .ipv4 ? .ipv4Address : .ipv6Address
        return NamedSet(
            family == .ipv4 ? "earlier4" : "earlier6",
            in: table,
            key: [address, .port, address, .port],
            flags: .timeout
        )
    }

    /// Sets that are always there and the same; those of ``Ports`` follow from the managed ports,
    /// and the sets of grants come and go.
    static let fixedSets = AddressFamily.allCases.flatMap { [breakGlass($0), earlier($0)] }

    /// The rules of all chains but those of the sets of grants, which stand in front of `judge`.
    ///
    /// - Parameters:
    ///   - ports: What is managed.
    ///   - families: The families that have sources which are always let in.
    ///   - dropped: What the dropping rules have counted so far.
    /// - Returns: The rules, in the order of their evaluation.
    static func rules(
        _ ports: Ports,
        breakGlass families: Set<AddressFamily>,
        dropped: Counter
    ) -> [Rule] {
        let letIn: [Expression] = [.verdict(.accept)]
        let judged: [Expression] = [.verdict(.goto(judge.name))]
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
        rules.append(Rule(in: judge, [.inputIsLoopback], then: letIn))
        for family in AddressFamily.allCases where families.contains(family) {
            let always = Match.source(family.match, in: breakGlass(family))
            rules.append(Rule(in: judge, [always], then: letIn))
        }
        for family in AddressFamily.allCases {
            let runs = Match.tcpFlags(.ack, of: [.syn, .ack])
            let isEarlier = Match.tcpSession(family.match, in: earlier(family))
            rules.append(Rule(in: judge, [runs, isEarlier], then: letIn))
        }
        rules.append(Rule(in: judge, [], then: [.counter(dropped), .verdict(.drop)]))
        return rules
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
                        .map { ManagedPort(range: $0, sessions: port.sessions) }
                }
            }
            mapElements = ranges.flatMap { port in
                port.range.portProtocol.transports.map {
                    element(port.range, of: $0, verdict: .goto(chain(of: port.sessions).name))
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

    /// The TCP ports of elements of the verdict map.
    static func tcpPorts(of elements: [SetElement]) -> Set<UInt16> {
        var ports: Set<UInt16> = []
        for element in elements where element.key[0] == Transport.tcp.rawValue {
            let (low, high) = (port(element.key), port(element.keyEnd ?? element.key))
            if low <= high { ports.formUnion(low...high) }
        }
        return ports
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
    static func element(keeping session: InternetSocket) -> SetElement {
        SetElement(key(of: session), timeout: earlierLifetime)
    }

    /// The four numbers of packets that come in for a session.
    static func key(of session: InternetSocket) -> Key {
        var key = Key()
        key.append(field: session.incoming.source)
        key.append(field: session.incoming.sourcePort)
        key.append(field: session.incoming.destination)
        key.append(field: session.incoming.destinationPort)
        return key
    }

    /// How long a session that never sends a packet is remembered.
    ///
    /// As long as conntrack remembers an established one, five days
    /// (`nf_conntrack_tcp_timeout_established`). With its first packet it is conntrack's to know.
    private static let earlierLifetime: Duration = .seconds(5 * 24 * 3600)
}

extension AddressFamily {
    var match: Match.AddressFamily { self == .ipv4 ? .ipv4 : .ipv6 }
}

extension Match {
    /// A session's four numbers are in a set: `ip saddr . tcp sport . ip daddr . tcp dport @set`.
    ///
    /// To be used behind a match of TCP.
    fileprivate static func tcpSession(_ family: AddressFamily, in set: NamedSet) -> Match {
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
                .lookup(.first, set: set.name),
            ]
        )
    }
}

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
    /// Has judged what is delivered to this machine though `prerouting` did not take it for this
    /// machine's, or took it for another port's: see ``delivered``.
    static let input = Chain(
        "input",
        in: table,
        base: .init(hook: .input, priority: -150, policy: .accept)
    )
    /// Lets in what belongs to a running session, of managed ports whose sessions outlive their
    /// grant, and has the rest judged.
    static let keep = Chain("keep", in: table)
    /// Lets in what a live grant covers, with one rule for each set of grants, or what has a right
    /// without one; refuses the rest, unless it is not this machine's to refuse.
    static let judge = Chain("judge", in: table)
    /// The same for each packet, of managed ports whose sessions end with their grant.
    static let cut = Chain("cut", in: table)

    /// Ports that are managed on hosts behind this machine: finds the host.
    static let far = Chain("far", in: table)
    /// As ``keep``, ``judge`` and ``cut``, for hosts behind this machine.
    static let farKeep = Chain("far_keep", in: table)
    static let farJudge = Chain("far_judge", in: table)
    static let farCut = Chain("far_cut", in: table)

    /// Remembers who is let in to ports whose sessions are cut, whenever a flow begins.
    static let admit = Chain("admit", in: table)
    /// Lets in what answers a flow that began here, and returns with the rest.
    static let answers = Chain("answers", in: table)
    /// Returns with what is not this machine's, but for forged beginnings of flows.
    static let passing = Chain("passing", in: table)
    /// Refuses without a word what did not run.
    static let refuse = Chain("refuse", in: table)
    /// Refuses sessions that ran, so that their ends hear of it.
    static let ended = Chain("ended", in: table)
    /// Judges what is delivered here under the number it is delivered to, and refuses what is not
    /// let in.
    static let strict = Chain("strict", in: table)
    /// The judging of ``strict``: lets in what is not managed, and returns with what is to be refused.
    static let here = Chain("here", in: table)

    /// Chains in the order they can be added: each before what leads to it.
    static let chains = [
        ended, refuse, passing, answers, admit, judge, keep, cut, farJudge, farKeep, farCut, far,
        here, strict, prerouting, input,
    ]

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

    /// The sessions of one family and protocol.
    struct SessionKind: Hashable, Comparable {
        let family: AddressFamily
        let transport: Transport

        static func < (one: SessionKind, other: SessionKind) -> Bool {
            (one.family, one.transport.rawValue) < (other.family, other.transport.rawValue)
        }
    }

    /// The kinds of sessions of some keys of ``earlier(_:)``.
    static func kinds(of keys: some Sequence<Key>) -> Set<SessionKind> {
        Set(
            keys.compactMap { key in
                guard let flow = flow(of: key), let transport = Transport(rawValue: flow.transport)
                else { return nil }
                return SessionKind(
                    family: flow.source.count == 4 ? .ipv4 : .ipv6,
                    transport: transport
                )
            }
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
    /// `cut`, and of `far_judge` and `far_cut`.
    ///
    /// - Parameters:
    ///   - ports: What is managed.
    ///   - families: The families that have sources which are always let in.
    ///   - earlier: What there may be of sessions that were there before the gate.
    ///   - dropped: What the dropping rules have counted so far.
    ///   - telling: Whether attempts that are refused are told of.
    /// - Returns: The rules, in the order of their evaluation.
    static func rules(
        _ ports: Ports,
        breakGlass families: Set<AddressFamily>,
        earlier: Set<SessionKind>,
        dropped: Counter,
        telling: Bool
    ) -> [Rule] {
        let forged = forged(ports)
        let managed = [Expression].protocolPort(verdictMap: ports.managed.set)
        let entitled = entitled(families, earlier)
        let passed = (
            matches: [Match.goesToAnotherHost], then: [Expression.verdict(.goto(passing.name))]
        )
        return [Rule(in: prerouting, [], then: managed)]
            + forged.map { Rule(in: prerouting, $0, then: [.counter(), .verdict(.drop)]) }
            + judging(ports, keep, judge, cut, without: entitled + [passed], telling)
            + judging(ports, farKeep, farJudge, farCut, without: entitled, telling)
            + admitting + answering(ports)
            // Their ports are managed, and so they have not met the rules of `prerouting`.
            + forged.map { Rule(in: passing, $0, then: [.counter(), .verdict(.drop)]) }
            + finding(ports) + delivered(managed) + refusals(dropped, telling)
    }

    /// What a rule matches, and what follows.
    private typealias Clause = (matches: [Match], then: [Expression])

    /// Datagrams that begin a flow from a managed port, by a way that does not lead to their source.
    ///
    /// Established is also what answers a flow from a managed port of this host, or of one behind
    /// it. Such a flow must have begun there: whoever could begin it from elsewhere, with a forged
    /// source, would have his next datagram taken for the answer. What goes to a managed port is
    /// judged anyhow, wherever from, and so is each handshake of TCP.
    private static func forged(_ ports: Ports) -> [[Match]] {
        guard !ports.udp.elements.isEmpty else { return [] }
        return Transport.allCases.filter(\.isDatagrams).map { transport in
            [
                .transportProtocol(transport.rawValue), .beginsConnection,
                .sourcePort(in: ports.udp.set), .hasNoRouteBack,
            ]
        }
    }

    /// The chains of the two session modes, and the one of the grants.
    ///
    /// What is refused has met all of their rules: they stand here twice rather than in a chain of
    /// their own, which would cost each packet some 20 ns. So does what follows where sessions are
    /// kept.
    private static func judging(
        _ ports: Ports,
        _ keep: Chain,
        _ judge: Chain,
        _ cut: Chain,
        without grant: [Clause],
        _ telling: Bool
    ) -> [Rule] {
        let judged: [Expression] = [.verdict(.goto(judge.name))]
        let keeping =
            beginnings(ports).map { Rule(in: keep, $0, then: judged) } + [
                // Never "related": a conntrack helper's expectation must not open a managed port. All
                // else is judged, also what conntrack does not track: judging only its "original"
                // direction would let untracked and invalid packets walk in.
                Rule(in: keep, [.connection(.established)], then: letIn),
                Rule(in: keep, [], then: judged),
            ]
        let refused: [Expression] = [.verdict(.goto(refuse.name))]
        return keeping
            + grant.map { Rule(in: judge, $0.matches, then: $0.then) }
            + refusing(in: judge, [], dropped: Counter(), telling: telling) + [
                Rule(in: cut, [.isReply], then: [.verdict(.jump(answers.name))])
            ]
            + grant.map { Rule(in: cut, $0.matches, then: $0.then) }
            + [ending(in: cut), Rule(in: cut, [], then: refused)]
    }

    /// What begins a session, and is judged whatever conntrack says.
    ///
    /// It counts a SYN to an established connection as long as it holds an entry of the same four
    /// numbers, and each handshake needs a live grant. That is so for one that answers another, too,
    /// which may be forged. Of SCTP it is an INIT.
    private static func beginnings(_ ports: Ports) -> [[Match]] {
        [[.tcpFlags(.syn, of: [.syn, .ack])]]
            + (ports.hasAssociations
                ? [[.transportProtocol(Transport.sctp.rawValue), .isInit(.equal)]] : [])
    }

    /// Sessions that ran are refused in another way than those that would begin.
    private static func ending(in chain: Chain) -> Rule {
        Rule(in: chain, [.connection(.established)], then: [.verdict(.goto(ended.name))])
    }

    /// What is let in without a grant.
    ///
    /// Only what can be there is looked for: whether a datagram belongs to an earlier session costs
    /// as much as all else that is asked of one that is refused.
    private static func entitled(
        _ families: Set<AddressFamily>,
        _ earlier: Set<SessionKind>
    ) -> [Clause] {
        let always = AddressFamily.allCases.filter(families.contains).map { family in
            [Match.source(family.match, in: breakGlass(family))]
        }
        let ran = earlier.sorted().map { kind in
            // What runs, and of TCP and SCTP nothing that opens a session anew.
            let runs: [Match] =
                switch kind.transport {
                case .tcp: [.tcpFlags(.ack, of: [.syn, .ack])]
                case .sctp: [.transportProtocol(Transport.sctp.rawValue), .isInit(.notEqual)]
                case .udp, .udpLite: [.transportProtocol(kind.transport.rawValue)]
                }
            return runs + [Match.session(kind.family.match, in: self.earlier(kind.family))]
        }
        return ([[.inputIsLoopback]] + always + ran).map { ($0, letIn) }
    }

    /// Which host behind this machine a packet goes to: the longest prefix that fits has it.
    private static func finding(_ ports: Ports) -> [Rule] {
        ports.hosts.flatMap { hosts in
            let found = [Expression].destinationPrefixProtocolPort(
                hosts.family.match,
                prefixLength: hosts.prefixLength,
                verdictMap: hosts.content.set
            )
            return hosts.alike.map { network, chain in
                let lies = Match.destination(
                    network.address.bytes,
                    prefixLength: network.prefixLength
                )
                return Rule(in: far, [lies], then: [.verdict(.goto(chain.name))])
            } + [Rule(in: far, [], then: found)]
        } + [
            Rule(in: far, [], then: .protocolPort(verdictMap: ports.own.set)),
            // What goes on to others has not met the rules of `prerouting` either.
            Rule(in: far, [], then: [.verdict(.jump(passing.name))]),
            Rule(in: far, [], then: letIn),
        ]
    }

    /// What is delivered here and has to be judged once more.
    ///
    /// `prerouting` judges what the table of local addresses knows to be for this machine, under the
    /// number it comes with. It does not see where translation leads, knows no addresses of routing
    /// domains (VRF), and no routes to this machine in other tables. None of that can make a managed
    /// port of this machine reachable without a grant for its own number.
    private static func delivered(_ managed: [Expression]) -> [Rule] {
        let judged: [Expression] = [.verdict(.goto(strict.name))]
        return [
            Rule(in: input, [.isTranslated], then: judged),
            Rule(in: input, [.cameThroughADomain], then: judged),
            // Asking for routes costs more than all else: of other flows the first packet is judged.
            Rule(in: input, [.connection(.established)], then: letIn),
            Rule(in: input, [.goesToAnotherHost], then: judged),
            Rule(in: strict, [], then: [.verdict(.jump(here.name))]),
            ending(in: strict),
            Rule(in: strict, [], then: [.verdict(.goto(refuse.name))]),
            Rule(in: here, [], then: managed),
            Rule(in: here, [], then: letIn),
        ]
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
    private static func answering(_ ports: Ports) -> [Rule] {
        beginnings(ports).map { Rule(in: answers, $0, then: [.verdict(.return)]) }
            + AddressFamily.allCases.map { family in
                let isClient = Match.sourcePrefixProtocolPort(
                    family.match,
                    prefixLength: clientPrefixLength(family),
                    in: clients(family)
                )
                return Rule(in: answers, [isClient], then: [.verdict(.return)])
            } + [Rule(in: answers, [.connection(.established)], then: letIn)]
    }

    /// What nothing lets in.
    private static func refusals(_ dropped: Counter, _ telling: Bool) -> [Rule] {
        let drop: [Expression] = [.counter(), .verdict(.drop)]
        let datagrams = Transport.allCases.filter(\.isDatagrams).map { transport in
            Rule(
                in: ended,
                [.transportProtocol(transport.rawValue)],
                then: [.counter(), .reject(.icmpx(.portUnreachable))]
            )
        }
        let tcp = Match.transportProtocol(Transport.tcp.rawValue)
        return refusing(in: refuse, [], dropped: dropped, telling: telling) + [
            Rule(in: ended, [.tcpFlags(.syn, of: [.syn, .ack])], then: drop),
            // How a client whose session was refused tells the service, which goes on sending.
            Rule(in: ended, [.tcpFlags(.rst, of: .rst)], then: letIn),
            Rule(in: ended, [tcp], then: [.counter(), .reject(.tcpReset)]),
        ] + datagrams + [Rule(in: ended, [], then: drop)]
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
    /// An SCTP packet that begins an association, or that does not: the first chunk of one that does
    /// is INIT, which stands alone (RFC 9260, 3.1 and 6.10).
    ///
    /// To be used behind a match of the protocol.
    fileprivate static func isInit(_ comparison: Expression.Comparison) -> Match {
        Match([
            .payload(.transport, offset: 12, length: 1, into: .first),
            .compare(.first, comparison, value: [1]),
        ])
    }

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

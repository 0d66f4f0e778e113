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
    static let judge = Chain("judge", in: table)
    /// Lets in what a live grant covers; returns otherwise.
    static let granted = Chain("granted", in: table)

    /// Chains in the order they can be added: each before what jumps to it.
    static let chains = [granted, judge, keep, prerouting]

    /// The verdict map of managed ports: everybody else's traffic pays this one lookup.
    static let managed = NamedSet(
        "managed",
        in: table,
        key: [.transportProtocol, .port],
        flags: .interval,
        mapsToVerdict: true
    )

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

    /// Sets that are always there; the sets of grants come and go.
    static let fixedSets =
        [managed] + AddressFamily.allCases.flatMap { [breakGlass($0), earlier($0)] }

    /// The rules of all chains but `granted`, whose rules follow from the sets in use.
    ///
    /// - Parameter dropped: what the dropping rule has counted so far.
    /// - Returns: The rules, in the order of their evaluation.
    static func rules(dropped: Counter) -> [Rule] {
        let letIn: [Expression] = [.verdict(.accept)]
        let judged: [Expression] = [.verdict(.goto(judge.name))]
        var rules = [Rule(in: prerouting, [], then: .protocolPort(verdictMap: managed))]
        // A SYN is judged whatever conntrack says: it counts one to an established connection as long
        // as it holds an entry of the same four numbers, and each handshake needs a live grant.
        let opens = Match.tcpFlags(.syn, of: [.syn, .ack])
        rules.append(Rule(in: keep, [opens], then: judged))
        // Never "related": a conntrack helper's expectation must not open a managed port.
        rules.append(Rule(in: keep, [.connection(.established)], then: letIn))
        // Answers to connections this host made itself, even from a managed port. All else is
        // judged, also what conntrack does not track: judging only its "original" direction would
        // let untracked and invalid packets walk in.
        rules.append(Rule(in: keep, [.isReply], then: letIn))
        rules.append(Rule(in: keep, [], then: judged))
        rules.append(Rule(in: judge, [.inputIsLoopback], then: letIn))
        for family in AddressFamily.allCases {
            let always = Match.source(family.match, in: breakGlass(family))
            rules.append(Rule(in: judge, [always], then: letIn))
        }
        rules.append(Rule(in: judge, [], then: [.verdict(.jump(granted.name))]))
        for family in AddressFamily.allCases {
            let runs = Match.tcpFlags(.ack, of: [.syn, .ack])
            let isEarlier = Match.tcpSession(family.match, in: earlier(family))
            rules.append(Rule(in: judge, [runs, isEarlier], then: letIn))
        }
        rules.append(Rule(in: judge, [], then: [.counter(dropped), .verdict(.drop)]))
        return rules
    }

    /// The elements of the verdict map for a managed port.
    static func elements(managing managed: ManagedPort) -> [SetElement] {
        let port = managed.range
        return port.portProtocol.transports.map { transport in
            func key(_ number: UInt16) -> Key {
                var key = Key()
                key.append(field: transport.rawValue)
                key.append(field: number)
                return key
            }
            return SetElement(
                key(port.lower),
                through: port.lower == port.upper ? nil : key(port.upper),
                verdict: .jump(chain(of: managed.sessions).name)
            )
        }
    }

    private static func chain(of mode: SessionMode) -> Chain {
        switch mode {
        case .keep: keep
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
    static func element(keeping session: TCPSocket) -> SetElement {
        var key = Key()
        key.append(field: session.remoteAddress)
        key.append(field: session.remotePort)
        key.append(field: session.localAddress)
        key.append(field: session.localPort)
        return SetElement(key, timeout: earlierLifetime)
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

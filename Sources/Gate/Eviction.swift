import Linux
import Netlink
import Nftables
import Policy

/// Refuses what is sent between two ends for some seconds, so that both hear that their session is
/// over.
///
/// It stands in a table of its own, which nobody's packets pay for afterwards, and which the kernel
/// takes away with the agent. Whoever sends something of the session gets a TCP reset (or an ICMP
/// error) whose sequence number is that of the refused packet's acknowledgement, and so is right. A
/// quiet end is provoked by a SYN in the name of the other: it answers what it takes for an attempt
/// at its connection with an acknowledgement (RFC 5961, 4.2). These SYNs are exempt from connection
/// tracking and translation, which would take them for new connections. Who sent datagrams is told
/// by a datagram in their own name, which is rejected on its way out.
struct Eviction {
    private let table: Table
    /// What is refused: both directions of each connection.
    let flows: [Flow]

    /// How our own SYNs are known by; the lower half is the port that they are to come from, where
    /// the agent may not bind to that (ports below 1024 take another privilege), else 0.
    private static let mark: UInt32 = 0x5a11_0000

    init(of entries: [ConntrackEntry], number: Int, isOwned: Bool) {
        table = Table(
            family: .inet,
            name: "\(Self.prefix)\(number)",
            flags: isOwned ? .owner : []
        )
        flows = entries.flatMap { [$0.original, $0.reply] }
    }

    private static let prefix = "sallyport-ended-"

    static func isTable(_ table: Table) -> Bool {
        table.family == .inet && table.name.hasPrefix(prefix)
    }

    /// The set that has a flow.
    func set(of flow: Flow) -> NamedSet { set(flow.source.count == 4 ? .ipv4 : .ipv6) }

    private func set(_ family: AddressFamily) -> NamedSet {
        NamedSet(
            family == .ipv4 ? "ended4" : "ended6",
            in: table,
            key: Layout.sessionKey(family),
            countsPackets: true
        )
    }

    /// What makes the table.
    var beginning: Transaction {
        var transaction = Transaction()
        transaction.create(table)
        let refuse = Chain(
            "refuse",
            in: table,
            // Before the gate, which may let in what is to be refused.
            base: .init(hook: .prerouting, priority: Gate.priority - 1)
        )
        transaction.add(refuse)
        for family in AddressFamily.allCases {
            let flows = flows.filter { $0.source.count == family.bits / 8 }
            guard !flows.isEmpty else { continue }
            transaction.add(set(family))
            transaction.add(
                Set(flows).map { SetElement(Layout.key(of: $0)) },
                to: set(family)
            )
            for transport in Transport.allCases {
                let reject: Expression =
                    transport == .tcp ? .reject(.tcpReset) : .reject(.icmpx(.portUnreachable))
                transaction.add(
                    Rule(
                        in: refuse,
                        [
                            .transportProtocol(transport.rawValue),
                            .session(family.match, in: set(family)),
                        ],
                        then: [reject]
                    )
                )
            }
        }
        // Before connection tracking (-200).
        let own = Chain("own", in: table, base: .init(hook: .output, priority: -300))
        transaction.add(own)
        for transport in [Transport.tcp, .udp] {
            let isTCP = transport == .tcp
            for port in Set(flows.filter { $0.transport == transport.rawValue }.map(lowPort))
                .sorted()
            {
                let isOurs = Match([
                    .meta(.mark, into: .first),
                    .compare(.first, .equal, value: (Self.mark | UInt32(port)).hostBytes),
                ])
                let rename: [Expression] =
                    port == 0
                    ? []
                    : [
                        .load([UInt8(port >> 8), UInt8(port & 0xff)], into: .first),
                        // RFC 9293, 3.1: the source port comes first, the checksum at byte 16; RFC
                        // 768: at byte 6.
                        .store(
                            .first,
                            .transport,
                            offset: 0,
                            length: 2,
                            checksumAt: isTCP ? 16 : 6
                        ),
                    ]
                transaction.add(
                    Rule(
                        in: own,
                        [.transportProtocol(transport.rawValue), isOurs],
                        then: rename + [isTCP ? .notrack : .reject(.icmpx(.portUnreachable))]
                    )
                )
            }
        }
        return transaction
    }

    /// What takes it away.
    var ending: Transaction {
        var transaction = Transaction()
        transaction.delete(table)
        return transaction
    }

    /// Has the senders of connections say something, and tells those of datagrams.
    ///
    /// - Returns: Why some could not be reached.
    func provoke(_ flows: [Flow]) -> [String] {
        // Nobody knows the link of link-local ones: they hear of it when they say something.
        flows.filter { !$0.source.isLinkLocal && !$0.destination.isLinkLocal }.compactMap { flow in
            let port = lowPort(of: flow)
            let mark = Self.mark | UInt32(port)
            do throws(SystemError) {
                switch Transport(rawValue: flow.transport) {
                case .tcp:
                    try ForeignHandshake.prepare(
                        from: flow.destination,
                        port == 0 ? flow.destinationPort : 0,
                        to: flow.source,
                        flow.sourcePort,
                        mark: mark
                    ).send()
                case .udp:
                    try ForeignDatagram.send(
                        from: flow.source,
                        port == 0 ? flow.sourcePort : 0,
                        to: flow.destination,
                        flow.destinationPort,
                        mark: mark
                    )
                default: break
                }
                return nil
            } catch {
                return "cannot tell one end of a session that it is over: \(error)"
            }
        }
    }

    /// The port in whose name something is sent, where the agent may not bind to it; else 0.
    private func lowPort(of flow: Flow) -> UInt16 {
        let port = flow.transport == Transport.tcp.rawValue ? flow.destinationPort : flow.sourcePort
        return port < 1024 ? port : 0
    }
}

extension [UInt8] {
    /// Whether an address is IPv6's of one link (RFC 4291, 2.5.6).
    fileprivate var isLinkLocal: Bool { count == 16 && self[0] == 0xfe && self[1] & 0xc0 == 0x80 }
}

extension UInt32 {
    /// As the kernel has numbers of its own.
    fileprivate var hostBytes: [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: littleEndian >> (8 * UInt32($0))) }
    }
}

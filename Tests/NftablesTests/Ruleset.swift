import Nftables
import TestSupport

/// A ruleset with one of everything the library can say.
enum Ruleset {
    static let table = Table(family: .inet, name: "sallyport")
    static let grants4 = NamedSet(
        "grants4_24",
        in: table,
        key: [.ipv4Address, .transportProtocol, .port],
        flags: .timeout,
        countsPackets: true,
        size: 1000
    )
    static let grants6 = NamedSet(
        "grants6_64",
        in: table,
        key: [.ipv6Address, .transportProtocol, .port],
        flags: .timeout
    )
    static let trusted = NamedSet(
        "trusted",
        in: table,
        key: [.ipv4Address],
        flags: .interval,
        comment: "break glass"
    )
    static let modes = NamedSet(
        "modes",
        in: table,
        key: [.transportProtocol, .port],
        flags: .interval,
        mapsToVerdict: true
    )
    static let ports = NamedSet("ports", in: table, key: [.port])
    static let clients = NamedSet(
        "clients",
        in: table,
        key: [.ipv4Address, .transportProtocol, .port],
        flags: [.dynamic, .timeout],
        size: 1000
    )
    static let gate = Chain(
        "gate",
        in: table,
        base: .init(hook: .prerouting, priority: -150, policy: .accept)
    )
    static let keep = Chain("keep", in: table)
    static let cut = Chain("cut", in: table)

    static let rules: [Rule] = [
        Rule(in: gate, [.inputIsLoopback], then: [.verdict(.accept)]),
        Rule(in: gate, [.isReply], then: [.verdict(.accept)], comment: "our own connections"),
        Rule(in: gate, [.source(.ipv4, in: trusted)], then: [.verdict(.accept)]),
        Rule(in: gate, [], then: .protocolPort(verdictMap: modes)),
        Rule(in: keep, [.connection(.established)], then: [.verdict(.return)]),
        Rule(in: keep, [.connection([.established, .related])], then: [.verdict(.continue)]),
        Rule(in: keep, [.connectionMark(7)], then: [.verdict(.return)]),
        Rule(in: keep, [.hasNoRouteBack], then: [.verdict(.drop)]),
        Rule(
            in: keep,
            [.transportProtocol(17), .beginsConnection, .sourcePort(in: ports)],
            then: [.verdict(.drop)]
        ),
        Rule(
            in: keep,
            [.sourcePrefixProtocolPort(.ipv4, prefixLength: 24, in: grants4)],
            then: [.counter(), .verdict(.return)]
        ),
        Rule(
            in: keep,
            [.sourcePrefixProtocolPort(.ipv6, prefixLength: 64, in: grants6)],
            then: [.verdict(.return)]
        ),
        Rule(
            in: keep,
            [.sourcePrefixProtocolPort(.ipv4, prefixLength: 0, in: grants4)],
            then: [.verdict(.return)]
        ),
        Rule(
            in: keep,
            [.sourcePrefixProtocolPort(.ipv4, prefixLength: 32, in: grants4)],
            then: [.verdict(.return)]
        ),
        Rule(
            in: keep,
            [.source([10, 0, 0, 0], prefixLength: 8)],
            then: [.verdict(.goto("cut"))]
        ),
        Rule(
            in: keep,
            [.source([0x20, 1, 0xd, 0xb8] + [UInt8](repeating: 0, count: 12), prefixLength: 32)],
            then: [.verdict(.jump("cut"))]
        ),
        Rule(
            in: keep,
            [.destination([10, 1, 0, 0], prefixLength: 16)],
            then: [.verdict(.goto("cut"))]
        ),
        Rule(in: keep, [.source([0, 0, 0, 0], prefixLength: 0)], then: [.verdict(.return)]),
        Rule(
            in: keep,
            [],
            then: [
                .limit(Limit(packets: 5, perSeconds: 60)),
                .log(Log(prefix: "sallyport ", level: 6)), .verdict(.drop),
            ]
        ),
        Rule(in: keep, [], then: [.log(Log(prefix: "to a group", group: 3)), .verdict(.drop)]),
        Rule(
            in: cut,
            [.destinationPort(22...22, transportProtocol: 6)],
            then: [.reject(.tcpReset)]
        ),
        Rule(
            in: cut,
            [.destinationPort(5000...5010, transportProtocol: 17)],
            then: [.reject(.icmpx(.adminProhibited))]
        ),
        Rule(in: cut, [.tcpFlags(.syn, of: [.syn, .ack])], then: [.verdict(.drop)]),
        Rule(in: cut, [.goesToAnotherHost], then: [.verdict(.return)]),
        Rule(in: cut, [.isTranslated], then: [.verdict(.drop)]),
        Rule(
            in: cut,
            [.transportProtocol(6)],
            then: [
                .notrack, .load([0, 22], into: .first),
                .store(.first, .transport, offset: 0, length: 2, checksumAt: 16),
            ]
        ),
        Rule(
            in: cut,
            [
                .rememberSourcePrefixProtocolPort(
                    .ipv4,
                    prefixLength: 32,
                    in: clients,
                    for: .seconds(3600)
                )
            ],
            then: [.verdict(.accept)]
        ),
    ]

    /// Makes all of it.
    static var creation: Transaction {
        var transaction = Transaction()
        transaction.add(table)
        for set in [grants4, grants6, trusted, modes, ports, clients] { transaction.add(set) }
        for chain in [gate, keep, cut] { transaction.add(chain) }
        for rule in rules { transaction.add(rule) }
        return transaction
    }
}

import Nftables
import TestSupport
import Testing

@Test(.blocking) func countersOfElementsAndRulesAreReadBack() throws {
    let host = try Host()
    try host.namespace.run {
        let connection = try Connection()
        try connection.commit(Host.gate)
        var grant = Transaction()
        grant.add([SetElement(key([10, 9, 0, 0], 6, 9))], to: Host.grants)
        try connection.commit(grant)
    }
    #expect(try host.answersClient(port: 9, within: 10))
    try host.namespace.run {
        let connection = try Connection()
        let element = try connection.element(key([10, 9, 0, 0], 6, 9), in: Host.grants)
        let counter = try #require(element?.counter)
        // One SYN, answered by a reset since nobody listens: 40 bytes and options.
        #expect(counter.packets == 1)
        #expect((40...80).contains(counter.bytes))
        let counted = try connection.rules(in: Host.table).flatMap(\.expressions).compactMap {
            if case .counter(let counter) = $0 { counter } else { nil }
        }
        #expect(counted == [counter])
    }
}

@Test(.blocking, arguments: [(8, false), (9, true), (11, true), (12, false)])
func aVerdictMapWithRangesJudgesPackets(_ port: UInt16, _ isManaged: Bool) throws {
    let host = try Host()
    try host.namespace.run { try Connection().commit(Host.gate) }
    // Managed ports are dropped, others are answered by a reset.
    #expect(try host.answersClient(port: port, within: isManaged ? 0.3 : 10) == !isManaged)
}

@Test(.blocking) func aSourceWithoutARouteBackIsKnown() throws {
    let host = try Host()
    let table = Table(family: .inet, name: "t")
    try host.namespace.run {
        let chain = Chain("c", in: table, base: .init(hook: .prerouting, priority: -150))
        let isUDP = Match.transportProtocol(17)
        var transaction = Transaction()
        transaction.add(table)
        transaction.add(chain)
        transaction.add(Rule(in: chain, [isUDP, .hasNoRouteBack], then: [.counter()]))
        transaction.add(Rule(in: chain, [isUDP], then: [.counter()]))
        try Connection().commit(transaction)
    }
    try host.client.run {
        try shell("bash", "-c", "echo > /dev/udp/10.9.0.1/9").get()
        // The host has no route to this address.
        try shell("ip", "addr", "add", "10.8.0.2/32", "dev", "client0").get()
        let route = ["10.9.0.0/24", "dev", "client0", "src", "10.8.0.2"]
        try shell(["ip", "route", "replace"] + route).get()
        try shell("bash", "-c", "echo > /dev/udp/10.9.0.1/9").get()
        try shell("bash", "-c", "echo > /dev/udp/10.9.0.1/9").get()
    }
    let counted = try host.namespace.run {
        try Connection().rules(in: table).flatMap(\.expressions).compactMap {
            if case .counter(let counter) = $0 { counter.packets } else { nil }
        }
    }
    #expect(counted == [2, 3])
}

/// A host with a gate, and a client at 10.9.0.2.
private struct Host {
    static let table = Table(family: .inet, name: "gate")
    static let grants = NamedSet(
        "grants",
        in: table,
        key: [.ipv4Address, .transportProtocol, .port],
        countsPackets: true
    )

    let namespace: NetworkNamespace
    let client: NetworkNamespace

    init() throws {
        namespace = try NetworkNamespace()
        client = try NetworkNamespace()
        try namespace.connect("host0", ["10.9.0.1/24"], to: client, "client0", ["10.9.0.2/24"])
    }

    /// Whether a connection from the client is answered at all, if only by a refusal.
    func answersClient(port: UInt16, within seconds: Double) throws -> Bool {
        try client.run {
            try shell("timeout", "\(seconds)", "bash", "-c", "</dev/tcp/10.9.0.1/\(port)")
                .errors.contains("refused")
        }
    }

    /// TCP ports 9 to 11 are managed: only granted sources get through.
    static var gate: Transaction {
        let chain = Chain("gate", in: table, base: .init(hook: .prerouting, priority: -150))
        let managed = Chain("managed", in: table)
        let modes = NamedSet(
            "modes",
            in: table,
            key: [.transportProtocol, .port],
            flags: .interval,
            mapsToVerdict: true
        )
        var transaction = Transaction()
        transaction.add(table)
        transaction.add(grants)
        transaction.add(modes)
        transaction.add(chain)
        transaction.add(managed)
        transaction.add(Rule(in: chain, [], then: .protocolPort(verdictMap: modes)))
        transaction.add(
            Rule(
                in: managed,
                [.sourcePrefixProtocolPort(.ipv4, prefixLength: 24, in: grants)],
                then: [.counter(), .verdict(.accept)]
            )
        )
        transaction.add(Rule(in: managed, [], then: [.verdict(.drop)]))
        transaction.add(
            [SetElement(key(6, 9), through: key(6, 11), verdict: .jump("managed"))],
            to: modes
        )
        return transaction
    }
}

import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// A policy with hosts is about destinations behind this machine, each by itself.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct GatewayTests {
    /// Two hosts behind the router and the router itself, by family.
    private static let ends = [
        (one: "10.0.0.2", other: "10.0.0.3", router: "198.51.100.1", source: "198.51.100.7"),
        (one: "fd00::2", other: "fd00::3", router: "2001:db8::1", source: "2001:db8::7"),
    ]
    typealias Ends = (one: String, other: String, router: String, source: String)

    private static func listeners(
        _ hosts: Hosts,
        _ inner: NetworkNamespace,
        _ ends: Ends
    ) throws -> [Endpoint] {
        try [
            hosts.listener(on: 22, at: ends.one, in: inner),
            hosts.listener(on: 22, at: ends.other, in: inner),
            hosts.listener(on: 22, at: ends.router),
        ]
    }

    @Test(arguments: ends, SessionMode.allCases)
    func opensOneDestinationAndNoOther(_ ends: Ends, sessions: SessionMode) throws {
        let hosts = try Hosts()
        let services = try Self.listeners(hosts, hosts.innerHost(), ends)
        let managed = Hosts.ports(
            "22/tcp",
            sessions: sessions,
            at: ["10.0.0.0/24", "fd00::/64"]
        )
        let gate = try hosts.armedGate(managed)
        let connects = { (address: String) in
            try hosts.connects(to: 22, at: address, from: ends.source)
        }
        var plan = Plan()
        #expect(try !connects(ends.one))
        #expect(try !connects(ends.other))
        // The router's own port is in no policy.
        #expect(try connects(ends.router))
        try gate.perform([.open(Grant(1, "22/tcp", at: ends.one, from: ends.source))], in: &plan)
        #expect(try connects(ends.one))
        #expect(try !connects(ends.other))
        #expect(try gate.inspect().fault == nil)
        let session = try hosts.session(
            to: services[0],
            on: 22,
            at: ends.one,
            from: ends.source
        )
        #expect(session.client.says("hello", to: session.host))
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        if sessions == .keep {
            #expect(session.client.says("still here", to: session.host))
        } else {
            try session.client.send("too late")
            #expect(session.client.isReset(withinMilliseconds: Endpoint.patience))
            try session.host.send("anybody there?")
            #expect(session.host.isReset(withinMilliseconds: Endpoint.patience))
        }
        #expect(try !connects(ends.one))
    }

    /// Closed here, closed there with sessions that end, untouched elsewhere.
    @Test(arguments: ends, [false, true])
    func theSamePortMayBeClosedHereAndThereAndOpenElsewhere(
        _ ends: Ends,
        withManyPorts: Bool
    ) throws {
        let hosts = try Hosts()
        let services = try Self.listeners(hosts, hosts.innerHost(), ends)
        let length = ends.one.contains(":") ? 128 : 32
        let port = withManyPorts ? "1-4000/any" : "22/tcp"
        var managed = Hosts.ports(port, sessions: .cut, at: ["\(ends.one)/\(length)"])
        managed += Hosts.ports("22/tcp")
        let gate = try hosts.armedGate(managed)
        let connects = { (address: String) in
            try hosts.connects(to: 22, at: address, from: ends.source)
        }
        #expect(try !connects(ends.one))
        #expect(try connects(ends.other))
        #expect(try !connects(ends.router))
        var plan = Plan()
        // Of this machine; of the host; and the numbers of the other family are none of it.
        try gate.perform([.open(Grant(1, "22/tcp", from: ends.source))], in: &plan)
        #expect(try !connects(ends.one))
        #expect(try connects(ends.router))
        try gate.perform(
            [
                .close(.init(request: 1, ordinal: 1)),
                .open(Grant(2, "22/tcp", at: ends.one, from: ends.source)),
            ],
            in: &plan
        )
        #expect(try connects(ends.one))
        #expect(try !connects(ends.router))
        #expect(try gate.inspect().fault == nil)

        // Another policy takes its place, and the grant is gone with it.
        try hosts.host.run {
            try gate.arm(
                managed: Hosts.ports("22/tcp", at: ["\(ends.other)/\(length)"]),
                breakGlass: [],
                holding: .exactly(Plan()),
                now: bootTime
            )
        }
        #expect(try connects(ends.one))
        #expect(try !connects(ends.other))
        #expect(try connects(ends.router))
        #expect(try gate.inspect().fault == nil)
        withExtendedLifetime(services) {}
    }

    /// The longest prefix has it.
    @Test func aHostMayBeOfAnotherPolicyThanItsNetwork() throws {
        let hosts = try Hosts()
        let services = try Self.listeners(hosts, hosts.innerHost(), Self.ends[0])
        let managed =
            Hosts.ports("22/tcp", at: ["10.0.0.2/32"])
            + Hosts.ports("80/tcp", "22/udp", sessions: .cut, at: ["10.0.0.0/24"])
        let gate = try hosts.armedGate(managed)
        #expect(try !hosts.connects(to: 22, at: "10.0.0.2"))
        #expect(try hosts.connects(to: 22, at: "10.0.0.3"))
        #expect(try gate.inspect().fault == nil)
        withExtendedLifetime(services) {}
    }

    @Test(arguments: ends)
    func breakGlassAndSessionsThatTheKernelKnowsPass(_ ends: Ends) throws {
        let hosts = try Hosts()
        let inner = try hosts.innerHost()
        let services = try Self.listeners(hosts, inner, ends)
        let gate = try hosts.armedGate(
            Hosts.ports("22/tcp", at: ["10.0.0.0/24", "fd00::/64"]),
            breakGlass: [CIDR(parsing: ends.source)]
        )
        #expect(try hosts.connects(to: 22, at: ends.one, from: ends.source))
        // What the inner host itself begins from a managed port is answered.
        let there = try hosts.listener(on: 7000, at: ends.source, in: hosts.client)
        try inner.run {
            let own = try Endpoint(isIPv6: ends.one.contains(":"))
            try own.bind(to: ends.other, port: 5022)
            #expect(
                try own.connect(to: ends.source, port: 7000, withinMilliseconds: Endpoint.patience)
            )
        }
        withExtendedLifetime((services, gate, there)) {}
    }

    @Test(arguments: ends, [SessionMode.keep, .cut])
    func datagramsToAHostAreJudged(_ ends: Ends, mode: SessionMode) throws {
        let hosts = try Hosts()
        let inner = try hosts.innerHost()
        let service = try inner.run { try Endpoint.datagrams(ends.one, 5000) }
        let client = try hosts.client.run { try Endpoint.datagrams(ends.source, 7000) }
        var managed = Hosts.ports("5000/udp", at: ["10.0.0.0/24", "fd00::/64"])
        managed[0].udpSessions = mode
        let gate = try hosts.armedGate(managed)
        var plan = Plan()
        try client.send("closed", to: ends.one, port: 5000)
        #expect(!service.hears("closed", withinMilliseconds: 100))
        try gate.perform([.open(Grant(1, "5000/udp", at: ends.one, from: ends.source))], in: &plan)
        try client.send("open", to: ends.one, port: 5000)
        #expect(service.hears("open", withinMilliseconds: Endpoint.patience))
        try service.send("welcome", to: ends.source, port: 7000)
        #expect(client.hears("welcome", withinMilliseconds: Endpoint.patience))
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        try client.send("late", to: ends.one, port: 5000)
        let isHeard = service.hears(
            "late",
            withinMilliseconds: mode == .keep ? Endpoint.patience : 100
        )
        #expect(isHeard == (mode == .keep))
    }
}

import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// Sessions that end with their grant.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct CutTests {
    private static let managed = Hosts.ports("22/tcp", "5000/udp", sessions: .cut)
    private static let ends = [
        (address: "198.51.100.1", client: "198.51.100.7", other: "198.51.100.8"),
        (address: "2001:db8::1", client: "2001:db8::7", other: "2001:db8::8"),
    ]

    @Test(arguments: ends, [true, false])
    func refusesTheNextPacketOfASessionWhoseGrantHasEnded(
        end: (address: String, client: String, other: String),
        isOwned: Bool
    ) throws {
        let (address, client, other) = end
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22, at: address)
        let gate = try hosts.armedGate(Self.managed, owning: isOwned)
        var plan = Plan()
        let grant = try Grant(1, "22/tcp", from: client)
        try gate.perform([.open(grant), .open(Grant(2, "22/tcp", from: other))], in: &plan)
        let ends = try hosts.session(to: service, on: 22, at: address, from: client)
        let stays = try hosts.session(to: service, on: 22, at: address, from: other)
        #expect(ends.client.says("hello", to: ends.host))
        // The element is made anew, and no packet sees the moment between.
        try gate.perform(
            [.carriedOver(grant.id, deadline: bootTime() + .seconds(90))],
            in: &plan
        )
        #expect(ends.host.says("hello yourself", to: ends.client))
        #expect(ends.client.says("still here", to: ends.host))

        try gate.perform([.close(grant.id)], in: &plan)
        try ends.client.send("too late")
        #expect(ends.client.isReset(withinMilliseconds: Endpoint.patience))
        #expect(!ends.host.hears("too late", withinMilliseconds: 50))
        // The client's end is gone, and says so as soon as the service says something.
        try ends.host.send("anybody there?")
        #expect(ends.host.isReset(withinMilliseconds: Endpoint.patience))

        #expect(stays.client.says("I stay", to: stays.host))
        #expect(stays.host.says("so do I", to: stays.client))
        #expect(try !hosts.connects(to: 22, at: address, from: client))
        #expect(try gate.inspect().fault == nil)
    }

    @Test(arguments: [true, false]) func endsBySelfWhoeverIsDead(isOwned: Bool) throws {
        let hosts = try Hosts()
        let services = try (
            hosts.listener(on: 22), hosts.host.run { try Endpoint.datagrams("198.51.100.1", 5000) }
        )
        var gate: Gate? = try hosts.armedGate(Self.managed, owning: isOwned)
        var plan = Plan()
        let grants = try ["22/tcp", "5000/udp"].enumerated().map {
            try Grant(Int64($0 + 1), $1, from: "198.51.100.7", endsIn: 600)
        }
        try gate?.perform(grants.map(Event.open), in: &plan)
        let session = try hosts.session(to: services.0, on: 22)
        let datagrams = try hosts.client.run { try Endpoint.datagrams("198.51.100.7", 7000) }
        try datagrams.send("hello", to: "198.51.100.1", port: 5000)
        #expect(services.1.hears("hello", withinMilliseconds: 500))
        #expect(session.client.says("hello", to: session.host))
        gate = nil
        sleep(until: grants[1].end.deadline + .milliseconds(20))
        try session.client.send("too late")
        #expect(session.client.isReset(withinMilliseconds: Endpoint.patience))
        try datagrams.send("too late", to: "198.51.100.1", port: 5000)
        #expect(!services.1.hears("too late", withinMilliseconds: 100))
    }

    /// Between the end of a grant and that of its sessions others may change the table.
    @Test(arguments: ends, ["flush ruleset", "insert rule inet sallyport refuse accept"])
    func aTableThatOthersChangedLetsNoSessionOutliveItsGrant(
        end: (address: String, client: String, other: String),
        damage: String
    ) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22, at: end.address)
        func session(_ source: String) throws -> (client: Endpoint, host: Endpoint) {
            try hosts.session(to: service, on: 22, at: end.address, from: source)
        }
        let early = try session(end.client)
        let gate = try hosts.armedGate(Self.managed, owning: false)
        var plan = Plan()
        let over = try Grant(1, "22/tcp", from: end.client)
        try gate.perform([.open(over), .open(Grant(2, "22/tcp", from: end.other))], in: &plan)
        let (outlived, granted) = (try session(end.client), try session(end.other))
        try gate.perform([.close(over.id)], in: &plan)

        for isReloaded in [false, true, false] {
            _ = try hosts.nft(damage)
            if !isReloaded { gate.distrust() }
            // A reload may come first, and finds no table where it was flushed.
            let steps = isReloaded ? [.whatIsThere, .exactly(plan)] : [Holding.exactly(plan)]
            try hosts.host.run {
                for holding in steps {
                    try gate.arm(
                        managed: Self.managed,
                        breakGlass: [],
                        holding: holding,
                        now: bootTime
                    )
                }
            }
            #expect(early.client.says("older than the gate", to: early.host))
            #expect(granted.client.says("granted", to: granted.host))
        }
        try outlived.client.send("too late")
        #expect(outlived.client.isReset(withinMilliseconds: 1500))
        #expect(!outlived.host.hears("too late", withinMilliseconds: 50))
    }

    /// A service may send before its client does, and be taken for who began the flow.
    @Test(arguments: ends, [false, true])
    func datagramsEndWithTheirGrantThoughTheServiceSendsOn(
        ends: (address: String, client: String, other: String),
        isForgotten: Bool
    ) throws {
        let (address, client) = (ends.address, ends.client)
        let hosts = try Hosts()
        let service = try hosts.host.run { try Endpoint.datagrams(address, 5000) }
        let asking = try hosts.client.run {
            let socket = try Endpoint.datagrams(client, 7000)
            _ = try socket.connect(to: address, port: 5000, withinMilliseconds: 0)
            return socket
        }
        let gate = try hosts.armedGate(Self.managed)
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5000/udp", from: client))], in: &plan)
        #expect(asking.says("hello", to: service))
        try service.send("hello yourself", to: client, port: 7000)
        #expect(asking.hears("hello yourself", withinMilliseconds: Endpoint.patience))
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        if isForgotten { try hosts.forgetConnections() }
        try service.send("anybody there?", to: client, port: 7000)
        #expect(asking.hears("anybody there?", withinMilliseconds: Endpoint.patience))
        try asking.send("too late")
        #expect(asking.isReset(withinMilliseconds: Endpoint.patience))
        #expect(!service.hears("too late", withinMilliseconds: 50))
    }

    /// conntrack takes the next packet of a session that it has forgotten for the first of another.
    @Test func aSessionEndsWithItsGrantThoughTheServiceSpeaksFirst() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate(Self.managed)
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        let session = try hosts.session(to: service, on: 22)
        try hosts.forgetConnections()
        #expect(session.host.says("anybody there?", to: session.client))
        #expect(session.client.says("I am", to: session.host))
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        try session.client.send("too late")
        #expect(session.client.isReset(withinMilliseconds: Endpoint.patience))
        #expect(!session.host.hears("too late", withinMilliseconds: 50))
    }

    @Test func answersToTheHostsOwnFlowsPass() throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate(Self.managed)
        let there = try hosts.client.run {
            let socket = try Endpoint()
            try socket.bind(to: "198.51.100.7", port: 7000)
            try socket.listen()
            return socket
        }
        let own = try hosts.host.run {
            let socket = try Endpoint()
            try socket.bind(to: "198.51.100.1", port: 22)
            #expect(
                try socket.connect(
                    to: "198.51.100.7",
                    port: 7000,
                    withinMilliseconds: Endpoint.patience
                )
            )
            return socket
        }
        let accepted = try there.accept()
        #expect(accepted.says("welcome", to: own))
        #expect(own.says("thank you", to: accepted))
        let asking = try hosts.host.run { try Endpoint.datagrams("198.51.100.1", 5000) }
        let answering = try hosts.client.run { try Endpoint.datagrams("198.51.100.7", 5000) }
        try asking.send("question", to: "198.51.100.7", port: 5000)
        #expect(answering.hears("question", withinMilliseconds: Endpoint.patience))
        try answering.send("answer", to: "198.51.100.1", port: 5000)
        #expect(asking.hears("answer", withinMilliseconds: Endpoint.patience))
        #expect(try gate.inspect().droppedPackets == 0)
    }

    @Test(arguments: ends)
    func sessionsWithARightOfTheirOwnStay(
        address: String,
        client: String,
        other: String
    ) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22, at: address)
        let earlier = try hosts.session(to: service, on: 22, at: address, from: client)
        let gate = try hosts.armedGate(Self.managed, breakGlass: [CIDR(parsing: other)])
        let always = try hosts.session(to: service, on: 22, at: address, from: other)
        for _ in 0..<2 {
            for session in [earlier, always] {
                #expect(session.client.says("hello", to: session.host))
                #expect(session.host.says("hello yourself", to: session.client))
            }
            try hosts.forgetConnections()
            #expect(earlier.host.says("anybody there?", to: earlier.client))
        }
        #expect(try !hosts.connects(to: 22, at: address, from: client))
        #expect(try gate.inspect().fault == nil)
    }

    /// A SYN is a session of its own, and gets no answer.
    @Test func refusesScansWithoutAWord() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate(Self.managed)
        try hosts.client.run {
            let socket = try Endpoint()
            try socket.bind(to: "198.51.100.7", port: 0)
            #expect(try !socket.connect(to: "198.51.100.1", port: 22, withinMilliseconds: 150))
            #expect(!socket.isReset(withinMilliseconds: 0))
        }
        #expect(try gate.inspect().droppedPackets == 1)
        withExtendedLifetime(service) {}
    }
}

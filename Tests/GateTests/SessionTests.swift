import Glibc
import Netlink
import Policy
import TestSupport
import Testing

@testable import Gate

/// Sessions as the kernel knows them, and how they end at both ends.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct SessionTests {
    /// How a session comes to its service.
    struct Way: Sendable, CustomTestStringConvertible {
        let address: String
        let client: String
        /// Where the service is; nil for the gate's own host.
        var server: String?
        var port: UInt16 = 22
        var isMasqueraded = false

        var testDescription: String {
            "\(client) to \(address), served at \(server ?? "the host")"
                + (isMasqueraded ? ", masqueraded" : "")
        }

        static let local = [
            Way(address: "198.51.100.1", client: "198.51.100.7"),
            Way(address: "2001:db8::1", client: "2001:db8::7"),
        ]
        static let translated = [
            Way(address: "198.51.100.1", client: "198.51.100.7", server: "10.0.0.2", port: 2222),
            Way(address: "2001:db8::1", client: "2001:db8::7", server: "fd00::2", port: 2222),
            Way(
                address: "198.51.100.1",
                client: "198.51.100.7",
                server: "10.0.0.2",
                port: 22,
                isMasqueraded: true
            ),
        ]
        static let forwarded = [
            Way(address: "10.0.0.2", client: "198.51.100.7", server: "10.0.0.2"),
            Way(address: "fd00::2", client: "2001:db8::7", server: "fd00::2"),
            Way(
                address: "10.0.0.2",
                client: "198.51.100.7",
                server: "10.0.0.2",
                isMasqueraded: true
            ),
        ]
    }

    /// Hosts, and a service that can be reached in this way.
    private struct Scene {
        let hosts: Hosts
        let inner: NetworkNamespace?
        let listener: Endpoint
        let way: Way

        init(_ way: Way) throws {
            self.way = way
            hosts = try Hosts()
            guard let server = way.server else {
                inner = nil
                listener = try hosts.listener(on: way.port, at: way.address)
                return
            }
            let inner = try hosts.innerHost()
            self.inner = inner
            listener = try inner.run {
                let socket = try Endpoint(isIPv6: server.contains(":"))
                try socket.bind(to: server, port: 22)
                try socket.listen()
                return socket
            }
            let isIPv6 = server.contains(":")
            let (ip, target) = isIPv6 ? ("ip6", "[\(server)]:22") : ("ip", "\(server):22")
            let translation =
                way.address == server
                ? "" : "\(ip) daddr \(way.address) tcp dport \(way.port) dnat to \(target)"
            let rules = """
                table inet nat {
                    chain pre {
                        type nat hook prerouting priority dstnat;
                        \(translation)
                    }
                    chain post {
                        type nat hook postrouting priority srcnat;
                        \(way.isMasqueraded ? "masquerade" : "")
                    }
                }

                """
            try hosts.host.run { try shell("nft", "-f", "-", input: rules).get() }
        }

        func session() throws -> (client: Endpoint, server: Endpoint) {
            let made = try hosts.session(
                to: listener,
                on: way.port,
                at: way.address,
                from: way.client
            )
            return (made.client, made.host)
        }

        /// A gate that manages the port as it arrives.
        func gate(_ mode: SessionMode) throws -> Gate {
            let isForwarded = way.address == way.server
            return try hosts.armedGate(
                Hosts.ports(
                    "\(way.port)/tcp",
                    sessions: mode,
                    at: isForwarded ? ["10.0.0.0/8", "fd00::/8"] : nil
                )
            )
        }
    }

    @Test(arguments: Way.local + Way.translated + Way.forwarded, [SessionMode.keep, .cut])
    func endsASessionAtBothEndsAndNoOther(way: Way, mode: SessionMode) throws {
        let scene = try Scene(way)
        let gate = try scene.gate(mode)
        var plan = Plan()
        let grant = try Grant(
            1,
            "\(way.port)/tcp",
            at: way.address == way.server ? way.address : nil,
            from: way.client
        )
        try gate.perform([.open(grant)], in: &plan)
        let (ends, stays) = try (scene.session(), scene.session())
        #expect(ends.client.says("hello", to: ends.server))
        #expect(stays.server.says("hello yourself", to: stays.client))

        let port = try ends.client.localPort()
        let found = try scene.hosts.host.run { try gate.sessions() }
        #expect(found.count == 2)
        #expect(Set(found.map(\.identity)).count == 2)
        let again = try scene.hosts.host.run { try gate.sessions() }
        #expect(Set(again.map(\.identity)) == Set(found.map(\.identity)))
        let session = try #require(found.first { $0.session.client.port == port })
        #expect(session.session.client.address.description == way.client)
        #expect(session.session.destination.address.description == way.address)
        #expect(session.session.destination.port == way.port)
        #expect(session.session.server.address.description == way.server ?? way.address)
        #expect(session.session.isServedHere == (way.server == nil))
        #expect(!session.session.isEarlier)
        #expect(plan.grants(lettingIn: session.session) == [grant.id])

        try scene.hosts.host.run { try gate.end([session]) }
        #expect(ends.client.isReset(withinMilliseconds: Endpoint.patience))
        #expect(ends.server.isReset(withinMilliseconds: Endpoint.patience))
        #expect(stays.client.says("I stay", to: stays.server))
        #expect(stays.server.says("so do I", to: stays.client))
        let left = try scene.hosts.host.run { try gate.sessions() }
        #expect(left.map(\.session.client.port) == [try stays.client.localPort()])
        // Ended again, as where two do at once, nobody else is hit.
        try scene.hosts.host.run { try gate.end([session]) }
        #expect(stays.client.says("still here", to: stays.server))
        #expect(try gate.inspect().fault == nil)
    }

    @Test func leavesNothingBehind() async throws {
        let scene = try Scene(Way.translated[0])
        let gate = try scene.gate(.keep)
        var plan = Plan()
        try gate.perform([.open(try Grant(1, "2222/tcp", from: "198.51.100.7"))], in: &plan)
        let ends = try scene.session()
        try scene.hosts.host.run { try gate.end(try gate.sessions()) }
        #expect(ends.client.isReset(withinMilliseconds: Endpoint.patience))
        #expect(try scene.hosts.nft("list", "tables").contains("sallyport-ended-"))
        #expect(
            try await eventually {
                try !scene.hosts.nft("list", "tables").contains("sallyport-ended-")
            }
        )
        // None that a packet of the client could be taken for an answer to.
        #expect(try scene.hosts.host.run { try gate.conntrack.connections() }.isEmpty)
        #expect(try gate.inspect().fault == nil)
    }

    @Test func aQuietSessionOfWhichConntrackKnowsNothingEnds() throws {
        let scene = try Scene(Way.local[0])
        let session = try scene.session()
        let gate = try scene.gate(.cut)
        let found = try scene.hosts.host.run { try gate.sessions() }
        #expect(found.map(\.session.isEarlier) == [true])
        try scene.hosts.host.run { try gate.end(found) }
        #expect(session.client.isReset(withinMilliseconds: Endpoint.patience))
        #expect(session.server.isReset(withinMilliseconds: Endpoint.patience))
        // Nothing is left that lets its numbers in.
        let sets = try scene.hosts.nft("list", "set", "inet", "sallyport", "earlier4")
        #expect(!sets.contains("elements"))
    }

    @Test(arguments: Way.translated + Way.forwarded, [SessionMode.keep, .cut])
    func armingCutsNoSessionThatPassesThrough(way: Way, mode: SessionMode) async throws {
        let scene = try Scene(way)
        // Without a rule that asks for it, nothing is tracked.
        _ = try scene.hosts.nft("add table inet t")
        _ = try scene.hosts.nft(
            "add chain inet t c { type filter hook forward priority 0; ct state invalid drop; }"
        )
        let session = try scene.session()
        #expect(session.client.says("hello", to: session.server))
        let gate = try scene.gate(mode)
        #expect(session.client.says("still here", to: session.server))
        #expect(session.server.says("so am I", to: session.client))
        let found = try scene.hosts.host.run { try gate.sessions() }
        #expect(found.map(\.session.isEarlier) == [true])
        try scene.hosts.host.run { try gate.forgetEndedSessions() }
        try scene.hosts.forgetConnections()
        try scene.hosts.host.run { try gate.forgetEndedSessions() }
        #expect(session.client.says("after the flush", to: session.server))
        #expect(session.server.says("I hear you", to: session.client))
        // Nobody else comes in.
        #expect(try !scene.hosts.connects(to: way.port, at: way.address, from: way.client))
        session.client.shut()
        session.server.shut()
        #expect(
            try await eventually {
                try scene.hosts.host.run { try gate.forgetEndedSessions() }
                let family = way.client.contains(":") ? "earlier6" : "earlier4"
                let set = try scene.hosts.nft("list", "set", "inet", "sallyport", family)
                return !set.contains("elements")
            }
        )
    }

    @Test func aPortWhoseSessionsAreCutFromNowOnKeepsThoseThatOutlivedTheirGrant() throws {
        let scene = try Scene(Way.local[0])
        let gate = try scene.gate(.keep)
        var plan = Plan()
        let over = try Grant(1, "22/tcp", from: "198.51.100.7")
        try gate.perform([.open(over)], in: &plan)
        let outlived = try scene.session()
        try gate.perform(
            [.close(over.id), .open(try Grant(2, "22/tcp", from: "198.51.100.8"))],
            in: &plan
        )
        let granted = try scene.hosts.session(to: scene.listener, on: 22, from: "198.51.100.8")
        try scene.hosts.host.run {
            try gate.arm(
                managed: Hosts.ports("22/tcp", sessions: .cut),
                breakGlass: [],
                holding: .whatIsThere,
                now: bootTime
            )
        }
        let found = try scene.hosts.host.run { try gate.sessions() }
        let earlier = found.filter(\.session.isEarlier).map(\.session.client.address.description)
        #expect(earlier == ["198.51.100.7"])
        #expect(outlived.client.says("still here", to: outlived.server))
        try gate.perform([.close(.init(request: 2, ordinal: 1))], in: &plan)
        #expect(!granted.client.says("too late", to: granted.host, withinMilliseconds: 100))
        #expect(outlived.client.says("here", to: outlived.server))
    }

    @Test(arguments: SessionMode.allCases)
    func widerHostsCutNoSession(mode: SessionMode) throws {
        let scene = try Scene(Way.forwarded[0])
        func ports(at hosts: String) -> [ManagedPort] {
            Hosts.ports("22/tcp", sessions: mode, at: [hosts])
        }
        let gate = try scene.hosts.armedGate(ports(at: "10.0.0.0/31"))
        let session = try scene.session()
        try scene.hosts.host.run {
            try gate.arm(
                managed: ports(at: "10.0.0.0/8"),
                breakGlass: [],
                holding: .whatIsThere,
                now: bootTime
            )
            #expect(try gate.sessions().map(\.session.isEarlier) == [true])
        }
        #expect(session.client.says("still here", to: session.server))
    }

    @Test func hostsOfTheSamePortMakeNoSessionEarlier() throws {
        let scene = try Scene(Way.local[0])
        let gate = try scene.gate(.keep)
        var plan = Plan()
        let over = try Grant(1, "22/tcp", from: "198.51.100.7")
        try gate.perform([.open(over)], in: &plan)
        let outlived = try scene.session()
        try gate.perform([.close(over.id)], in: &plan)
        try scene.hosts.host.run {
            try gate.arm(
                managed: Hosts.ports("22/tcp") + Hosts.ports("22/tcp", at: ["10.0.0.0/8"]),
                breakGlass: [],
                holding: .whatIsThere,
                now: bootTime
            )
            #expect(try gate.sessions().map(\.session.isEarlier) == [false])
        }
        #expect(outlived.client.says("still here", to: outlived.server))
    }

    /// A reload that comes before the agent hears of it.
    @Test func takesInOtherPoliciesThoughTheTableIsGone() throws {
        let scene = try Scene(Way.local[0])
        let gate = try scene.hosts.armedGate(Hosts.ports("22/tcp"), owning: false)
        var plan = Plan()
        try gate.perform([.open(try Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        let session = try scene.session()
        _ = try scene.hosts.nft("flush", "ruleset")
        try scene.hosts.host.run {
            try gate.arm(
                managed: Hosts.ports("22/tcp", "80/tcp"),
                breakGlass: [],
                holding: .whatIsThere,
                now: bootTime
            )
        }
        #expect(session.client.says("still here", to: session.server))
    }

    /// As a load balancer hands them on: by a route to this host alone.
    @Test(arguments: SessionMode.allCases)
    func armingCutsNoSessionToAnAddressThatNoDeviceHas(mode: SessionMode) throws {
        let hosts = try Hosts()
        try hosts.host.run {
            try shell("ip", "route", "add", "local", "192.0.2.9", "dev", "lo").get()
        }
        try hosts.client.run {
            try shell("ip", "route", "add", "192.0.2.9", "via", "198.51.100.1").get()
        }
        let service = try hosts.listener(on: 22, at: "0.0.0.0")
        let session = try hosts.session(to: service, on: 22, at: "192.0.2.9")
        let gate = try hosts.armedGate(Hosts.ports("22/tcp", sessions: mode))
        #expect(session.client.says("still here", to: session.host))
        #expect(try hosts.host.run { try gate.sessions().map(\.session.isEarlier) } == [true])
        #expect(try !hosts.connects(to: 22, at: "192.0.2.9"))
    }

    /// Where nobody told the gate before which ports are of hosts.
    @Test func aSessionOfOneOfManyGrantsEndsWithItThoughItIsOlderThanTheTable() throws {
        let scene = try Scene(Way.forwarded[2])
        let session = try scene.session()
        let grant = try Grant(1, "22/tcp", at: "10.0.0.2", from: "198.51.100.7")
        var plan = Plan()
        _ = plan.apply(
            try [.open(grant)]
                + (2...1_100).map { number in
                    .open(
                        try Grant(
                            number,
                            "22/tcp",
                            at: "10.0.0.2",
                            from: "203.0.\(number / 250).\(number % 250)"
                        )
                    )
                }
        )
        try scene.hosts.host.run {
            let gate = try Gate()
            try gate.arm(
                managed: Hosts.ports("22/tcp", sessions: .cut, at: ["10.0.0.0/24"]),
                breakGlass: [],
                holding: .exactly(plan),
                now: bootTime
            )
            #expect(session.client.says("still here", to: session.server))
            try gate.perform([.close(grant.id)], in: &plan)
            try #require(
                !session.client.says("late", to: session.server, withinMilliseconds: 100)
            )
        }
    }

    /// The agent that found no table dies before it can put in what is open.
    @Test func anAgentThatDiesAtItsStartMakesNoSessionEarlierThatAGrantLetsIn() throws {
        let scene = try Scene(Way.local[0])
        let earlier = try scene.hosts.session(to: scene.listener, on: 22, from: "198.51.100.8")
        let session = try scene.session()
        let managed = Hosts.ports("22/tcp", sessions: .cut)
        let grant = try Grant(1, "22/tcp", from: "198.51.100.7")
        var plan = Plan()
        _ = plan.apply([.open(grant)])
        try scene.hosts.host.run {
            for holdings in [[Holding.whatIsThere], [.whatIsThere, .exactly(plan)]] {
                let gate = try Gate(owning: false)
                for holding in holdings {
                    try gate.arm(managed: managed, breakGlass: [], holding: holding, now: bootTime)
                }
                if holdings.count > 1 { try gate.perform([.close(grant.id)], in: &plan) }
            }
        }
        #expect(!session.client.says("late", to: session.server, withinMilliseconds: 100))
        #expect(earlier.client.says("still here", to: earlier.host))
    }

    /// What is known to be earlier stays so, though a grant lets it in, too.
    @Test func anEarlierSessionOutlivesAGrantThoughTheTableWasGoneMeanwhile() throws {
        let scene = try Scene(Way.local[0])
        let session = try scene.session()
        let managed = Hosts.ports("22/tcp", sessions: .cut)
        let gate = try scene.hosts.armedGate(managed, owning: false)
        let grant = try Grant(1, "22/tcp", from: "198.51.100.7")
        var plan = Plan()
        try gate.perform([.open(grant)], in: &plan)
        _ = try scene.hosts.nft("delete table inet sallyport")
        try scene.hosts.host.run {
            for holding in [Holding.whatIsThere, .exactly(plan)] {
                try gate.arm(managed: managed, breakGlass: [], holding: holding, now: bootTime)
            }
        }
        try gate.perform([.close(grant.id)], in: &plan)
        #expect(session.client.says("still here", to: session.server))
    }

    /// Reloads find the table gone, and what the plan says cannot be put in meanwhile.
    @Test func severalReloadsMakeNoSessionEarlierThatOutlivedItsGrant() throws {
        let scene = try Scene(Way.local[0])
        let earlier = try scene.session()
        let managed = Hosts.ports("22/tcp", sessions: .cut)
        let gate = try scene.hosts.armedGate(managed, owning: false)
        _ = try scene.hosts.nft("flush", "ruleset")
        let between = try scene.session()
        try scene.hosts.host.run {
            for holding in [Holding.whatIsThere, .whatIsThere, .exactly(Plan())] {
                try gate.arm(managed: managed, breakGlass: [], holding: holding, now: bootTime)
            }
        }
        #expect(!between.client.says("late", to: between.server, withinMilliseconds: 100))
        #expect(earlier.client.says("still here", to: earlier.server))
    }

    @Test(arguments: ["198.51.100.1", "2001:db8::1"])
    func endsDatagramsOfOneClient(address: String) throws {
        let hosts = try Hosts()
        let prefix = address.dropLast()
        let gate = try hosts.armedGate(Hosts.ports("5000/udp", sessions: .cut))
        var plan = Plan()
        for (number, source) in [(Int64(1), "\(prefix)7"), (2, "\(prefix)8")] {
            try gate.perform([.open(try Grant(number, "5000/udp", from: source))], in: &plan)
        }
        let service = try hosts.host.run { try Endpoint.datagrams(address, 5000) }
        let clients = try ["\(prefix)7", "\(prefix)8"].map { source in
            try hosts.client.run {
                let socket = try Endpoint.datagrams(source, 6000)
                _ = try socket.connect(to: address, port: 5000, withinMilliseconds: 100)
                return socket
            }
        }
        for client in clients { #expect(client.says("hello", to: service)) }
        let found = try hosts.host.run { try gate.sessions() }
        #expect(found.count == 2)
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        let over = found.filter { plan.grants(lettingIn: $0.session).isEmpty }
        #expect(over.map(\.session.client.address.description) == ["\(prefix)7"])
        try hosts.host.run { try gate.end(over) }
        // Told without having said a word.
        #expect(clients[0].isReset(withinMilliseconds: 1500))
        try clients[0].send("too late")
        #expect(clients[0].isReset(withinMilliseconds: Endpoint.patience))
        #expect(!service.hears("too late", withinMilliseconds: 50))
        #expect(clients[1].says("I stay", to: service))
    }

    /// A service whose port is below 1024 takes another way: the agent may not bind to that.
    @Test(
        arguments: [
            (server: "10.0.0.2", client: "198.51.100.7"),
            (server: "fd00::2", client: "2001:db8::7"),
        ],
        [53, 5000] as [UInt16]
    )
    func tellsBothEndsOfDatagramsThatPassThrough(
        _ ends: (server: String, client: String),
        port: UInt16
    ) throws {
        let hosts = try Hosts()
        let service = try hosts.innerHost().run {
            let socket = try Endpoint.datagrams(ends.server, port)
            _ = try socket.connect(to: ends.client, port: 6000, withinMilliseconds: 0)
            return socket
        }
        let client = try hosts.client.run {
            let socket = try Endpoint.datagrams(ends.client, 6000)
            _ = try socket.connect(to: ends.server, port: port, withinMilliseconds: 0)
            return socket
        }
        let gate = try hosts.armedGate(
            Hosts.ports("\(port)/udp", sessions: .cut, at: ["10.0.0.0/24", "fd00::/64"])
        )
        var plan = Plan()
        try gate.perform(
            [.open(Grant(1, "\(port)/udp", at: ends.server, from: ends.client))],
            in: &plan
        )
        #expect(client.says("hello", to: service))
        #expect(service.says("hello yourself", to: client))
        let found = try hosts.host.run { try gate.sessions() }
        #expect(found.count == 1)
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        try hosts.host.run { try gate.end(found) }
        #expect(client.isReset(withinMilliseconds: 1500))
        #expect(service.isReset(withinMilliseconds: 1500))
    }

    /// Nobody knows the link of a link-local client.
    @Test func endsDatagramsOnALinkThoughItCannotTell() throws {
        let hosts = try Hosts()
        for (place, address) in [(hosts.host, "fe80::1"), (hosts.client, "fe80::7")] {
            try place.run {
                try shell("ip", "address", "add", "\(address)/64", "dev", "eth0", "nodad").get()
            }
        }
        let gate = try hosts.armedGate(Hosts.ports("5000/udp", sessions: .cut))
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5000/udp", from: "fe80::7"))], in: &plan)
        let service = try hosts.host.run { try Endpoint.datagrams("fe80::1%eth0", 5000) }
        let client = try hosts.client.run { try Endpoint.datagrams("fe80::7%eth0", 6000) }
        try hosts.client.run { try client.send("hello", to: "fe80::1%eth0", port: 5000) }
        #expect(service.hears("hello", withinMilliseconds: Endpoint.patience))
        let found = try hosts.host.run { try gate.sessions() }
        #expect(found.count == 1)
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        try hosts.host.run { try gate.end(found) }
    }

    @Test func saysNothingInTheNameOfOthersWhereItWouldNotBeRefused() throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate(Hosts.ports("5000/udp", sessions: .cut))
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5000/udp", from: "198.51.100.7"))], in: &plan)
        let service = try hosts.host.run { try Endpoint.datagrams("198.51.100.1", 5000) }
        let client = try hosts.client.run { try Endpoint.datagrams("198.51.100.7", 6000) }
        try client.send("hello", to: "198.51.100.1", port: 5000)
        #expect(service.hears("hello", withinMilliseconds: Endpoint.patience))
        let found = try hosts.host.run { try gate.sessions() }
        _ = try hosts.nft("add table inet sallyport-ended-1")
        #expect(throws: GateError.self) { try hosts.host.run { try gate.end(found) } }
        // An empty datagram.
        #expect(!service.hears("", withinMilliseconds: 100))
    }

    @Test func tellsItsOwnConnectionsFromSessions() throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate(Hosts.ports("22/tcp", sessions: .cut))
        let service = try hosts.listener(on: 22, at: "0.0.0.0")
        let abroad = try hosts.client.run {
            let socket = try Endpoint()
            try socket.bind(to: "198.51.100.7", port: 22)
            try socket.listen()
            return socket
        }
        let own = try hosts.host.run {
            let there = try Endpoint()
            try #require(
                try there.connect(
                    to: "198.51.100.7",
                    port: 22,
                    withinMilliseconds: Endpoint.patience
                )
            )
            let here = try Endpoint()
            try #require(
                try here.connect(
                    to: "198.51.100.1",
                    port: 22,
                    withinMilliseconds: Endpoint.patience
                )
            )
            return [there, here]
        }
        #expect(try hosts.host.run { try gate.sessions() }.isEmpty)
        withExtendedLifetime((own, service, abroad)) {}
    }

    /// What an agent left that died in the act, on a kernel without owned tables.
    @Test func takesAwayWhatWasLeft() throws {
        let hosts = try Hosts()
        _ = try hosts.nft("add table inet sallyport-ended-7")
        _ = try hosts.armedGate()
        #expect(try !hosts.nft("list", "tables").contains("sallyport-ended-7"))
    }
}

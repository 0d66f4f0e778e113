import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// What real packets between two namespaces meet.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct PacketTests {
    @Test(arguments: [
        (address: "198.51.100.1", granted: "198.51.100.7", other: "198.51.100.8"),
        (address: "2001:db8::1", granted: "2001:db8::7", other: "2001:db8::8"),
    ])
    func opensAManagedPortToExactlyTheGrantedSource(
        address: String,
        granted: String,
        other: String
    ) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22, at: address)
        let unmanaged = try hosts.listener(on: 8080, at: address)
        let gate = try hosts.armedGate()
        var plan = Plan()
        #expect(try !hosts.connects(to: 22, at: address, from: granted))
        #expect(try hosts.connects(to: 8080, at: address, from: granted))

        try gate.perform([.open(Grant(1, "22/tcp", from: granted))], in: &plan)
        #expect(try hosts.connects(to: 22, at: address, from: granted))
        #expect(try !hosts.connects(to: 22, at: address, from: other))

        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        #expect(try !hosts.connects(to: 22, at: address, from: granted))
        withExtendedLifetime((service, unmanaged)) {}
    }

    @Test func closesByItselfWhenTheTimeIsOver() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate()
        var plan = Plan()
        let grant = try Grant(1, "22/tcp", from: "198.51.100.7", endsIn: 400)
        try gate.perform([.open(grant)], in: &plan)
        #expect(try hosts.connects(to: 22))
        // The kernel's clock ticks every 4 ms, and late where the machine itself is made to wait.
        sleep(until: grant.end.deadline + .milliseconds(20))
        #expect(try !hosts.connects(to: 22))
        withExtendedLifetime(service) {}
    }

    @Test(arguments: ["198.51.100.0/24", "0.0.0.0/0", "198.51.100.6/31"])
    func opensToARange(source: String) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate()
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: source))], in: &plan)
        #expect(try hosts.connects(to: 22, from: "198.51.100.7"))
        #expect(try hosts.connects(to: 22, from: "198.51.100.8") == !source.hasSuffix("/31"))
        withExtendedLifetime(service) {}
    }

    @Test func opensEveryPortOfARangeAndNoOther() throws {
        let hosts = try Hosts()
        let services = try [5000, 5004, 5005, 5010].map { try hosts.listener(on: $0) }
        let gate = try hosts.armedGate()
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5000-5004/any", from: "198.51.100.7"))], in: &plan)
        #expect(try hosts.connects(to: 5000))
        #expect(try hosts.connects(to: 5004))
        #expect(try !hosts.connects(to: 5005))
        #expect(try !hosts.connects(to: 5010))
        withExtendedLifetime(services) {}
    }

    /// From one by one to ranges and back: the kernel holds them in sets of different kinds.
    @Test func closesAnyNumberOfPorts() throws {
        let hosts = try Hosts()
        let services = try [22, 4000, 60_000].map { try hosts.listener(on: $0) }
        let gate = try hosts.armedGate()
        for (managed, isWide) in [
            (Hosts.ports("1-60000/any"), true), (Hosts.managed, false),
            (Hosts.ports("22/tcp", "30000-65535/any"), true),
        ] {
            let holding = Holding.exactly(Plan())
            try hosts.host.run {
                try gate.arm(managed: managed, breakGlass: [], holding: holding, now: bootTime)
            }
            #expect(try gate.inspect().fault == nil)
            #expect(try !hosts.connects(to: 22))
            #expect(try hosts.connects(to: 60_000) == !isWide)
        }
        #expect(try hosts.connects(to: 4000))
        withExtendedLifetime(services) {}
    }

    @Test func judgesDatagramsToo() throws {
        let hosts = try Hosts()
        let service = try hosts.host.run {
            let socket = try Endpoint(isUDP: true)
            try socket.bind(to: "198.51.100.1", port: 5000)
            return socket
        }
        let gate = try hosts.armedGate()
        var plan = Plan()
        let client = try hosts.client.run {
            let socket = try Endpoint(isUDP: true)
            _ = try socket.connect(to: "198.51.100.1", port: 5000, withinMilliseconds: 0)
            return socket
        }
        #expect(!client.says("closed", to: service, withinMilliseconds: 100))
        try gate.perform([.open(Grant(1, "5000/udp", from: "198.51.100.7"))], in: &plan)
        #expect(client.says("open", to: service))
        // Too large for one frame: the fragments are judged as the datagram they are.
        let long = String(repeating: "x", count: 4000)
        #expect(client.says(long, to: service))
    }

    @Test func keepsASessionWhoseGrantHasEnded() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate()
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        let session = try hosts.session(to: service, on: 22)
        #expect(session.client.says("hello", to: session.host))
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        #expect(session.client.says("still here", to: session.host))
        #expect(session.host.says("so am I", to: session.client))
        #expect(try !hosts.connects(to: 22))
    }

    /// Only what was answered is a flow that can be kept.
    @Test(arguments: [false, true])
    func keepsDatagramsThatWereAnswered(isAnswered: Bool) throws {
        let hosts = try Hosts()
        let service = try hosts.host.run { try Endpoint.datagrams("198.51.100.1", 5000) }
        let client = try hosts.client.run { try Endpoint.datagrams("198.51.100.7", 7000) }
        var managed = Hosts.managed
        for index in managed.indices { managed[index].udpSessions = .keep }
        let gate = try hosts.armedGate(managed)
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5000/udp", from: "198.51.100.7"))], in: &plan)
        try client.send("hello", to: "198.51.100.1", port: 5000)
        #expect(service.hears("hello", withinMilliseconds: Endpoint.patience))
        if isAnswered {
            try service.send("hello yourself", to: "198.51.100.7", port: 7000)
            #expect(client.hears("hello yourself", withinMilliseconds: Endpoint.patience))
        }
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        try client.send("still here", to: "198.51.100.1", port: 5000)
        let limit: Int32 = isAnswered ? 1500 : 100
        #expect(service.hears("still here", withinMilliseconds: limit) == isAnswered)
    }

    /// A handshake that is let in may be completed as long as the host answers it, about a minute.
    @Test func aHandshakeThatBeganInTimeMayEndLater() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate()
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        let nft = { (words: String...) in
            _ = try hosts.client.run { try shell(["nft"] + words).get() }
        }
        try nft("add table inet late")
        try nft("add chain inet late pre { type filter hook prerouting priority 0; policy drop; }")
        try hosts.client.run {
            let socket = try Endpoint()
            try socket.bind(to: "198.51.100.7", port: 0)
            _ = try socket.connect(to: "198.51.100.1", port: 22, withinMilliseconds: 50)
            try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
            try nft("delete table inet late")
            // The host sends its part of the handshake again after a second.
            #expect(socket.isConnected(withinMilliseconds: 10_000))
        }
        #expect(try !hosts.connects(to: 22))
        withExtendedLifetime(service) {}
    }

    /// conntrack counts a SYN to the connection it still holds of the same four numbers.
    @Test(arguments: [false, true])
    func doesNotLetAnEndedSessionBeOpenedAnew(hostSpokeFirst: Bool) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let earlier = hostSpokeFirst ? try hosts.session(to: service, on: 22, port: 40_000) : nil
        let gate = try hosts.armedGate()
        var plan = Plan()
        if !hostSpokeFirst {
            try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        }
        let session = try earlier ?? hosts.session(to: service, on: 22, port: 40_000)
        #expect(session.host.says("hello", to: session.client))
        #expect(session.client.says("hello yourself", to: session.host))
        // Both ends forget the session, and conntrack does not hear of it.
        session.client.vanish()
        session.host.vanish()
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        #expect(try !hosts.connects(to: 22, fromPort: 40_000))
        withExtendedLifetime(service) {}
    }

    @Test(arguments: [
        (address: "198.51.100.1", source: "198.51.100.7"),
        (address: "2001:db8::1", source: "2001:db8::7"),
    ])
    func armingCutsNoSessionWhereNothingUsedConntrack(address: String, source: String) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22, at: address)
        let fromClient = try hosts.session(to: service, on: 22, at: address, from: source)
        let fromHost = try hosts.session(to: service, on: 22, at: address, from: source)
        let gate = try hosts.armedGate()
        // Whoever speaks first after the arming: the packet is new to conntrack.
        #expect(fromClient.client.says("hello", to: fromClient.host))
        #expect(fromHost.host.says("hello", to: fromHost.client))
        #expect(fromHost.client.says("hello yourself", to: fromHost.host))
        #expect(try !hosts.connects(to: 22, at: address, from: source))
        withExtendedLifetime(gate) {}
    }

    /// A session that has not said a word since the gate was armed: conntrack does not know it.
    @Test(arguments: [false, true])
    func makingAPortManagedCutsNoSession(inANewAgent: Bool) throws {
        let hosts = try Hosts()
        let services = try [22, 8080].map { try hosts.listener(on: $0) }
        let session = try hosts.session(to: services[1], on: 8080)
        var gate: Gate? = try hosts.armedGate()
        if inANewAgent { gate = nil }
        try hosts.host.run {
            let ports = Hosts.managed + Hosts.ports("8080/tcp")
            try (gate ?? Gate()).armWhenLetGo(ports, holding: .whatIsThere)
        }
        #expect(session.client.says("hello", to: session.host))
        #expect(try !hosts.connects(to: 8080))
    }

    /// More than 1,000 grants are put in when all is closed already.
    @Test(arguments: [0, 1_001])
    func armingCutsNoSessionThatIsMadeMeanwhile(grants: Int) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        var plan = Plan()
        _ = plan.apply(
            try (0..<grants).map { number in
                let source = "203.0.\(number / 250).\(number % 250)"
                return .open(try Grant(Int64(number + 1), "22/tcp", from: source))
            }
        )
        var session: (client: Endpoint, host: Endpoint)?
        try hosts.host.run {
            let holding = Holding.exactly(plan)
            try Gate().arm(managed: Hosts.managed, breakGlass: [], holding: holding) {
                // By now the sessions are listed.
                if session == nil { session = try? hosts.session(to: service, on: 22) }
                return bootTime()
            }
        }
        let made = try #require(session)
        #expect(made.client.says("hello", to: made.host))
        #expect(try !hosts.connects(to: 22))
    }

    @Test func whatRanWhileTheTableWasGoneGetsNoRightByThat() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let earlier = try hosts.session(to: service, on: 22)
        try hosts.host.run {
            let gate = try Gate(owning: false)
            let arm = {
                try gate.arm(
                    managed: Hosts.managed,
                    breakGlass: [],
                    holding: .exactly(Plan()),
                    now: bootTime
                )
            }
            _ = try arm()
            #expect(earlier.client.says("hello", to: earlier.host))
            _ = try hosts.nft("flush ruleset")
            let between = try hosts.session(to: service, on: 22)
            gate.distrust()
            _ = try arm()
            #expect(earlier.client.says("still here", to: earlier.host))
            #expect(!between.client.says("hello", to: between.host, withinMilliseconds: 100))
            #expect(try gate.inspect().fault == nil)
            // Nobody did anything amiss where the gate was taken away on purpose.
            try gate.disarm()
            let meanwhile = try hosts.session(to: service, on: 22)
            _ = try arm()
            #expect(meanwhile.client.says("hello", to: meanwhile.host))
        }
    }

    @Test(arguments: [
        (address: "198.51.100.1", source: "198.51.100.7"),
        (address: "2001:db8::1", source: "2001:db8::7"),
    ])
    func forgetsAnEarlierSessionThatHasEnded(address: String, source: String) async throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22, at: address)
        let stays = try hosts.session(to: service, on: 22, at: address, from: source, port: 40_001)
        let goes = try hosts.session(to: service, on: 22, at: address, from: source, port: 40_002)
        let gate = try hosts.armedGate()
        let remembered = {
            try hosts.host.run { try gate.forgetEndedSessions() }
            let sets = try hosts.nft("list", "sets", "table", "inet", "sallyport")
            return [40_001, 40_002].filter { sets.contains("\(source) . \($0)") }
        }
        #expect(try remembered() == [40_001, 40_002])
        goes.client.shut()
        goes.host.shut()
        #expect(try await eventually { try remembered() == [40_001] })
        stays.client.shut()
        stays.host.shut()
        #expect(try await eventually { try remembered() == [] })
    }

    @Test func doesNotLetAnEarlierSessionBeOpenedAnew() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        try hosts.client.run {
            let first = try Endpoint()
            try first.bind(to: "198.51.100.7", port: 40_000)
            try #require(
                try first.connect(
                    to: "198.51.100.1",
                    port: 22,
                    withinMilliseconds: Endpoint.patience
                )
            )
            let gate = try hosts.armedGate()
            // Reset instead of TIME_WAIT, so that the same numbers can be used at once.
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(
                first.descriptor,
                SOL_SOCKET,
                SO_LINGER,
                &now,
                socklen_t(MemoryLayout<linger>.size)
            )
            first.shut()
            let second = try Endpoint()
            try second.bind(to: "198.51.100.7", port: 40_000)
            #expect(
                try !second.connect(to: "198.51.100.1", port: 22, withinMilliseconds: 150)
            )
            withExtendedLifetime((gate, service)) {}
        }
    }

    @Test func letsAnswersToTheHostsOwnConnectionsIn() throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate()
        let service = try hosts.client.run {
            let socket = try Endpoint()
            try socket.bind(to: "198.51.100.7", port: 7000)
            try socket.listen()
            return socket
        }
        let isConnected = try hosts.host.run {
            let socket = try Endpoint()
            try socket.bind(to: "198.51.100.1", port: 22)
            return try socket.connect(
                to: "198.51.100.7",
                port: 7000,
                withinMilliseconds: Endpoint.patience
            )
        }
        #expect(isConnected)
        withExtendedLifetime((gate, service)) {}
    }

    @Test func judgesPacketsThatConntrackDoesNotTrack() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        _ = try hosts.nft("add table inet raw")
        _ = try hosts.nft(
            "add chain inet raw pre { type filter hook prerouting priority raw; }"
        )
        _ = try hosts.nft("add rule inet raw pre notrack")
        let gate = try hosts.armedGate()
        var plan = Plan()
        #expect(try !hosts.connects(to: 22))
        try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        #expect(try hosts.connects(to: 22))
        withExtendedLifetime(service) {}
    }

    @Test func judgesAPublishedPortBeforeItIsTranslated() throws {
        let hosts = try Hosts()
        let container = try NetworkNamespace()
        try hosts.host.connect(
            "docker0",
            ["172.17.0.1/24"],
            to: container,
            "eth0",
            ["172.17.0.2/24"]
        )
        let service = try container.run {
            try shell("ip", "route", "add", "default", "via", "172.17.0.1").get()
            let socket = try Endpoint()
            try socket.bind(to: "172.17.0.2", port: 80)
            try socket.listen()
            return socket
        }
        try hosts.host.run { try shell("sysctl", "-wq", "net.ipv4.ip_forward=1").get() }
        _ = try hosts.nft("add table ip nat")
        _ = try hosts.nft("add chain ip nat pre { type nat hook prerouting priority dstnat; }")
        _ = try hosts.nft("add rule ip nat pre iif eth0 tcp dport 22 dnat to 172.17.0.2:80")
        #expect(try hosts.connects(to: 22))
        let gate = try hosts.armedGate()
        #expect(try !hosts.connects(to: 22))
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        #expect(try hosts.connects(to: 22))
        withExtendedLifetime(service) {}
    }

    @Test func leavesLoopbackAlone() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate()
        let isConnected = try hosts.host.run {
            try Endpoint().connect(
                to: "198.51.100.1",
                port: 22,
                withinMilliseconds: Endpoint.patience
            )
        }
        #expect(isConnected)
        withExtendedLifetime((gate, service)) {}
    }

    @Test func alwaysLetsBreakGlassSourcesInAndCountsThem() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let sources = try ["198.51.100.8/32", "198.51.100.8/31"].map(CIDR.init(parsing:))
        let gate = try hosts.armedGate(breakGlass: sources)
        #expect(try hosts.connects(to: 22, from: "198.51.100.8"))
        #expect(try !hosts.connects(to: 22, from: "198.51.100.7"))
        let report = try gate.inspect()
        #expect(report.fault == nil)
        #expect(report.breakGlass.map(\.packets) == [1, 1])
        #expect(report.droppedPackets == 1)
        withExtendedLifetime(service) {}
    }
}

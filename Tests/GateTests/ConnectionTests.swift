import Gate
import Glibc
import Netlink
import Policy
import TestSupport
import Testing

/// What is heard of connections to managed ports.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct ConnectionTests {
    private func heard(_ monitor: ConnectionMonitor, until isEnough: ([ConnectionNews]) -> Bool)
        -> [ConnectionNews]
    {
        var news: [ConnectionNews] = []
        for _ in 0..<300 where !isEnough(news) {
            var waiting = pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0)
            poll(&waiting, 1, 20)
            news += monitor.drain()
        }
        return news
    }

    private func began(_ news: [ConnectionNews]) -> [SeenConnection] {
        news.compactMap { if case .began(let seen, _) = $0 { seen } else { nil } }
    }

    @Test func tellsWhenConnectionsToManagedPortsBeginAndEnd() throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate()
        try hosts.host.run { try shell("sysctl", "-wq", "net.netfilter.nf_conntrack_acct=1").get() }
        let monitor = try hosts.host.run { try ConnectionMonitor(of: gate) }
        var plan = Plan()
        try gate.perform(
            [
                .open(Grant(1, "22/tcp", from: "198.51.100.7")),
                .open(Grant(2, "5000/any", from: "2001:db8::7")),
            ],
            in: &plan
        )
        let (listener, other) = try (hosts.listener(on: 22), hosts.listener(on: 80))
        let six = try hosts.listener(on: 5000, at: "2001:db8::1")
        // Unmanaged, and refused: neither is told of.
        _ = try hosts.session(to: other, on: 80)
        #expect(try !hosts.connects(to: 22, from: "198.51.100.8"))
        let session = try hosts.session(to: listener, on: 22, port: 40_001)
        #expect(session.client.says("hello", to: session.host))
        _ = try hosts.session(
            to: six,
            on: 5000,
            at: "2001:db8::1",
            from: "2001:db8::7",
            port: 40_002
        )
        session.client.shut()
        session.host.shut()
        let news = heard(monitor) { news in
            let closed = news.contains {
                if case .closed(let seen) = $0 { seen.port == 22 } else { false }
            }
            return closed && began(news).count == 2
        }
        let seen = began(news)
        #expect(
            seen.map { "\($0.source) \($0.sourcePort) \($0.destination) \($0.port)" } == [
                "198.51.100.7 40001 198.51.100.1 22", "2001:db8::7 40002 2001:db8::1 5000",
            ]
        )
        #expect(news.contains(.closed(try #require(seen.first))))
        #expect(plan.grant(lettingIn: seen[0], isFar: false)?.id.request == 1)
        #expect(plan.grant(lettingIn: seen[1], isFar: false)?.id.request == 2)

        // What becomes managed is heard of from then on; what the kernel forgets is told with what it
        // has counted.
        try gate.apply(
            plan.apply([.open(Grant(3, "80/tcp", from: "198.51.100.7"))]).changes,
            now: bootTime()
        )
        try hosts.host.run {
            try gate.arm(
                managed: Hosts.ports("22/tcp", "80/tcp"),
                breakGlass: [],
                holding: .whatIsThere,
                now: bootTime
            )
        }
        let late = try hosts.session(to: other, on: 80, port: 40_003)
        #expect(late.client.says("hello", to: late.host))
        let tracked = try hosts.host.run { try Conntrack() }
        for entry in try tracked.connections() where entry.original.sourcePort == 40_003 {
            try tracked.forget(entry)
        }
        let rest = heard(monitor) { news in
            news.contains {
                if case .forgotten(let seen, _, _) = $0 { seen.sourcePort == 40_003 } else { false }
            }
        }
        let forgotten = rest.compactMap { news -> (Traffic, Traffic)? in
            guard case .forgotten(let seen, let received?, let sent?) = news, seen.port == 80,
                seen.sourcePort == 40_003
            else { return nil }
            return (received, sent)
        }
        #expect(try #require(forgotten.first).0.packets >= 3)
        #expect(try #require(forgotten.first).1.packets >= 2)
    }

    /// As a load balancer hands them on: by a route to this host alone.
    @Test func tellsOfAddressesThatNoDeviceHas() throws {
        let hosts = try Hosts()
        try hosts.host.run {
            try shell("ip", "route", "add", "local", "192.0.2.9", "dev", "lo").get()
        }
        try hosts.client.run {
            try shell("ip", "route", "add", "192.0.2.9", "via", "198.51.100.1").get()
        }
        let gate = try hosts.armedGate(Hosts.ports("22/tcp"))
        let monitor = try hosts.host.run { try ConnectionMonitor(of: gate) }
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
        let service = try hosts.listener(on: 22, at: "0.0.0.0")
        let session = try hosts.session(to: service, on: 22, at: "192.0.2.9")
        let told = began(heard(monitor) { !began($0).isEmpty })
        #expect(told.map(\.destination.description) == ["192.0.2.9"])
        withExtendedLifetime(session) {}
    }

    /// What passes through to a host that no policy names was let in by nobody's grant.
    @Test func tellsOfNoHostBehindThisOneThatIsNotManaged() throws {
        let hosts = try Hosts()
        let inner = try hosts.innerHost()
        let gate = try hosts.armedGate(
            Hosts.ports("22/tcp") + Hosts.ports("22/tcp", at: ["10.0.0.3/32"])
        )
        let monitor = try hosts.host.run { try ConnectionMonitor(of: gate) }
        var plan = Plan()
        try gate.perform(
            [
                .open(Grant(1, "22/tcp", from: "198.51.100.7")),
                .open(Grant(2, "22/tcp", at: "10.0.0.3", from: "198.51.100.7")),
            ],
            in: &plan
        )
        let listeners = try ["10.0.0.2", "10.0.0.3"].map {
            try hosts.listener(on: 22, at: $0, in: inner)
        }
        _ = try hosts.session(to: listeners[0], on: 22, at: "10.0.0.2")
        _ = try hosts.session(to: listeners[1], on: 22, at: "10.0.0.3")
        let told = heard(monitor) { !began($0).isEmpty }.compactMap { news -> Int64? in
            guard case .began(let seen, let isFar) = news else { return nil }
            return plan.grant(lettingIn: seen, isFar: isFar)?.id.request ?? 0
        }
        #expect(told == [2])
    }
}

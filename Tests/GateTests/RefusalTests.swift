import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// What the gate refuses, and tells of.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct RefusalTests {
    /// What is heard until there is as much as wanted, or nothing more comes.
    private func heard(_ monitor: RefusalMonitor, _ wanted: Int) -> [RefusedAttempt] {
        var attempts: [RefusedAttempt] = []
        while attempts.count < wanted {
            var waiting = pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 3000) == 1 else { break }
            attempts += monitor.drain()
        }
        return attempts
    }

    @Test func tellsWhoWasRefusedAndNobodyElse() throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate()
        #expect(gate.tellsRefusals)
        let monitor = try hosts.host.run { try RefusalMonitor() }
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.8"))], in: &plan)
        let listener = try hosts.listener(on: 22)
        _ = try hosts.session(to: listener, on: 22, from: "198.51.100.8")
        #expect(try !hosts.connects(to: 23, from: "198.51.100.7"))
        #expect(try !hosts.connects(to: 22, from: "198.51.100.7"))
        #expect(try !hosts.connects(to: 5000, at: "2001:db8::1", from: "2001:db8::7"))
        try hosts.client.run {
            let socket = try Endpoint(isUDP: true)
            try socket.bind(to: "198.51.100.7", port: 0)
            try socket.send("x", to: "198.51.100.1", port: 5001)
        }
        #expect(
            Set(heard(monitor, 3)) == [
                RefusedAttempt(
                    source: try IPAddress(parsing: "198.51.100.7"),
                    destination: try IPAddress(parsing: "198.51.100.1"),
                    transport: .tcp,
                    port: 22
                ),
                RefusedAttempt(
                    source: try IPAddress(parsing: "2001:db8::7"),
                    destination: try IPAddress(parsing: "2001:db8::1"),
                    transport: .tcp,
                    port: 5000
                ),
                RefusedAttempt(
                    source: try IPAddress(parsing: "198.51.100.7"),
                    destination: try IPAddress(parsing: "198.51.100.1"),
                    transport: .udp,
                    port: 5001
                ),
            ]
        )
        #expect(try hosts.host.run { try gate.inspect().fault } == nil)
    }

    @Test func aFloodIsDroppedToTheLastPacketAndToldInPart() throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate()
        let monitor = try hosts.host.run { try RefusalMonitor() }
        try hosts.client.run {
            let socket = try Endpoint(isUDP: true)
            try socket.bind(to: "198.51.100.7", port: 0)
            for _ in 0..<2_000 { try socket.send("x", to: "198.51.100.1", port: 5001) }
        }
        let told = heard(monitor, 1_000).count
        #expect(try hosts.host.run { try gate.inspect().droppedPackets } == 2_000)
        // What may come at once, and the rate of the second or two that it took.
        #expect((50...500).contains(told), "\(told)")
    }

    @Test func refusesTheSameWhereNothingCanBeTold() throws {
        let hosts = try Hosts()
        let gate = try hosts.host.run {
            let gate = try Gate(telling: false)
            try gate.arm(
                managed: Hosts.managed,
                breakGlass: [],
                holding: .exactly(Plan()),
                now: bootTime
            )
            return gate
        }
        #expect(!gate.tellsRefusals)
        #expect(try !hosts.nft("list", "table", "inet", "sallyport").contains("log"))
        #expect(try !hosts.connects(to: 22))
        #expect(try hosts.host.run { try gate.inspect().fault } == nil)
        #expect(try hosts.host.run { try gate.inspect().droppedPackets } > 0)
        // Who comes first holds the group, and the second says so.
        let monitor = try hosts.host.run { try RefusalMonitor() }
        let error = #expect(throws: GateError.self) {
            try hosts.host.run { try RefusalMonitor() }
        }
        #expect(error?.description.contains("group 21328") == true, "\(error as Any)")
        #expect(monitor.drain().isEmpty)
    }
}

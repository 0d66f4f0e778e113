import API
import Access
import Glibc
import Policy
import Survey
import Synchronization
import TestSupport
import Testing

@testable import Agent

/// Looking at the host.
@Suite(.blocking) struct SurveyTests {
    @Test func whatDropsAGrantIsFound() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let before = try await agent.examine(for: vera)
        #expect(!before.findings.contains { $0.code == .dropsGranted })
        #expect(!before.findings.contains { $0.code == .gateNotArmed })
        try host.nft("add", "table", "ip", "t")
        try host.nft("add chain ip t in { type filter hook input priority 0; policy drop; }")
        let after = try await agent.examine(for: vera)
        let drop = try #require(after.findings.first { $0.code == .dropsGranted })
        #expect(drop.table == "ip t")
        #expect(drop.chain == "in")
        #expect(drop.ports == ["22/tcp"])
        #expect(!after.healthy)
    }

    @Test func aGateThatIsGoneIsFound() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try host.nft("delete", "table", "inet", "sallyport")
        let found = try await agent.examine(for: dora)
        #expect(found.findings.first?.code == .gateNotArmed)
        #expect(found.findings.contains { $0.code == .gateNotOwned })
    }

    @Test func aGateThatWasTakenAwayIsFound() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let listener = try host.namespace.run {
            let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(22).bigEndian
            _ = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            listen(listener, 1)
            return listener
        }
        defer { close(listener) }
        func ssh() async throws -> ServiceDocument? {
            try await agent.discover(for: vera).services.first { $0.port == "22/tcp" }
        }
        #expect(try await ssh()?.reason == "closed unless granted")
        _ = try await agent.disarm(by: dora)
        let found = try await agent.examine(for: vera)
        #expect(found.findings.first?.code == .gateNotArmed)
        #expect(found.findings.first?.message.contains("dora disarmed it") == true)
        #expect(found.findings.first?.advice == "sallyport arm")
        #expect(try await ssh()?.reason.contains("NOT ARMED") == true)
    }

    /// A host that takes as long to be read as the test wants.
    private final class SlowHost: HostReading {
        let readings = Atomic<Int>(0)
        let isReleased = Atomic<Bool>(false)

        func read(routesTo networks: [CIDR]) throws -> HostState {
            readings.add(1, ordering: .relaxed)
            while !isReleased.load(ordering: .relaxed) { usleep(1000) }
            return HostState()
        }
    }

    @Test func nobodyWaitsForALargeRuleset() async throws {
        let host = try Host()
        let slow = SlowHost()
        let agent = try await host.agent(gate: host.gate(), reader: slow)
        async let first = agent.examine(for: vera)
        #expect(try await eventually { slow.readings.load(ordering: .relaxed) == 1 })
        async let second = agent.examine(for: dora)
        // Grants open, and the status is told, while the host is being read.
        for _ in 0..<3 { try await agent.open(ask("ssh", from: "198.51.100.7")) }
        _ = try await agent.status(for: vera)
        slow.isReleased.store(true, ordering: .relaxed)
        let (one, other) = try await (first, second)
        #expect(one == other)
        // Both were answered from one reading.
        #expect(slow.readings.load(ordering: .relaxed) == 1)
        _ = try await agent.examine(for: vera)
        #expect(slow.readings.load(ordering: .relaxed) == 2)
    }

    @Test func peopleOfADelegateForSomePoliciesAreRefused() async throws {
        let host = try Host()
        let agent = try await host.agent()
        var remote = vera
        remote.identity.via = Delegate(
            name: "portal",
            user: "daemon",
            issuers: ["corp"],
            ceiling: [.viewer],
            policies: ["ssh"]
        )
        let refused = await problem { try await agent.examine(for: remote) }
        #expect(refused?.code == .notPermitted)
        #expect(refused?.detail.contains("portal is for some policies alone") == true)
        #expect(await problem { try await agent.discover(for: remote) }?.code == .notPermitted)
        remote.identity.via?.policies = nil
        _ = try await agent.discover(for: remote)
    }
}

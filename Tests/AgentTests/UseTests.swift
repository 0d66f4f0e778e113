import API
import Ledger
import Policy
import TestSupport
import Testing

@testable import Agent

/// How grants were used, counted by real packets.
@Suite(.blocking) struct UseTests {
    /// A host with a cable to a client, 198.51.100.7 and .8, that knocks at it, 198.51.100.1.
    private struct Wired {
        let host: Host
        let client: NetworkNamespace

        init(_ policies: [AccessPolicy]? = nil) throws {
            host = try Host(policies)
            client = try NetworkNamespace()
            try host.connect(to: client)
        }

        /// Opens connections, each of which is answered with a reset at once.
        func knock(_ times: Int, port: Int = 22) throws {
            try client.run {
                for _ in 0..<times {
                    let open = "exec 3<>/dev/tcp/198.51.100.1/\(port)"
                    _ = try shell("timeout", "1", "bash", "-c", open)
                }
            }
        }
    }

    private func grants(_ agent: Agent) async throws -> [String: GrantDocument] {
        let all = try await agent.grants(RequestFilter(), includeEnded: true, for: vera).grants
        return Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0) })
    }

    @Test func isAddedUpThroughExtensionsReloadsAndRestarts() async throws {
        let wired = try Wired()
        let host = wired.host
        var agent: Agent? = try await host.agent()
        func expect(_ packets: UInt64, at place: SourceLocation = #_sourceLocation) async throws {
            let grant = try await grants(#require(agent))["1.1"]
            #expect(grant?.packets == packets, sourceLocation: place)
            #expect(grant?.bytes == packets * 60, sourceLocation: place)
        }
        try await agent?.open(ask("ssh", from: "198.51.100.7"))
        try await agent?.open(ask("ssh", from: "198.51.100.8"))
        #expect(try await grants(#require(agent))["1.1"]?.lastUsedAt == nil)
        try wired.knock(3)
        try await expect(3)
        try await agent?.extend(request: 1, by: .seconds(60), by: alice)
        try wired.knock(2)
        // Not read before it begins anew once more.
        try await agent?.extend(request: 1, by: .seconds(60), by: alice)
        try await expect(5)
        _ = try await agent?.reload(by: dora)
        try await expect(5)
        try wired.knock(1)
        try await expect(6)

        // Stopped, it has recorded everything; killed, the next one reads what it had not.
        await agent?.beat(isLast: true)
        agent = nil
        agent = try await host.agent()
        try await expect(6)
        try wired.knock(2)
        try await expect(8)
        try wired.knock(1)
        agent = nil
        agent = try await host.agent()
        try await expect(9)
        try wired.knock(1)
        try await expect(10)
        await agent?.beat()
        try wired.knock(1)

        // Another asks for the same, so that it is shared, and then closes it.
        try await agent?.open(ask("ssh", from: "198.51.100.7", for: "1h"), by: bob)
        try wired.knock(2)
        var all = try await grants(#require(agent))
        #expect(all["1.1"]?.packets == 13)
        #expect(all["3.1"]?.packets == 2)
        _ = try await agent?.revoke(request: 3, by: bob)
        try wired.knock(1)
        _ = try await agent?.revoke(request: 1, by: alice)
        _ = try await agent?.revoke(request: 2, by: alice)
        // At once what was read, and soon all of it in the ledger.
        #expect(try await grants(#require(agent))["1.1"]?.packets == 14)
        #expect(
            try await eventually {
                try host.recordedUses() == ["1.1 14 0", "2.1 0 0", "3.1 2 0"]
            }
        )
        for isRestarted in [false, true] {
            all = try await grants(#require(agent))
            let used = try #require(all["1.1"])
            #expect(used.packets == 14)
            #expect(try #require(used.firstUsedAt) >= #require(used.startsAt))
            #expect(try #require(used.lastUsedAt) >= #require(used.firstUsedAt))
            #expect(try #require(used.lastUsedAt) <= host.clocks.now().wall)
            #expect(all["3.1"]?.packets == 2)
            #expect(all["2.1"]?.packets == 0)
            #expect(all["2.1"]?.lastUsedAt == nil)
            guard !isRestarted else { break }
            agent = nil
            agent = try await host.agent()
        }
    }

    @Test func isReadJustBeforeTheEnd() async throws {
        let wired = try Wired()
        let host = wired.host
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "3s"))
        try await agent.open(ask("ssh", from: "198.51.100.8", for: "3s"))
        try wired.knock(2)
        while await agent.liveGrants > 0 {
            let wake = try #require(host.nextEnd)
            try await Task.sleep(for: max(.zero, wake - host.clocks.now().boot))
            await agent.grantsEnded()
        }
        #expect(host.nextEnd == nil)
        #expect(try host.recordedUses() == ["1.1 2 0", "2.1 0 0"])
        let all = try await grants(agent)
        #expect(all["1.1"]?.packets == 2)
        #expect(all["2.1"]?.packets == 0)
    }

    @Test func ofWideRangesIsNotKnown() async throws {
        let ports = AccessPolicy(name: "range", ports: [try PortRange(parsing: "5000-5100/tcp")])
        let wired = try Wired([ports])
        let agent = try await wired.host.agent()
        try await agent.open(ask("range", from: "198.51.100.7"))
        try wired.knock(1, port: 5000)
        #expect(try await grants(agent)["1.1"]?.packets == nil)
        _ = try await agent.revoke(request: 1, by: alice)
        #expect(try await grants(agent)["1.1"]?.packets == nil)
    }

    @Test func isKeptWhereTheLedgerFailsForAWhile() async throws {
        let wired = try Wired()
        let host = wired.host
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try wired.knock(2)
        host.store.fail(commit: .full)
        await agent.beat()
        _ = await problem { try await agent.revoke(request: 1, by: alice) }
        host.store.fail(commit: nil)
        #expect(try await eventually { try host.recordedUses() == ["1.1 2 0"] })
    }
}

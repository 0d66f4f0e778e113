import API
import Policy
import TestSupport
import Testing

@testable import Agent

/// Connections that grants let in, in the audit trail.
@Suite(.blocking) struct ConnectionTests {
    private func connection(_ source: String, _ number: UInt32 = 1) throws -> SeenConnection {
        SeenConnection(
            source: try IPAddress(parsing: source),
            sourcePort: 40_000,
            destination: try IPAddress(parsing: "192.0.2.1"),
            transport: .tcp,
            port: 22,
            number: number
        )
    }

    @Test func areRecordedFromTheirBeginningToTheirEnd() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.0/24"))
        let one = try connection("198.51.100.7")
        #expect(
            agent.connections.note([
                .began(one, isFar: false), .began(try connection("203.0.113.1"), isFar: false),
            ])
        )
        await agent.connectionsHeard()
        let used = try await agent.grants(RequestFilter(), includeEnded: false, for: vera).grants[0]
        #expect(used.lastUsedAt != nil)
        host.clocks.pass(.seconds(90))
        #expect(agent.connections.note([.closed(one)]))
        await agent.connectionsHeard()
        host.clocks.pass(.seconds(120))
        _ = try await agent.revoke(request: 1, by: alice)
        let traffic = Traffic(packets: 12, bytes: 3_400)
        #expect(agent.connections.note([.forgotten(one, received: traffic, sent: traffic)]))
        #expect(!agent.connections.note([.closed(one), .missed]))
        await agent.connectionsHeard()

        let began = try host.audit("connection-began")
        #expect(began.map(\.source) == ["198.51.100.7/32"])
        #expect(began.map(\.detail) == ["from port 40000 to 192.0.2.1"])
        #expect(began.map(\.request) == [1])
        let ended = try host.audit("connection-ended")
        #expect(ended.count == 1)
        let detail = try #require(ended.first?.detail)
        let counted = "12 packets, 3400 bytes"
        #expect(detail.hasSuffix("; lasted 1m30s; \(counted) in, \(counted) out"))
        // Their own requester reads of them, and nobody else's.
        let filter = AuditFilter(event: .connectionBegan)
        #expect(try await agent.audit(filter, for: alice).events.count == 1)
        #expect(try await agent.audit(filter, for: bob).events.isEmpty)
        #expect(try await agent.verifyAudit(head: nil, for: vera).intact)
    }

    @Test func aFloodOfThemLeavesTenRowsAMinute() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.clocks.passToNextMinute()
        for round in 0..<20 {
            let news = try (0..<500).map {
                ConnectionNews.began(
                    try connection("198.51.100.7", UInt32(round * 500 + $0)),
                    isFar: false
                )
            }
            _ = agent.connections.note(news)
            await agent.connectionsHeard()
        }
        #expect(try host.audit("connection-began").count == 10)
        // More at once than is kept is missed, and no more.
        let flood = try (0..<5_000).map {
            ConnectionNews.began(try connection("198.51.100.7", UInt32($0)), isFar: false)
        }
        #expect(agent.connections.note(flood))
        #expect(agent.connections.take() == [.missed])
    }
}

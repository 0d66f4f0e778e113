import API
import Access
import Ledger
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Agent

/// What listeners hear.
@Suite(.blocking) struct EventFeedTests {
    @Test func tellsWhatIsRecordedToWhoMaySeeIt() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.1"))
        let (all, own) = (
            try await agent.events(after: nil, for: vera),
            try await agent.events(after: nil, for: bob)
        )
        async let heard = first(3, of: all)
        async let heardOwn = first(2, of: own)
        try await agent.open(ask("ssh", from: "198.51.100.2"))
        let request = try await agent.open(ask("ssh", from: "198.51.100.3"), by: bob)
        let id = try #require(Int64(request.id))
        _ = try await agent.revoke(request: id, by: dora)
        #expect(try await heard == ["2 opened", "3 opened", "4 ended"])
        // What became of his request, too, though somebody else did it.
        #expect(try await heardOwn == ["3 opened", "4 ended"])
    }

    @Test func goesOnWhereAListenerLeftOff() async throws {
        let host = try Host()
        let agent = try await host.agent()
        for number in 1...5 { try await agent.open(ask("ssh", from: "198.51.100.\(number)")) }
        let events = try await agent.events(after: 2, for: vera)
        async let heard = first(5, of: events)
        for number in 6...7 { try await agent.open(ask("ssh", from: "198.51.100.\(number)")) }
        #expect(try await heard == (3...7).map { "\($0) opened" })
        let none = try await agent.events(after: 99, for: vera)
        async let later = first(1, of: none)
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        #expect(try await later == ["8 opened"])
    }

    /// Nothing is kept for a listener that does not listen, and nothing is left out.
    @Test func whoFallsBehindReadsTheLedger() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let slow = try await agent.events(after: nil, for: vera)
        let quick = try await agent.events(after: nil, for: vera)
        async let heard = first(3_000, of: quick)
        for _ in 0..<30 {
            let events = Array(repeating: Event.noted(Notice(.started)), count: 100)
            try await agent.ledger.commit(events, at: host.clocks.now().wall)
            agent.feed.recorded()
        }
        let all = (1...3_000).map { "\($0) agent-started" }
        #expect(try await heard == all)
        #expect(try await first(3_000, of: slow) == all)
    }

    @Test func tellsOfAGrantBeforeItEnds() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.1", for: "30m"))
        try await agent.open(ask("ssh", from: "198.51.100.2", for: "30m"), by: bob)
        // A tenth of half an hour.
        host.clocks.pass(.seconds(27 * 60))
        let events = try await agent.events(after: nil, for: bob)
        let ending = try #require(try await first(1, of: events).first)
        #expect(ending.hasPrefix(#"{"grant":"2.1","request":"2","requester":"unix:1001","#))
        #expect(ending.contains(#""remainingSeconds":1"#))
        let early = try await agent.events(after: 0, for: alice)
        #expect(try await first(2, of: early).contains { $0.contains(#""grant":"1.1""#) })
    }

    @Test func listensOnlySoOften() async throws {
        let host = try Host()
        let agent = try await host.agent()
        var kept: [StreamedEvents] = []
        for _ in 0..<32 { kept.append(try await agent.events(after: nil, for: alice)) }
        let refused = await problem { try await agent.events(after: nil, for: alice) }
        #expect(refused?.code == .rateLimited)
        _ = try await agent.events(after: nil, for: bob)
        kept = []
        #expect(
            try await eventually {
                await problem { try await agent.events(after: nil, for: alice) } == nil
            }
        )
    }

    private func first(_ count: Int, of events: StreamedEvents) async throws -> [String] {
        var heard: [String] = []
        for try await some in events {
            // A comment now and then only says that the agent is still there.
            heard += some.filter { !$0.lines.starts(with: ":".utf8) }.map(\.text)
            if heard.count >= count { break }
        }
        return heard
    }
}

extension StreamedEvent {
    /// `7 opened`, or the JSON form of a warning.
    fileprivate var text: String {
        let fields = String(decoding: lines, as: UTF8.self).split(separator: "\n").map { line in
            String(line.drop { $0 != " " }.dropFirst())
        }
        return fields.count == 3 ? "\(fields[0]) \(fields[1])" : fields.last ?? ""
    }
}

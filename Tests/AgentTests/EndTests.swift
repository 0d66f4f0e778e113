import API
import Access
import GRDB
import Policy
import TestSupport
import Testing

@testable import Agent

@Suite(.blocking) struct EndTests {
    @Test func extendingMovesTheEndInLedgerAndKernel() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let request = try await agent.open(ask("ssh", from: "198.51.100.7", "2001:db8::/64"))
        let extended = try await agent.extend(request: 1, by: .seconds(1200), by: alice)
        for (old, new) in zip(request.grants, extended.grants) {
            #expect(new.expiresAt == old.expiresAt.map { $0 + .seconds(1200) })
        }
        try host.expectOpen(["198.51.100.7": 30, "2001:db8::/64": 30])
        let tooLong = await problem {
            try await agent.extend(request: 1, by: .seconds(3 * 3600), by: alice)
        }
        #expect(tooLong?.code == .outsidePolicy)
        #expect(tooLong?.violations?.count == 2)
        try host.expectOpen(["198.51.100.7": 30, "2001:db8::/64": 30])
    }

    @Test func extendingMovesWhatIsStillLiveOfARequest() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let request = try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8"))
        _ = try await agent.close(grant: grant(1, 1), by: alice)
        let extended = try await agent.extend(request: 1, by: .seconds(1200), by: alice)
        #expect(extended.state == .active)
        #expect(extended.grants.map(\.state) == [.revoked, .active])
        #expect(
            extended.grants.map(\.expiresAt)
                == [
                    request.grants[0].expiresAt,
                    request.grants[1].expiresAt.map { $0 + .seconds(1200) },
                ]
        )
        try host.expectOpen(["198.51.100.8": 30])
        // What was answered is what is read.
        let read = try await agent.request(id: 1, for: alice)
        #expect(read.grants.map(\.expiresAt) == extended.grants.map(\.expiresAt))
        #expect(read.grants.map(\.endedAt) == extended.grants.map(\.endedAt))
    }

    @Test func revokingClosesAtOnceAndLeavesOthersExact() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8", for: "20m"), by: bob)
        let revoked = try await agent.revoke(request: 1, by: alice)
        #expect(revoked.state == .revoked)
        #expect(revoked.grants.map(\.endReason) == [.closedByRequester])
        try host.expectOpen(["198.51.100.7": 20, "198.51.100.8": 20])

        let closed = try await agent.close(grant: grant(2, 2), by: dora)
        #expect(closed.endReason == .closedByAdmin)
        #expect(closed.remainingSeconds == nil)
        try host.expectOpen(["198.51.100.7": 20])
        #expect(try host.stored(2) == ["active/-", "revoked/closed-by-admin"])
    }

    @Test func theReasonForARevocationIsTold() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", reason: "deploy"))
        let wordless = await problem {
            try await agent.revoke(request: 1, reason: "...", by: dora)
        }
        #expect(wordless?.code == .outsidePolicy)
        let revoked = try await agent.revoke(request: 1, reason: "incident", by: dora)
        #expect(revoked.decision == "incident" && revoked.reason == "deploy")
        #expect(try await agent.request(id: 1, for: alice).decision == "incident")
        #expect(try host.audit("ended").map(\.reason) == ["incident"])
    }

    @Test(arguments: ["revoke", "extend", "close"])
    func onlyTheRequesterAndAdminsMayChange(_ verb: String) async throws {
        let host = try Host()
        let agent = try await host.agent()
        func change(by caller: Caller, request: Int64 = 1, ordinal: Int = 1) async -> Problem.Code?
        {
            await problem {
                switch verb {
                case "revoke": _ = try await agent.revoke(request: request, by: caller)
                case "extend":
                    _ = try await agent.extend(request: request, by: .seconds(1), by: caller)
                default: _ = try await agent.close(grant: grant(request, ordinal), by: caller)
                }
            }?.code
        }
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        // Whoever may not see a request is told that there is none.
        #expect(await change(by: bob) == .notFound)
        #expect(await change(by: vera) == .notPermitted)
        #expect(await change(by: dora, request: 99) == .notFound)
        #expect(try host.elements().count == 1)
        #expect(await change(by: dora) == nil)
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        #expect(await change(by: alice, request: 2) == nil)
        if verb != "extend" {
            #expect(await change(by: alice, request: 2) == .wrongState)
            #expect(await change(by: dora, request: 2) == .wrongState)
            #expect(await change(by: bob, request: 2) == .notFound)
        }
        if verb == "close" {
            try await agent.open(ask("ssh", from: "198.51.100.8", "198.51.100.9"))
            #expect(await change(by: alice, request: 3, ordinal: 7) == .notFound)
        }
    }

    @Test func aGrantWhoseTimeIsOverCannotBeExtended() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.clocks.pass(.seconds(601))
        // Nothing has told the agent yet.
        let late = await problem { try await agent.extend(request: 1, by: .seconds(60), by: alice) }
        #expect(late?.code == .wrongState)
        #expect(try await eventually { try host.stored(1) == ["expired/expired"] })
    }

    /// The other grant ends after the request was read and before the change is decided.
    @Test(arguments: ["close", "extend", "revoke"])
    func whatEndsMeanwhileIsToldAsEnded(_ verb: String) async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8", for: "20m"))
        host.store.hold()
        async let other = agent.close(grant: grant(1, 1), by: dora)
        #expect(try await eventually { host.store.held == 1 })
        async let changed = {
            switch verb {
            case "close":
                _ = try await agent.close(grant: grant(1, 2), by: alice)
                return try await agent.request(id: 1, for: alice)
            case "extend": return try await agent.extend(request: 1, by: .seconds(60), by: alice)
            default: return try await agent.revoke(request: 1, by: alice)
            }
        }()
        #expect(try await eventually { await agent.waiting == 1 })
        host.store.letGo()
        _ = try await other
        let answer = try await changed
        #expect(answer.grants[0].endReason == .closedByAdmin)
        #expect(answer.grants[0].endedAt != nil)
        #expect(answer.grants[1].endReason == (verb == "extend" ? nil : .closedByRequester))
        #expect(answer.state == (verb == "extend" ? .active : .revoked))
        try host.expectOpen(verb == "extend" ? ["198.51.100.8": 21] : [:])
    }

    @Test func endsAreBookedWhenTheyCome() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.8", for: "30m"))
        let start = host.clocks.now().boot
        for number in 1...7 {
            try await agent.open(ask("ssh", from: "203.0.113.\(number)", for: "1s"))
        }
        var late = max(.zero, host.clocks.now().boot - start - .seconds(1))
        var wakes = 0
        while await agent.liveGrants > 1 {
            // Once to read how a grant was used, and once for its end.
            wakes += 1
            try #require(wakes <= 14)
            let end = try #require(host.nextEnd)
            try await Task.sleep(for: max(.zero, end - host.clocks.now().boot))
            await agent.grantsEnded()
            late = max(late, host.clocks.now().boot - end)
        }
        #expect(try host.elements().count == 1)
        let booked = try await host.otherConnection().read {
            try Int64.fetchAll(
                $0,
                sql: "SELECT ended_at - expires_at FROM grants WHERE state = 'expired'"
            )
        }
        #expect(booked.count == 7)
        // The two clocks are rounded apart.
        #expect(booked.allSatisfy { (-1...late.wholeMilliseconds + 1).contains($0) })
        #expect(
            host.nextEnd
                == (await agent.committer.plan[grant(1)]?.end.deadline)
                .map { $0 + (.zero - Committer.readAhead) }
        )
        _ = try await agent.revoke(request: 1, by: alice)
        #expect(await agent.liveGrants == 0)
        #expect(host.nextEnd == nil)
    }

    @Test func thousandsEndInOneGo() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let sources = (0..<32).map { "198.51.100.\($0)" }
        for network in 0..<100 {
            try await agent.open(
                Ask(
                    targets: ["ssh"],
                    sources: sources.map { $0.replacing("51", with: "\(network)") },
                    duration: "10m"
                )
            )
        }
        #expect(await agent.liveGrants == 3200)
        let commits = host.store.commits
        host.clocks.pass(.seconds(660))
        await agent.grantsEnded()
        #expect(await agent.liveGrants == 0)
        // What would follow soon.
        try await agent.committer.recordUses()
        let more = host.store.committed.dropFirst(commits + 1).joined()
        #expect(host.store.commits == commits + 1, "more: \(Array(more.prefix(3)))")
        #expect(try host.stored(77) == Array(repeating: "expired/expired", count: 32))
        #expect(host.nextEnd == nil)
    }
}

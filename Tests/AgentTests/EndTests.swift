import API
import GRDB
import Synchronization
import Policy
import Server
import Testing
import TestSupport

@testable import Agent
@testable import Ledger

@Suite(.blocking) struct EndTests {
    @Test func extendingMovesTheEndInLedgerAndKernel() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let request = try await agent.open(ask("ssh", from: "198.51.100.7", "::/64"))
        let extended = try await agent.extend(request: 1, by: .seconds(1200), by: alice)
        for (old, new) in zip(request.grants, extended.grants) {
            #expect(new.expiresAt == old.expiresAt + .seconds(1200))
        }
        for (_, left) in try host.elements() { expectEnd(left, of: 1_800_000) }
        #expect(try host.elements().count == 2)
        let tooLong = await problem {
            try await agent.extend(request: 1, by: .seconds(3 * 3600), by: alice)
        }
        #expect(tooLong?.code == .outsidePolicy)
        #expect(tooLong?.violations?.count == 2)
        for (_, left) in try host.elements() { expectEnd(left, of: 1_800_000) }
    }

    @Test func revokingClosesAtOnceAndLeavesOthersExact() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8", for: "20m"), by: bob)
        let revoked = try await agent.revoke(request: 1, by: alice)
        #expect(revoked.state == .revoked)
        #expect(revoked.grants.map(\.endReason) == [.closedByRequester])
        expectEnd(try host.elements()[key("198.51.100.7")], of: 1_200_000)
        #expect(try host.elements().count == 2)

        let closed = try await agent.close(grant: Grant.ID(request: 2, ordinal: 2), by: dora)
        #expect(closed.endReason == .closedByAdmin)
        #expect(closed.remainingSeconds == nil)
        #expect(try host.elements().keys.map(\.source.description) == ["198.51.100.7/32"])
        #expect(try host.stored(2) == ["active/-", "revoked/closed-by-admin"])
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
                default:
                    let id = Grant.ID(request: request, ordinal: ordinal)
                    _ = try await agent.close(grant: id, by: caller)
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

    @Test func endsAreBookedWithinATenthOfASecond() async throws {
        let host = try Host()
        let agent = try await host.agent(watched: true)
        try await agent.open(ask("ssh", from: "198.51.100.8", for: "30m"))
        for number in 1...7 {
            try await agent.open(ask("ssh", from: "203.0.113.\(number)", for: "1s"))
            try await Task.sleep(for: .milliseconds(70))
        }
        #expect(try await eventually { await agent.plan.count == 1 })
        // The two clocks are rounded apart. The middle one: other tests keep the machine busy.
        let late = try await host.otherConnection().read {
            try Int64.fetchAll(
                $0,
                sql: "SELECT ended_at - expires_at FROM grants WHERE state = 'expired' ORDER BY 1"
            )
        }
        #expect(late.count == 7)
        #expect((-1..<100).contains(late[late.count / 2]))
        #expect(try host.elements().count == 1)
        await agent.watch.cancel()
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
        #expect(await agent.plan.count == 3200)
        let commits = CommitCounter()
        await agent.ledger.pool.add(transactionObserver: commits, extent: .databaseLifetime)
        host.clocks.pass(.seconds(605))
        await agent.reap()
        #expect(await agent.plan.count == 0)
        #expect(commits.count.withLock(\.self) == 1)
        #expect(try host.stored(77) == Array(repeating: "expired/expired", count: 32))
        #expect(await agent.plan.nextDeadline == nil)
    }
}

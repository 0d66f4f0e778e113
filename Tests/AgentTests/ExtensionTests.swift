import API
import Access
import Ledger
import Policy
import Settings
import TestSupport
import Testing

@testable import Agent

/// Extensions that others have to agree to.
@Suite(.blocking) struct ExtensionTests {
    /// A host with an open request 1 of alice's, for 10 minutes, whose extensions take an approval.
    private func hostWithGrants(
        from sources: String...,
        approvals: Int = 1
    ) async throws -> (Host, Agent) {
        let host = try Host()
        let agent = try await host.agent()
        for source in sources { try await agent.open(ask("ssh", from: source, reason: "deploy")) }
        try host.changeConfiguration { $0.policies[0].approvals = approvals }
        try await agent.reload(by: nil)
        return (host, agent)
    }

    @Test func movesTheEndsWithTheLastApproval() async throws {
        let (host, agent) = try await hostWithGrants(from: "198.51.100.7", approvals: 2)
        let asked = try await agent.extend(request: 1, by: .seconds(1200), by: alice)
        #expect(asked.id == "2" && asked.extends == "1" && asked.state == .pending)
        #expect(asked.duration == "20m" && asked.reason == "deploy")
        #expect(asked.needs?.map(\.approvals) == [2])
        // What it is about is what is open.
        #expect(asked.grants.map(\.id) == ["1.1"] && asked.grants.map(\.state) == [.active])
        #expect(asked.pendingUntil == asked.grants[0].expiresAt)
        #expect(try await agent.request(id: 2, for: carol).grants.map(\.id) == ["1.1"])
        _ = try await agent.approve(2, by: carol)
        try host.expectOpen(["198.51.100.7": 10])
        let done = try await agent.approve(2, by: erin)
        #expect(done.state == .active && done.approvals.count == 2)
        #expect(done.grants[0].expiresAt == asked.grants[0].expiresAt.map { $0 + .seconds(1200) })
        #expect(done.grants[0].requester == asked.grants[0].requester)
        try host.expectOpen(["198.51.100.7": 30])
        let read = try await agent.request(id: 2, for: alice)
        #expect(read.state == .active && read.duration == "20m")
        #expect(read.grants.map(\.expiresAt) == done.grants.map(\.expiresAt))
        #expect(try await agent.request(id: 1, for: alice).duration == "30m")
        let row = try #require(try host.audit("extended").first)
        #expect(row.request == 1 && row.subject == "unix:1000" && row.reason == "deploy")
        // It ends as what it extended.
        _ = try await agent.revoke(request: 1, by: alice)
        #expect(try await agent.request(id: 2, for: alice).state == .revoked)
    }

    @Test func neverLeavesMoreThanThePolicyAllows() async throws {
        let (host, agent) = try await hostWithGrants(from: "198.51.100.7")
        let tooLong = await problem {
            try await agent.extend(request: 1, by: .seconds(3 * 3600 - 300), by: alice)
        }
        #expect(tooLong?.code == .outsidePolicy)
        for _ in 1...2 { try await agent.extend(request: 1, by: .seconds(100 * 60), by: alice) }
        #expect(try await agent.approve(2, by: carol).state == .active)
        // Each by itself was allowed; with the other it is not.
        let denied = try await agent.approve(3, by: carol)
        #expect(denied.state == .denied)
        #expect(denied.decision?.contains("at most 3h from now") == true)
        try host.expectOpen(["198.51.100.7": 110])
    }

    @Test func aShorterExtensionIsWhatWasApproved() async throws {
        let (host, agent) = try await hostWithGrants(from: "198.51.100.7")
        _ = try await agent.extend(
            request: 1,
            by: .seconds(3600),
            for: Grounds(reason: "restore still runs", ticket: "OPS-2"),
            by: alice
        )
        let done = try await agent.approve(2, by: carol, for: "5m")
        #expect(done.duration == "5m" && done.reason == "restore still runs")
        #expect(done.ticket == "OPS-2")
        try host.expectOpen(["198.51.100.7": 15])
    }

    @Test func neitherWhoAsksNorWhoseItIsApproves() async throws {
        let (host, agent) = try await hostWithGrants(from: "198.51.100.7")
        try host.changeConfiguration {
            $0.roles = RoleTable([
                .requester: [.user("alice")], .approver: [.user("alice"), .user("carol")],
                .admin: [.user("dora")],
            ])
        }
        try await agent.reload(by: nil)
        // An admin asks for more of alice's.
        try await agent.extend(request: 1, by: .seconds(600), by: dora)
        for caller in [alice, dora] {
            let own = await problem { try await agent.approve(2, by: caller) }
            #expect(own?.code == .notPermitted)
            #expect(own?.detail.contains("same person") == true)
        }
        #expect(try await agent.approve(2, by: carol).grants.map(\.requester.name) == ["alice"])
        try host.expectOpen(["198.51.100.7": 20])
    }

    @Test(arguments: ["close", "expire", "supersede"])
    func comesToNothingWithWhatItExtends(_ how: String) async throws {
        let (host, agent) = try await hostWithGrants(from: "198.51.100.7", "198.51.100.8")
        for request: Int64 in [1, 2] {
            try await agent.extend(request: request, by: .seconds(600), by: alice)
        }
        switch how {
        case "close": _ = try await agent.close(grant: grant(1), by: dora)
        case "supersede":
            try await agent.open(ask("ssh", from: "198.51.100.7"))
            _ = try await agent.approve(5, by: carol)
        default:
            host.clocks.pass(.seconds(601))
            await agent.grantsEnded()
        }
        let gone = try await agent.request(id: 3, for: alice)
        #expect(gone.state == (how == "expire" ? .lapsed : .cancelled))
        #expect(gone.decidedBy?.name == ["close": "dora", "supersede": "alice"][how])
        let late = await problem { try await agent.approve(3, by: carol) }
        #expect(late?.code == .wrongState)
        let other = try await agent.request(id: 4, for: alice).state
        #expect(other == (how == "expire" ? .lapsed : .pending))
    }

    @Test func outlivesARestart() async throws {
        var (host, agent) = try await hostWithGrants(from: "198.51.100.7") as (Host, Agent?)
        try await agent?.extend(request: 1, by: .seconds(600), by: alice)
        agent = nil
        agent = try await host.agent()
        #expect(try await agent?.approve(2, by: carol).state == .active)
        try host.expectOpen(["198.51.100.7": 20])
        agent = nil
        agent = try await host.agent()
        try host.expectOpen(["198.51.100.7": 20])
    }

    @Test func whatTheKernelRefusesIsTakenBack() async throws {
        let (host, agent) = try await hostWithGrants(from: "198.51.100.7")
        try await agent.extend(request: 1, by: .seconds(600), by: alice)
        host.kernel.fail(.apply, .arm)
        let refused = await problem { try await agent.approve(2, by: carol) }
        #expect(refused?.code == .kernelRefused)
        host.kernel.fail()
        #expect(try await agent.request(id: 2, for: alice).state == .failed)
        await agent.clockStepped()
        try host.expectOpen(["198.51.100.7": 10])
    }

    @Test func aReasonOrTicketThatIsGivenMustBeOne() async throws {
        let host = try Host()
        try host.changeConfiguration {
            $0.policies[1].ticketPattern = try? TicketPattern(parsing: "^OPS-[0-9]+$")
        }
        let agent = try await host.agent()
        var asked = ask("winrm", from: "198.51.100.7", reason: "deploy")
        asked.ticket = "OPS-1"
        try await agent.open(asked)
        for (grounds, field) in [
            (Grounds(reason: "....."), "reason"), (Grounds(ticket: "DEV-1"), "ticket"),
        ] {
            let refused = await problem {
                try await agent.extend(request: 1, by: .seconds(60), for: grounds, by: alice)
            }
            #expect(refused?.violations?.map(\.field) == [field])
        }
        _ = try await agent.extend(
            request: 1,
            by: .seconds(60),
            for: Grounds(reason: "not done yet", ticket: "OPS-2"),
            by: alice
        )
        try await agent.extend(request: 1, by: .seconds(60), by: alice)
        let rows = try host.audit("extended")
        #expect(rows.map(\.reason) == ["not done yet", nil])
        #expect(try await agent.request(id: 1, for: alice).reason == "deploy")
    }
}

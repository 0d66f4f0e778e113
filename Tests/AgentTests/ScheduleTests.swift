import API
import Access
import Ledger
import Policy
import Settings
import TestSupport
import Testing

@testable import Agent

/// Requests whose start lies ahead.
@Suite(.blocking) struct ScheduleTests {
    /// A request for 10 minutes that starts in 20.
    private func later(_ host: Host, minutes: Int = 20, from source: String = "198.51.100.7") -> Ask
    {
        var asked = ask("ssh", from: source)
        asked.at = (host.clocks.now().wall + .seconds(60 * minutes)).description
        return asked
    }

    @Test func opensAtItsStart() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let asked = try await agent.open(later(host))
        #expect(asked.state == .scheduled && asked.needs == nil && asked.pendingUntil == nil)
        #expect(asked.decidedAt == asked.createdAt)
        #expect(asked.grants.map(\.state) == [.scheduled])
        #expect(try await agent.request(id: 1, for: alice) == asked)
        let start = try #require(asked.startsAt)
        #expect(try host.elements().isEmpty)
        // Woken when it starts, and not a moment before.
        #expect(try await eventually { host.nextEnd != nil })
        let wake = try #require(host.nextEnd)
        host.clocks.pass(wake - host.clocks.now().boot)
        #expect(host.clocks.now().wall >= start)
        await agent.grantsEnded()
        try host.expectOpen(["198.51.100.7": 10])
        let opened = try await agent.request(id: 1, for: alice)
        #expect(opened.state == .active && opened.startsAt == start && opened.duration != "0s")
        #expect(opened.grants[0].expiresAt == start + .seconds(600))
        #expect(try host.audit().map(\.event).suffix(2) == ["requested", "opened"])
    }

    @Test func waitsForApprovalsAndForItsStart() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        for number in 1...3 {
            try await agent.open(later(host, minutes: 10, from: "198.51.100.\(number)"))
        }
        let approved = try await agent.approve(1, by: carol)
        #expect(approved.state == .scheduled && approved.decidedBy?.name == "carol")
        #expect(try await agent.request(id: 1, for: alice) == approved)
        let again = await problem { try await agent.approve(1, by: erin) }
        #expect(again?.detail.contains("it is scheduled") == true)
        #expect(try host.elements().isEmpty)
        host.clocks.pass(.seconds(12 * 60))
        await agent.grantsEnded()
        // Its time is that which was asked for.
        try host.expectOpen(["198.51.100.1": 8])
        #expect(try await agent.approve(2, by: carol).state == .active)
        try host.expectOpen(["198.51.100.1": 8, "198.51.100.2": 8])
        host.clocks.pass(.seconds(4 * 60))
        await agent.grantsEnded()
        #expect(try await agent.request(id: 3, for: alice).state == .lapsed)
    }

    @Test func isTakenBackAndDeniedBeforeItsStart() async throws {
        let host = try Host()
        let agent = try await host.agent()
        for _ in 1...2 { try await agent.open(later(host)) }
        #expect(try await agent.cancel(request: 1, by: alice).state == .cancelled)
        let denied = try await agent.deny(request: 2, reason: "freeze", by: carol)
        #expect(denied.state == .denied && denied.decision == "freeze")
        #expect(try await eventually { host.nextEnd == nil })
        host.clocks.pass(.seconds(25 * 60))
        await agent.grantsEnded()
        #expect(try host.elements().isEmpty)
    }

    @Test(arguments: [(down: 5, open: nil), (22, 8), (29, 1), (31, nil)] as [(Int, Int64?)])
    func opensAfterARestartForWhatIsLeft(_ down: Int, _ open: Int64?) async throws {
        let host = try Host()
        var agent: Agent? = try await host.agent()
        try await agent?.open(later(host))
        agent = nil
        host.clocks.pass(.seconds(60 * down))
        agent = try await host.agent()
        await agent?.grantsEnded()
        let state = try await agent?.request(id: 1, for: alice).state
        #expect(state == (open != nil ? .active : down < 20 ? .scheduled : .lapsed))
        if let open {
            try host.expectOpen(["198.51.100.7": open])
        } else {
            #expect(try host.elements().isEmpty)
        }
    }

    @Test func followsTheWallClock() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(later(host))
        host.clocks.setWallClock(by: .seconds(-600))
        await agent.clockStepped()
        #expect(
            try await eventually {
                try #require(host.nextEnd) - host.clocks.now().boot > .seconds(29 * 60)
            }
        )
        host.clocks.setWallClock(by: .seconds(1800))
        await agent.clockStepped()
        try host.expectOpen(["198.51.100.7": 10])
    }

    @Test func policyIsAskedAgainAtItsStart() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(later(host))
        try host.changeConfiguration { $0.policies[0].enabled = false }
        try await agent.reload(by: nil)
        host.clocks.pass(.seconds(20 * 60 + 1))
        await agent.grantsEnded()
        let denied = try await agent.request(id: 1, for: alice)
        #expect(denied.state == .denied && denied.decidedBy == nil)
        #expect(denied.decision?.contains("no longer allows") == true)
        #expect(try host.elements().isEmpty)
    }

    /// What nobody is there to be told of is made good by the agent.
    @Test(arguments: ["ledger", "kernel"]) func aFaultAtItsStart(_ faulty: String) async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(later(host))
        host.clocks.pass(.seconds(20 * 60))
        if faulty == "ledger" {
            host.store.fail(commit: .full)
        } else {
            host.kernel.fail(.apply, .arm)
        }
        await agent.grantsEnded()
        #expect(try host.elements().isEmpty)
        #expect(await agent.liveGrants == 0)
        host.store.fail(commit: nil)
        host.kernel.fail()
        if faulty == "ledger" {
            #expect(try await eventually { try host.elements().count == 1 })
            try host.expectOpen(["198.51.100.7": 10])
        } else {
            #expect(try await agent.request(id: 1, for: alice).state == .failed)
        }
    }
}

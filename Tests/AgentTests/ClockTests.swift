import API
import Access
import Ledger
import Policy
import TestSupport
import Testing

@testable import Agent

@Suite(.blocking) struct ClockTests {
    @Test func aClockSetForwardShortensAndEnds() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        try await agent.open(ask("ssh", from: "198.51.100.8", for: "30m"))
        host.clocks.setWallClock(by: .seconds(15 * 60))
        await agent.clockStepped()
        #expect(try host.stored(1) == ["expired/expired"])
        try host.expectOpen(["198.51.100.8": 15])
        #expect(try Set(host.audit("shortened").map(\.request)) == [1, 2])
        // The step is taken in once.
        await agent.clockStepped()
        try host.expectOpen(["198.51.100.8": 15])
        #expect(try host.audit("shortened").count == 2)
    }

    @Test func aClockSetBackChangesNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        for step in [-3600, 3600, -3600] {
            host.clocks.setWallClock(by: .seconds(step))
            await agent.clockStepped()
            try host.expectOpen(["198.51.100.7": 10])
        }
        host.clocks.pass(.seconds(601))
        await agent.grantsEnded()
        #expect(try host.stored(1) == ["expired/expired"])
    }

    /// What a step has taken, setting the clock back does not give again, whatever is restarted in
    /// between.
    @Test(arguments: [[], [1], [2], [1, 2]])
    func aClockSetForwardAndBackLengthensNothing(_ restarts: Set<Int>) async throws {
        let host = try Host()
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        try await agent?.open(ask("ssh", from: "198.51.100.8", for: "30m"))
        for (number, step) in [15, -15].enumerated() {
            if restarts.contains(number + 1) {
                agent = nil
                host.clocks.setWallClock(by: .seconds(60 * step))
                agent = try await host.agent()
            } else {
                host.clocks.setWallClock(by: .seconds(60 * step))
                await agent?.clockStepped()
            }
            try host.expectOpen(["198.51.100.8": 15])
        }
        #expect(try host.stored(1) == ["expired/expired"])
        #expect(try host.audit("shortened").contains { $0.request == 2 })
        // What was told is what holds when all is over.
        host.clocks.pass(.seconds(15 * 60))
        await agent?.grantsEnded()
        #expect(try host.stored(2) == ["expired/expired"])
        #expect(await agent?.liveGrants == 0)
    }

    @Test func suspendShortensTheKernelsTimeouts() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        try await agent.open(ask("ssh", from: "2001:db8::/64", for: "30m"))
        host.clocks.pass(.seconds(20 * 60))
        await agent.clockStepped()
        try host.expectOpen(["2001:db8::/64": 10])
    }
}

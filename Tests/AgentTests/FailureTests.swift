import API
import GRDB
import Gate
import Policy
import Server
import TestSupport
import Testing

@testable import Agent
@testable import Ledger

@Suite(.blocking) struct FailureTests {
    // MARK: The ledger

    @Test func opensAndExtendsNothingWithoutTheLedger() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.breakLedger()
        let opened = await problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(opened?.code == .ledgerUnavailable)
        let extended = await problem {
            try await agent.extend(request: 1, by: .seconds(600), by: alice)
        }
        #expect(extended?.code == .ledgerUnavailable)
        let replaced = await problem {
            try await agent.open(ask("ssh", from: "198.51.100.7", for: "1h"))
        }
        #expect(replaced?.code == .ledgerUnavailable)
        #expect(try host.elements().count == 1)
        expectEnd(try host.elements()[key("198.51.100.7")], of: 600_000)

        try host.mendLedger()
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        #expect(try host.stored(1) == ["active/-"])
        #expect(try host.elements().count == 2)
    }

    @Test func closesWithoutTheLedgerAndRecordsItLater() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        try host.breakLedger()
        let revoked = await problem { try await agent.revoke(request: 1, by: alice) }
        #expect(revoked?.code == .ledgerUnavailable)
        #expect(try Set(host.elements().keys) == [key("198.51.100.8")])
        #expect(try host.stored(1) == ["active/-"])

        // The time of the other ends all the same.
        host.clocks.pass(.seconds(605))
        await agent.reap()
        #expect(await agent.plan.count == 0)
        #expect(await agent.plan.nextDeadline == nil)

        try host.mendLedger()
        #expect(try await eventually { try host.stored(1) == ["revoked/closed-by-requester"] })
        #expect(try host.stored(2) == ["expired/expired"])
        try await agent.open(ask("ssh", from: "198.51.100.9"))
        #expect(await agent.unrecorded.isEmpty)
        #expect(try host.elements().count == 1)
    }

    @Test func anEndTheLedgerNeverTakesHoldsUpNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        try await host.otherConnection().write {
            try $0.execute(sql: "UPDATE grants SET state = 'expired' WHERE request = 1")
        }
        _ = try? await agent.revoke(request: 1, by: alice)
        #expect(try Set(host.elements().keys) == [key("198.51.100.8")])
        _ = try await agent.revoke(request: 2, by: alice)
        try await agent.open(ask("ssh", from: "198.51.100.9"))
        #expect(try host.elements().count == 1)
    }

    @Test func aGrantStillOnItsWayIntoTheLedgerIsNotPutIntoTheKernel() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        // The ledger is busy, and will refuse when it is free again.
        let other = try host.otherConnection()
        try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        await agent.hold()
        async let opened = problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        async let revoked = problem { try await agent.revoke(request: 1, by: alice) }
        #expect(try await eventually { await agent.waiting.count == 2 })
        async let committed: Void? = try? agent.letGo()
        #expect(try await eventually { await agent.plan[Grant.ID(request: 2, ordinal: 1)] != nil })
        try await agent.reload()
        #expect(try Set(host.elements().keys).isSubset(of: [key("198.51.100.7")]))
        try host.nft("flush", "chain", "inet", "sallyport", "prerouting")
        await agent.rulesetChanged()
        #expect(try Set(host.elements().keys).isSubset(of: [key("198.51.100.7")]))
        try await other.writeWithoutTransaction { try $0.execute(sql: refusal + "; COMMIT") }
        #expect(await opened?.code == .ledgerUnavailable)
        #expect(await revoked?.code == .ledgerUnavailable)
        await committed
        #expect(try host.elements().isEmpty)
    }

    @Test func aClockStepWhileTheLedgerIsWrittenIsNotLost() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        let other = try host.otherConnection()
        try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        await agent.hold()
        async let extended = agent.extend(request: 1, by: .seconds(1800), by: alice)
        #expect(try await eventually { await agent.waiting.count == 1 })
        async let committed: Void = agent.letGo()
        #expect(
            try await eventually {
                (await agent.plan.nextDeadline ?? 0) > host.clocks.now().boot + 4_000_000
            }
        )
        host.clocks.setWallClock(by: .seconds(1200))
        async let stepped: Void = agent.clockStepped()
        try await Task.sleep(for: .milliseconds(20))
        try await other.writeWithoutTransaction { try $0.execute(sql: "COMMIT") }
        _ = try await extended
        try await committed
        await stepped
        expectEnd(try host.elements()[key("198.51.100.7")], of: 70 * 60_000)
    }

    @Test func startsWithoutTheLedgerTakingWhatHasEnded() async throws {
        let host = try Host()
        do {
            let agent = try await host.agent()
            try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
            try await agent.open(ask("ssh", from: "198.51.100.8", for: "20m"))
        }
        host.clocks.pass(.seconds(605))
        try host.breakLedger()
        let agent = try await host.agent()
        #expect(try Set(host.elements().keys) == [key("198.51.100.8")])
        let revoked = await problem { try await agent.revoke(request: 2, by: alice) }
        #expect(revoked?.code == .ledgerUnavailable)
        #expect(try host.elements().isEmpty)
        try host.mendLedger()
        #expect(try await eventually { try host.stored(2) == ["revoked/closed-by-requester"] })
        #expect(try host.stored(1) == ["expired/expired"])
    }

    // MARK: The kernel

    @Test(
        arguments: [
            ["delete", "table", "inet", "sallyport"], ["flush", "ruleset"],
            ["flush", "set", "inet", "sallyport", "grants4_32"],
            ["flush", "chain", "inet", "sallyport", "granted"],
        ]
    )
    func theNextChangeMendsWhatOthersBroke(_ command: [String]) async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.namespace.run { _ = try shell(["nft"] + command).get() }
        // Closing the element first makes the kernel notice that it is gone.
        _ = try await agent.revoke(request: 1, by: alice)
        await agent.rulesetChanged()
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        #expect(try Set(host.elements().keys) == [key("198.51.100.8")])
        #expect(try host.managedPorts().contains(22))
        let status = try await agent.status()
        #expect(status.gate.armed)
    }

    @Test func whatOthersBreakIsMendedWithoutAChange() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false, watched: true)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.nft("delete", "table", "inet", "sallyport")
        #expect(try await eventually { (try? host.elements())?.count == 1 })
        try host.nft("flush", "set", "inet", "sallyport", "grants4_32")
        #expect(try await eventually { try host.elements().count == 1 })
        try host.nft(
            "add",
            "element",
            "inet",
            "sallyport",
            "grants4_32",
            "{ 203.0.113.9 . tcp . 22 timeout 1h }"
        )
        #expect(
            try await eventually { try Set(host.elements().keys) == [key("198.51.100.7")] }
        )
        await agent.watch.cancel()
    }

    @Test func aRefusalOfTheKernelLeavesThePlanAsItWas() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.9"))
        let end = try #require(await agent.plan.nextDeadline)
        try host.nft("delete", "table", "inet", "sallyport")
        // Another process owns the table now.
        var thief: Gate? = try host.gate()
        try host.namespace.run { [thief] in
            try thief?.arm(managed: [], breakGlass: [], plan: nil) { host.clocks.now().boot }
        }
        let opened = await problem {
            try await agent.open(
                ask("ssh", from: "198.51.100.8"),
                idempotencyKey: "k",
                by: alice
            )
        }
        #expect(opened?.code == .kernelRefused)
        #expect(try host.stored(2) == ["failed/kernel-refused"])
        let again = await problem {
            try await agent.open(
                ask("ssh", from: "198.51.100.8"),
                idempotencyKey: "k",
                by: alice
            )
        }
        #expect(again?.code == .kernelRefused)
        let extended = await problem {
            try await agent.extend(request: 1, by: .seconds(600), by: alice)
        }
        #expect(extended?.code == .kernelRefused)
        #expect(await agent.plan.count == 2)
        #expect(await agent.plan.nextDeadline == end)
        let deadlines = try await host.otherConnection().read {
            try Int64.fetchSet($0, sql: "SELECT deadline FROM grants WHERE request = 1")
        }
        #expect(deadlines == [end])
        // What is closed stays closed.
        let closed = await problem {
            try await agent.close(grant: Grant.ID(request: 1, ordinal: 2), by: alice)
        }
        #expect(closed?.code == .kernelRefused)
        #expect(try host.stored(1) == ["active/-", "revoked/closed-by-requester"])
        #expect(try await agent.status().gate.armed == false)

        thief = nil
        try host.nft("delete", "table", "inet", "sallyport")
        #expect(
            try await eventually { try (try? Set(host.elements().keys)) == [key("198.51.100.7")] }
        )
        expectEnd(try host.elements()[key("198.51.100.7")], of: end - host.clocks.now().boot)
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        #expect(try host.elements().count == 2)
    }

    @Test func aRefusedCommitOfSeveralThatTouchTheSameGrantIsTakenBackAsAWhole() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.nft("delete", "table", "inet", "sallyport")
        var thief: Gate? = try host.gate()
        try host.namespace.run { [thief] in
            try thief?.arm(managed: [], breakGlass: [], plan: nil) { host.clocks.now().boot }
        }
        await agent.hold()
        async let extended = problem {
            try await agent.extend(request: 1, by: .seconds(600), by: alice)
        }
        #expect(try await eventually { await agent.waiting.count == 1 })
        async let revoked = problem { try await agent.revoke(request: 1, by: alice) }
        async let opened = problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(try await eventually { await agent.waiting.count == 3 })
        async let replaced = problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(try await eventually { await agent.waiting.count == 4 })
        try? await agent.letGo()
        let codes = await [extended, revoked, opened, replaced].map { $0?.code }
        #expect(codes == Array(repeating: .kernelRefused, count: 4))
        #expect(await agent.plan.count == 0)
        thief = nil
        try host.nft("delete", "table", "inet", "sallyport")
        // Had an end been left that the ledger does not take, nothing could be opened again.
        #expect(try await eventually { (try? host.managedPorts())?.contains(22) == true })
        try await agent.open(ask("ssh", from: "198.51.100.9"))
        #expect(await agent.unrecorded.isEmpty)
        #expect(try host.stored(1) == ["revoked/closed-by-requester"])
        #expect(try Set(host.elements().keys) == [key("198.51.100.9")])
    }
}

import API
import Access
import GRDB
import Gate
import Ledger
import Policy
import Settings
import Synchronization
import TestSupport
import Testing

@testable import Agent

@Suite(.blocking) struct LedgerFailureTests {
    @Test func opensAndExtendsNothingWithoutTheLedger() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        #expect(try await agent.status(for: vera).ledgerFault == nil)
        host.store.fail(commit: .full)
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
        try host.expectOpen(["198.51.100.7": 10])
        #expect(try await agent.status(for: vera).ledgerFault != nil)

        host.store.fail(commit: nil)
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        #expect(try host.stored(1) == ["active/-"])
        try host.expectOpen(["198.51.100.7": 10, "198.51.100.8": 10])
        #expect(try await agent.status(for: vera).ledgerFault == nil)
    }

    @Test func closesOnAFullDiskAndRecordsItLater() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        host.store.fail(commit: .full)
        let revoked = try await agent.revoke(request: 1, by: alice)
        #expect(revoked.state == .revoked)
        try host.expectOpen(["198.51.100.8": 10])
        #expect(try host.stored(1) == ["active/-"])
        #expect(try await agent.status(for: vera).ledgerFault != nil)

        // The time of the other ends all the same.
        host.clocks.pass(.seconds(605))
        await agent.grantsEnded()
        #expect(await agent.liveGrants == 0)
        #expect(host.nextEnd == nil)

        host.store.fail(commit: nil)
        #expect(try await eventually { try host.stored(1) == ["revoked/closed-by-requester"] })
        #expect(try host.stored(2) == ["expired/expired"])
        #expect(try host.audit("ended").map(\.subject) == ["unix:1000", nil])
        #expect(try await eventually { try await agent.status(for: vera).ledgerFault == nil })
    }

    @Test func whatWasClosedOnAFullDiskIsNotOpenedByARestart() async throws {
        let host = try Host()
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("ssh", from: "198.51.100.7", "198.51.100.8", for: "30m"))
        try await agent?.open(ask("ssh", from: "198.51.100.9", for: "30m"))
        host.store.fail(commit: .full)
        _ = try await agent?.close(grant: grant(1, 2), by: alice)
        _ = try await agent?.revoke(request: 2, by: dora)
        for isFull in [true, false] {
            agent = nil
            host.store.fail(commit: isFull ? .full : nil)
            agent = try await host.agent()
            try host.expectOpen(["198.51.100.7": 30])
            #expect(await agent?.liveGrants == 1)
        }
        #expect(try host.stored(1) == ["active/-", "revoked/closed-by-requester"])
        #expect(try host.stored(2) == ["revoked/closed-by-admin"])
    }

    @Test func aCloseThatIsNotDurableSaysSo() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.fail(commit: .full, secure: .gone)
        let revoked = await problem { try await agent.revoke(request: 1, by: alice) }
        #expect(revoked?.code == .ledgerUnavailable)
        #expect(revoked?.detail.contains("closed, but") == true)
        try host.expectOpen([:])
        host.store.fail(commit: nil)
        #expect(try await eventually { try host.stored(1) == ["revoked/closed-by-requester"] })
    }

    @Test func whatWasClosedOnAFullDiskIsReadAsClosed() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8"))
        host.store.fail(commit: .full)
        // One after the other: what the ledger says of the first is not true any more.
        _ = try await agent.close(grant: grant(1, 1), by: alice)
        let half = try await agent.request(id: 1, for: alice)
        #expect(half.state == .active)
        #expect(half.grants.map(\.endReason) == [.closedByRequester, nil])
        let closed = try await agent.close(grant: grant(1, 2), by: dora)
        #expect(closed.endReason == .closedByAdmin)
        let whole = try await agent.request(id: 1, for: alice)
        #expect(whole.state == .revoked)
        #expect(whole.grants.map(\.endReason) == [.closedByRequester, .closedByAdmin])
        let live = try await agent.grants(RequestFilter(), includeEnded: false, for: alice)
        #expect(live.grants.isEmpty)
        try host.expectOpen([:])
    }

    /// What is answered follows from what was changed, and not from what can be read afterwards.
    @Test(arguments: ["close", "extend", "revoke"], ["before", "after"])
    func aChangeIsAnsweredWhereTheLedgerCannotBeRead(_ verb: String, _ when: String) async throws {
        let host = try Host()
        let agent = try await host.agent()
        let opened = try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8"))
        if when == "before" { try await host.makeUnreadable() } else { host.store.hold() }
        async let answer = {
            switch verb {
            case "close":
                let grant = try await agent.close(grant: grant(1, 1), by: alice)
                return [grant, opened.grants[1]]
            case "extend":
                return try await agent.extend(request: 1, by: .seconds(600), by: alice).grants
            default: return try await agent.revoke(request: 1, by: alice).grants
            }
        }()
        if when == "after" {
            #expect(try await eventually { host.store.held == 1 })
            try await host.makeUnreadable()
            host.store.letGo()
        }
        let grants = try await answer
        let read = await problem { try await agent.request(id: 1, for: alice) }
        #expect(read?.code == .ledgerUnavailable)
        switch verb {
        case "close":
            #expect(grants.map(\.state) == [.revoked, .active])
            try host.expectOpen(["198.51.100.8": 10])
        case "extend":
            #expect(grants.map(\.state) == [.active, .active])
            #expect(
                grants.map(\.expiresAt)
                    == opened.grants.map { $0.expiresAt.map { $0 + .seconds(600) } }
            )
            try host.expectOpen(["198.51.100.7": 20, "198.51.100.8": 20])
        default:
            #expect(grants.map(\.state) == [.revoked, .revoked])
            try host.expectOpen([:])
        }
        #expect(grants.map(\.requester.name) == ["alice", "alice"])
    }

    @Test func anEndTheLedgerNeverTakesHoldsUpNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        try await host.otherConnection().write {
            try $0.execute(sql: "DELETE FROM live WHERE id / 10000 = 1")
        }
        _ = try? await agent.revoke(request: 1, by: alice)
        try host.expectOpen(["198.51.100.8": 10])
        _ = try await agent.revoke(request: 2, by: alice)
        #expect(try host.stored(2) == ["revoked/closed-by-requester"])
        try await agent.open(ask("ssh", from: "198.51.100.9"))
        try host.expectOpen(["198.51.100.9": 10])
    }

    @Test func whatTheLedgerTakesForLiveAndIsNotHoldsUpNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await host.otherConnection().write {
            try $0.execute(
                sql: """
                    INSERT INTO live SELECT id + 1, policy, port, host, source, subject, name, via,
                        starts_at, expires_at, deadline, boot FROM live
                    """
            )
        }
        let revoked = try await agent.revoke(request: 1, by: alice)
        #expect(revoked.grants.first?.state == .revoked)
        try host.expectOpen([:])
    }

    @Test func startsOnAFullDiskWithoutWhatHasEnded() async throws {
        let host = try Host()
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        try await agent?.open(ask("ssh", from: "198.51.100.8", for: "20m"))
        agent = nil
        host.clocks.pass(.seconds(600))
        host.store.fail(commit: .full)
        agent = try await host.agent()
        try host.expectOpen(["198.51.100.8": 10])
        #expect(try await agent?.status(for: vera).ledgerFault != nil)
        _ = try await agent?.revoke(request: 2, by: alice)
        try host.expectOpen([:])
        host.store.fail(commit: nil)
        #expect(try await eventually { try host.stored(2) == ["revoked/closed-by-requester"] })
        #expect(try host.stored(1) == ["expired/expired"])
    }

    @Test func aFaultThatLastsIsLoggedOnceAndThenRarely() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.fail(commit: .full, secure: .full)
        func close() async { _ = await problem { try await agent.revoke(request: 1, by: alice) } }
        for _ in 1...3 {
            await close()
            await agent.grantsEnded()
        }
        #expect(host.log.errors.count == 2)
        host.clocks.pass(.seconds(600))
        await agent.grantsEnded()
        #expect(host.log.errors.count == 4)
        // What comes again after it was over is told again.
        host.store.fail(commit: nil)
        await agent.grantsEnded()
        host.store.fail(commit: .full, secure: .full)
        _ = await problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(host.log.errors.count == 6)
    }

    // MARK: While the disk is at work

    @Test func aGrantStillOnItsWayIntoTheLedgerIsNotPutIntoTheKernel() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.hold()
        async let opened = problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(try await eventually { host.store.held == 1 })
        #expect(await agent.committer.plan[grant(2)] != nil)
        try host.changeConfiguration { $0.policies.removeLast() }
        async let reloaded: Void = agent.reload(by: nil)
        #expect(try await eventually { try host.managedPorts() == [22] })
        try host.expectOpen(["198.51.100.7": 10])
        try host.nft("delete", "table", "inet", "sallyport")
        async let mended: Void = agent.rulesetChanged()
        #expect(try await eventually { (try? host.managedPorts()) == [22] })
        try host.expectOpen(["198.51.100.7": 10])
        host.store.fail(commit: .full)
        host.store.letGo()
        #expect(await opened?.code == .ledgerUnavailable)
        await mended
        try await reloaded
        try host.expectOpen(["198.51.100.7": 10])
    }

    @Test func whatIsClosedInTheSameCommitAsAnOpenThatFailsIsClosed() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        host.store.hold()
        async let first = problem { try await agent.open(ask("ssh", from: "198.51.100.9")) }
        #expect(try await eventually { host.store.held == 1 })
        async let opened = problem { try await agent.open(ask("ssh", from: "198.51.100.10")) }
        async let revoked = agent.revoke(request: 1, by: alice)
        #expect(try await eventually { await agent.waiting == 2 })
        host.store.fail(commit: .full)
        host.store.letGo()
        #expect(await first?.code == .ledgerUnavailable)
        #expect(await opened?.code == .ledgerUnavailable)
        #expect(try await revoked.state == .revoked)
        try host.expectOpen(["198.51.100.8": 10])
    }

    /// It was to make room for a request that came to nothing: closing it must not come to nothing,
    /// too.
    @Test func whatWasToMakeRoomCanBeClosedInTheSameCommit() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        host.store.hold()
        async let first = problem { try await agent.open(ask("ssh", from: "198.51.100.9")) }
        #expect(try await eventually { host.store.held == 1 })
        async let shorter = problem { try await agent.open(ask("ssh", from: "198.51.100.7")) }
        #expect(try await eventually { await agent.waiting == 1 })
        async let revoked = agent.revoke(request: 1, by: alice)
        #expect(try await eventually { await agent.waiting == 2 })
        host.store.fail(commit: .full)
        host.store.letGo()
        _ = await (first, shorter)
        #expect(try await revoked.state == .revoked)
        try host.expectOpen([:])
    }

    @Test func aClockStepWhileTheLedgerIsWrittenIsNotLost() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        host.store.hold()
        async let extended = agent.extend(request: 1, by: .seconds(1800), by: alice)
        #expect(try await eventually { host.store.held == 1 })
        host.clocks.setWallClock(by: .seconds(1200))
        async let stepped: Void = agent.clockStepped()
        #expect(try await eventually { await agent.waiting == 1 })
        host.store.letGo()
        _ = try await extended
        await stepped
        try host.expectOpen(["198.51.100.7": 70])
    }
}

@Suite(.blocking) struct KernelFailureTests {
    /// Others can change the table where the kernel does not keep them out.
    @Test(
        arguments: [
            (["delete", "table", "inet", "sallyport"], "open"), (["flush", "ruleset"], "close"),
            (["flush", "set", "inet", "sallyport", "grants4_32"], "close"),
        ]
    )
    func theNextChangeMendsWhatOthersBroke(_ command: [String], _ change: String) async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8"))
        try host.nft(command)
        if change == "open" {
            try await agent.open(ask("ssh", from: "198.51.100.9"))
            try host.expectOpen([
                "198.51.100.7": 10, "198.51.100.8": 10, "198.51.100.9": 10,
            ])
        } else {
            _ = try await agent.close(grant: grant(1, 1), by: alice)
            try host.expectOpen(["198.51.100.8": 10])
        }
        #expect(try host.managedPorts().contains(22))
        #expect(try await agent.status(for: vera).gate.armed)
    }

    @Test(
        arguments: [
            ["delete", "table", "inet", "sallyport"], ["flush", "ruleset"],
            ["flush", "set", "inet", "sallyport", "grants4_32"],
            ["flush", "chain", "inet", "sallyport", "judge"],
            ["add", "element", "inet", "sallyport", "grants4_32"]
                + ["{ 203.0.113.9 . tcp . 22 timeout 1h }"],
        ]
    )
    func whatOthersBreakIsMendedWithoutAChange(_ command: [String]) async throws {
        let host = try Host()
        let gate = try host.gate(owning: false)
        let monitor = try host.monitor(besides: gate)
        let agent = try await host.agent(gate: gate)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        #expect(!(monitor.tampering() != nil))
        try host.nft(command)
        #expect(try await eventually { (monitor.tampering() != nil) })
        await agent.rulesetChanged()
        try host.expectOpen(["198.51.100.7": 10])
        #expect(try await agent.status(for: vera).gate.armed)
        // Its own mending is no news.
        #expect(!(monitor.tampering() != nil))
    }

    @Test func whatOthersBreakIsMendedAlsoWhereItCannotBeReadBack() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.nft("delete", "table", "inet", "sallyport")
        host.kernel.fail(.inspect)
        await agent.rulesetChanged()
        try host.expectOpen(["198.51.100.7": 10])
    }

    @Test func aRefusalOfTheKernelLeavesThePlanAsItWas() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.9"))
        let end = try #require(await agent.committer.plan.nextDeadline)
        var thief: Gate? = try host.stealTable()
        let asked = ask("ssh", from: "198.51.100.8")
        let opened = await problem { try await agent.opened(asked, key: "k") }
        #expect(opened?.code == .kernelRefused)
        #expect(try host.stored(2) == ["failed/kernel-refused"])
        let again = await problem { try await agent.opened(asked, key: "k") }
        #expect(again?.code == .kernelRefused)
        #expect(again?.detail.contains("new key") == true)
        let extended = await problem {
            try await agent.extend(request: 1, by: .seconds(600), by: alice)
        }
        #expect(extended?.code == .kernelRefused)
        #expect(await agent.liveGrants == 2)
        #expect(await agent.committer.plan.nextDeadline == end)
        let deadlines = try await host.otherConnection().read {
            try Int64.fetchSet($0, sql: "SELECT deadline FROM live")
        }
        #expect(deadlines == [end.milliseconds])
        // What is closed stays closed.
        let closed = await problem { try await agent.close(grant: grant(1, 2), by: alice) }
        #expect(closed?.code == .kernelRefused)
        #expect(try host.stored(1) == ["active/-", "revoked/closed-by-requester"])
        #expect(try await agent.status(for: vera).gate.armed == false)
        withExtendedLifetime(thief) {}

        thief = nil
        try host.nft("delete", "table", "inet", "sallyport")
        #expect(try await eventually { (try? host.elements().count) == 1 })
        try host.expectOpen(["198.51.100.7": 10])
        try await agent.open(asked)
        try host.expectOpen(["198.51.100.7": 10, "198.51.100.8": 10])
    }

    @Test func aRefusedCommitOfSeveralThatTouchTheSameGrantIsTakenBackAsAWhole() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.hold()
        async let first = problem { try await agent.open(ask("ssh", from: "198.51.100.1")) }
        #expect(try await eventually { host.store.held == 1 })
        async let extended = problem {
            try await agent.extend(request: 1, by: .seconds(600), by: alice)
        }
        #expect(try await eventually { await agent.waiting == 1 })
        async let revoked = problem { try await agent.revoke(request: 1, by: alice) }
        async let opened = problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(try await eventually { await agent.waiting == 3 })
        async let replaced = problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(try await eventually { await agent.waiting == 4 })
        host.kernel.fail(.apply, .arm)
        host.store.letGo()
        let codes = await [first, extended, revoked, opened, replaced].map { $0?.code }
        #expect(codes == Array(repeating: .kernelRefused, count: 5))
        #expect(await agent.liveGrants == 0)
        host.kernel.fail()
        // Had an end been left that the ledger does not take, nothing could be opened again.
        try await agent.open(ask("ssh", from: "198.51.100.9"))
        #expect(try host.stored(1) == ["revoked/closed-by-requester"])
        try host.expectOpen(["198.51.100.9": 10])
    }

    @Test func twoExtensionsThatTheKernelRefusesAreBothTakenBack() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.hold()
        async let first = problem { try await agent.open(ask("ssh", from: "198.51.100.1")) }
        #expect(try await eventually { host.store.held == 1 })
        async let once = problem {
            try await agent.extend(request: 1, by: .seconds(600), by: alice)
        }
        async let twice = problem {
            try await agent.extend(request: 1, by: .seconds(600), by: alice)
        }
        #expect(try await eventually { await agent.waiting == 2 })
        host.kernel.fail(.apply, .arm)
        host.store.letGo()
        let codes = await [first, once, twice].map { $0?.code }
        #expect(codes == Array(repeating: .kernelRefused, count: 3))
        host.kernel.fail()
        await agent.clockStepped()
        try host.expectOpen(["198.51.100.7": 10])
        let end = try #require(await agent.committer.plan[grant(1)]?.end.deadline)
        let recorded = try await host.otherConnection().read {
            try Int64.fetchSet($0, sql: "SELECT deadline FROM live")
        }
        #expect(recorded == [end.milliseconds])
    }

    @Test func aReadThatSharesACommitWithARefusalIsAnsweredAsIfAlone() async throws {
        let host = try Host()
        let agent = try await host.agent()
        _ = try await agent.opened(ask("ssh", from: "198.51.100.7"), key: "k")
        host.store.hold()
        async let first = problem { try await agent.open(ask("ssh", from: "198.51.100.1")) }
        #expect(try await eventually { host.store.held == 1 })
        async let repeated = agent.opened(ask("ssh", from: "198.51.100.7"), key: "k")
        async let opened = problem { try await agent.open(ask("ssh", from: "198.51.100.2")) }
        #expect(try await eventually { await agent.waiting == 2 })
        host.kernel.fail(.apply, .arm)
        host.store.letGo()
        #expect(await first?.code == .kernelRefused)
        #expect(await opened?.code == .kernelRefused)
        #expect(try await repeated.request.state == .active)
    }

    /// An extension that was recorded and that the kernel did not take must not come back, though
    /// that could not be recorded.
    @Test(arguments: [true, false])
    func anExtensionThatCouldNotBeTakenBackInTheLedgerStaysTakenBack(
        _ boots: Bool
    ) async throws {
        let host = try Host()
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("ssh", from: "198.51.100.7"))
        host.kernel.fail(.apply, .arm)
        let commits = Mutex(0)
        host.store.chance.withLock {
            $0 = {
                let isFirst = commits.withLock { count in
                    count += 1
                    return count == 1
                }
                return StoreFaults.Outcome(commitFault: isFirst ? nil : .full)
            }
        }
        let refused = await problem {
            try await agent?.extend(request: 1, by: .seconds(1200), by: alice)
        }
        #expect(refused?.code == .kernelRefused)
        #expect(commits.withLock(\.self) > 1)
        agent = nil
        host.kernel.fail()
        if boots {
            try await host.waitUntilAgentIsGone()
            try host.nft("delete", "table", "inet", "sallyport")
            host.clocks.reboot()
        }
        for isFull in [true, false] {
            host.store.chance.withLock {
                $0 = { StoreFaults.Outcome(commitFault: isFull ? .full : nil) }
            }
            agent = nil
            agent = try await host.agent()
            try host.expectOpen(["198.51.100.7": 10])
        }
        #expect(try host.audit("extension-taken-back").count == 1)
        agent = nil
        agent = try await host.agent()
        try host.expectOpen(["198.51.100.7": 10])
    }

    /// The kernel took it, and said nothing, or that it did not.
    @Test func whatTheKernelTookWithoutSayingSoIsReadBack() async throws {
        let host = try Host()
        let agent = try await host.agent()
        host.kernel.fail(.apply, as: .outcomeUnknown)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.expectOpen(["198.51.100.7": 10])
        host.kernel.fail(.apply, .arm, as: .outcomeUnknown)
        let opened = await problem { try await agent.open(ask("ssh", from: "198.51.100.8")) }
        #expect(opened?.code == .kernelRefused)
        host.kernel.fail()
        #expect(try await eventually { try host.elements().count == 1 })
        try host.expectOpen(["198.51.100.7": 10])
    }
}

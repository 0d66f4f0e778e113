import API
import Access
import FoundationEssentials
import Ledger
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Agent
@testable import Settings

/// Policies that are applied, and rolled back unless somebody confirms them.
@Suite(.blocking) struct TrialTests {
    private let files: TemporaryFolder
    private let host: Host
    private static let old = """
        # By hand.
        policies:
          - { name: ssh, ports: [22/tcp] }
          - { name: winrm, ports: [5985-5986/tcp] }

        """
    /// Without winrm, and ssh for others.
    private static let new = """
        policies:
          - { name: ssh, ports: [22/tcp], allowed_sources: [203.0.113.0/24], max_duration: 1h }
          - { name: db, ports: [5432/tcp] }

        """

    init() throws {
        files = try TemporaryFolder([
            "sallyport.yaml": """
            roles: { admin: [dora], requester: [alice, bob], viewer: [vera] }
            """,
            "policy.d/all.yaml": Self.old,
            "policy.d/notes.txt": "kept",
        ])
        host = try Host(files: files)
    }

    private func text(_ name: String) -> String? {
        try? String(contentsOfFile: "\(files.path)/policy.d/\(name)", encoding: .utf8)
    }

    private func expectOld(_ agent: Agent, at place: SourceLocation = #_sourceLocation) async throws
    {
        #expect(text("all.yaml") == Self.old, sourceLocation: place)
        #expect(text("new.yaml") == nil, sourceLocation: place)
        #expect(text("notes.txt") == "kept", sourceLocation: place)
        #expect(try host.managedPorts() == [22, 5985, 5986], sourceLocation: place)
        let status = try await agent.status(for: dora)
        #expect(status.unconfirmed == nil, sourceLocation: place)
        #expect(status.policies.map(\.name) == ["ssh", "winrm"], sourceLocation: place)
        #expect(try host.start().trial == nil, sourceLocation: place)
    }

    private func expectNew(_ agent: Agent, at place: SourceLocation = #_sourceLocation) async throws
    {
        #expect(text("all.yaml") == nil, sourceLocation: place)
        #expect(text("new.yaml") == Self.new, sourceLocation: place)
        #expect(try host.managedPorts() == [22, 5432], sourceLocation: place)
    }

    @Test func appliedForGoodIsOnTheDiskInForceAndInTheAuditTrail() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("winrm", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "203.0.113.7"))
        let change = try await agent.apply(Self.new)
        #expect(change.changes.count == 3)
        #expect(change.changes.contains("winrm is gone"))
        #expect(change.endedGrants == ["1.1", "2.1"])
        #expect(change.confirmUntil == nil)
        #expect(change.warning?.hasPrefix("OPEN TO EVERYBODY: 5985-5986/tcp") == true)
        try await expectNew(agent)
        try host.expectOpen(["203.0.113.7": 10])
        #expect(host.remembered.withLock { $0?.policies.map(\.name) } == ["ssh", "db"])
        let row = try #require(try host.audit("policies-applied").first)
        #expect(row.subject == "unix:1002")
        #expect(row.detail?.contains("max_duration 3h -> 1h") == true)
        #expect(row.detail?.contains("5985-5986/tcp no longer managed") == true)
        #expect(try host.start().trial == nil)
        // The same once more is no change.
        #expect(try await agent.apply(Self.new, within: .seconds(60)).confirmUntil == nil)
        #expect(try await agent.status(for: dora).unconfirmed == nil)
    }

    @Test func whatIsNotConfirmedInTimeIsRolledBackWithItsGrants() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("winrm", from: "198.51.100.7"))
        let change = try await agent.apply(Self.new, within: .seconds(60))
        #expect(change.endedGrants == [])
        try await expectNew(agent)
        let unconfirmed = try #require(try await agent.status(for: vera).unconfirmed)
        #expect(unconfirmed.change == .policies && unconfirmed.by == "dora")
        #expect(unconfirmed.until == change.confirmUntil)
        #expect(host.remembered.withLock(\.self) == nil)
        let end = try #require(host.nextEnd)
        #expect((end - host.clocks.now().boot).wholeMilliseconds <= 60_000)
        try await agent.open(ask("db", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "203.0.113.7"))
        host.clocks.pass(.seconds(30))
        await agent.grantsEnded()
        try await expectNew(agent)
        host.clocks.pass(.seconds(31))
        await agent.grantsEnded()
        try await expectOld(agent)
        // What only the new policies allowed is over, and nothing else.
        try host.expectOpen([
            "198.51.100.7": 10, "198.51.100.7 5985": 10, "198.51.100.7 5986": 10,
            "203.0.113.7": 10,
        ])
        #expect(try host.stored(3) == ["revoked/policy-changed"])
        let row = try #require(try host.audit("policies-rolled-back").first)
        #expect(row.subject == nil)
        #expect(row.detail?.contains("the change by dora was not confirmed in time") == true)
        // Nothing is left to wait for.
        try await agent.apply(Self.new)
    }

    @Test func whatIsConfirmedStaysAndEndsWhatItDoesNotAllow() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.apply(Self.new, within: .seconds(60))
        try host.expectOpen(["198.51.100.7": 10])
        let confirmed = try await agent.confirm(by: dora)
        #expect(confirmed.confirmed == .policies)
        #expect(confirmed.endedGrants == ["1.1"])
        try host.expectOpen([:])
        host.clocks.pass(.seconds(120))
        await agent.grantsEnded()
        try await expectNew(agent)
        #expect(host.remembered.withLock { $0?.policies.map(\.name) } == ["ssh", "db"])
        #expect(try host.audit("policies-confirmed").map(\.subject) == ["unix:1002"])
        let twice = await problem { try await agent.confirm(by: dora) }
        #expect(twice?.code == .wrongState)
    }

    @Test func nothingElseChangesBeforeTheConfirmation() async throws {
        let agent = try await host.agent()
        try await agent.apply(Self.new, within: .seconds(60))
        let definition = JSONValue.object([.init("ports", .list([.text("22/tcp")]))])
        let terms = ChangeTerms(isForced: true)
        for refused in [
            await problem { try await agent.apply(Self.old) },
            await problem { try await agent.apply(Self.old, within: .seconds(5)) },
            await problem { try await agent.reload(on: terms, by: dora) },
            await problem {
                try await agent.change(
                    policy: "ssh",
                    to: definition,
                    if: .none,
                    on: terms,
                    by: dora
                ).document
            },
            await problem {
                try await agent.change(policy: "db", to: nil, if: .none, on: terms, by: dora)
                    .document
            },
        ] {
            #expect(refused?.code == .changeUnconfirmed)
            #expect(refused?.detail.contains("sallyport policy confirm") == true)
        }
        try await expectNew(agent)
        // The clocks may say so before the timer does.
        host.clocks.pass(.seconds(61))
        let late = await problem { try await agent.confirm(by: dora) }
        #expect(late?.code == .wrongState)
        await agent.grantsEnded()
        try await expectOld(agent)
    }

    @Test(arguments: [Duration.seconds(61), .seconds(3_600)])
    func aStepOfTheWallClockDoesNotMakeItWaitLonger(step: Duration) async throws {
        let agent = try await host.agent()
        try await agent.apply(Self.new, within: .seconds(60))
        host.clocks.setWallClock(by: .zero - step)
        await agent.clockStepped()
        try await expectNew(agent)
        host.clocks.pass(.seconds(60))
        await agent.grantsEnded()
        try await expectOld(agent)
        try await agent.apply(Self.new, within: .seconds(60))
        host.clocks.setWallClock(by: step)
        await agent.clockStepped()
        try await expectOld(agent)
    }

    enum Interval: CaseIterable {
        case within, after, rebootWithin, rebootAfter, rebootWithClockLost
    }

    @Test(arguments: Interval.allCases)
    func anAgentThatDiesInBetweenStillRollsBack(_ interval: Interval) async throws {
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("winrm", from: "198.51.100.7"))
        try await agent?.apply(Self.new, within: .seconds(60))
        agent = nil
        switch interval {
        case .within: host.clocks.pass(.seconds(30))
        case .after: host.clocks.pass(.seconds(61))
        case .rebootWithin, .rebootAfter:
            host.clocks.pass(.seconds(interval == .rebootWithin ? 30 : 61))
            host.clocks.reboot()
        case .rebootWithClockLost:
            host.clocks.setWallClock(by: .seconds(-1_000_000))
            host.clocks.reboot()
        }
        let next = try await host.restarted()
        switch interval {
        case .within, .rebootWithin:
            try await expectNew(next)
            #expect(try await next.status(for: dora).unconfirmed != nil)
            host.clocks.pass(.seconds(31))
            await next.grantsEnded()
        case .after, .rebootAfter, .rebootWithClockLost: break
        }
        try await expectOld(next)
        #expect(try host.audit("policies-rolled-back").count == 1)
        if interval != .rebootWithClockLost {
            #expect(try host.stored(1).allSatisfy { $0 == "active/-" })
        }
    }

    /// A crash while the files are written leaves some of them.
    @Test func aChangeThatWasNotFinishedIsUndoneAtTheNextStart() async throws {
        var agent: Agent? = try await host.agent()
        let configuration = try #require(await agent?.committer.configuration)
        let change = try configuration.replacingPolicies(with: ["new.yaml": Self.new])
        let trial = Trial(
            of: Trial.Policies(of: change, sparing: [], keepingGrants: false),
            for: nil,
            by: "dora",
            at: host.clocks.now(),
            bootID: host.clocks.bootID
        )
        try host.keep(trial)
        try Self.new.write(
            toFile: files.path + "/policy.d/new.yaml",
            atomically: false,
            encoding: .utf8
        )
        agent = nil
        let next = try await host.restarted()
        try await expectOld(next)
        #expect(
            try host.audit("policies-rolled-back").first?.detail?.contains("was not finished")
                == true
        )
    }

    @Test func filesThatWereEditedInTheirPlaceAreTriedAndKeptBeside() async throws {
        let agent = try await host.agent()
        let path = files.path + "/policy.d/all.yaml"
        try Self.new.write(toFile: path, atomically: false, encoding: .utf8)
        // Others than those would be lost.
        let lost = await problem { try await agent.apply(Self.old + "# once more\n") }
        #expect(lost?.code == .wrongState)
        let change = try await agent.apply(Self.new, as: "all.yaml", within: .seconds(60))
        #expect(change.confirmUntil != nil)
        #expect(try host.managedPorts() == [22, 5432])
        host.clocks.pass(.seconds(60))
        await agent.grantsEnded()
        try await expectOld(agent)
        #expect(text("all.yaml.rolled-back") == Self.new)
    }

    @Test func whatIsEditedMeanwhileIsKeptBesideAlsoByAStart() async throws {
        var agent: Agent? = try await host.agent()
        try await agent?.apply(Self.new, within: .seconds(60))
        agent = nil
        for name in ["new.yaml", "mine.yaml"] {
            try "# \(name)".write(
                toFile: files.path + "/policy.d/\(name)",
                atomically: false,
                encoding: .utf8
            )
        }
        let next = try await host.restarted()
        try await expectNew(next)
        #expect(text("mine.yaml") == nil)
        for name in ["new.yaml", "mine.yaml"] {
            #expect(text("\(name).rolled-back") == "# \(name)")
        }
    }

    @Test func everyFaultIsNamedAndNothingChanges() async throws {
        let agent = try await host.agent()
        let refused = await problem {
            try await agent.apply(
                "policies:\n  - { name: ssh, ports: [22/tcp, x], aprovals: 1 }\n",
                within: .seconds(60)
            )
        }
        #expect(refused?.code == .configurationInvalid)
        #expect(refused?.violations?.count == 2)
        #expect(refused?.violations?.allSatisfy { $0.field.hasPrefix("new.yaml:2:") } == true)
        for name in ["../all.yaml", ".all.yaml", "all.yml", "a/b.yaml", ""] {
            let refused = await problem { try await agent.apply(Self.new, as: name) }
            #expect(refused?.code == .configurationInvalid, "\(name)")
        }
        #expect(try host.audit("configuration-refused").count == 6)
        try await expectOld(agent)
    }

    @Test func whatCannotBeWrittenOrArmedChangesNothing() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("winrm", from: "198.51.100.7"))
        for within in [nil, Duration.seconds(60)] {
            host.isStateUnwritable.withLock { $0 = true }
            let unkept = await problem { try await agent.apply(Self.new, within: within) }
            #expect(unkept?.code == .configurationNotWritten)
            host.isStateUnwritable.withLock { $0 = false }
            try await expectOld(agent)
            host.kernel.fail(.arm)
            let refused = await problem { try await agent.apply(Self.new, within: within) }
            #expect(refused?.code == .kernelRefused)
            host.kernel.fail()
            try await agent.committer.reassert()
            try await expectOld(agent)
        }
        try host.expectOpen(["198.51.100.7 5985": 10, "198.51.100.7 5986": 10])
    }

    @Test func aRollbackThatFailsIsTriedAgain() async throws {
        let agent = try await host.agent()
        try await agent.apply(Self.new, within: .seconds(60))
        host.clocks.pass(.seconds(60))
        host.kernel.fail(.arm)
        await agent.grantsEnded()
        #expect(try await agent.status(for: dora).unconfirmed != nil)
        host.kernel.fail()
        #expect(
            try await eventually {
                try await agent.status(for: dora).unconfirmed == nil && text("new.yaml") == nil
            }
        )
        try await expectOld(agent)
    }

    /// Each end of a grant leads to an attempt, of which one goes on.
    @Test func attemptsToRollBackDoNotAddUp() async throws {
        let agent = try await host.agent()
        try await agent.apply(Self.new, within: .seconds(60))
        host.clocks.pass(.seconds(60))
        final class Counter: Sendable { let count = Mutex(0) }
        let armings = Counter()
        host.kernel.fault.withLock {
            $0 = { call in
                guard call == .arm else { return nil }
                armings.count.withLock { $0 += 1 }
                return .refused
            }
        }
        for _ in 0..<30 { await agent.grantsEnded() }
        let before = armings.count.withLock(\.self)
        #expect(try await eventually { armings.count.withLock(\.self) > before })
        try await Task.sleep(for: .milliseconds(500))
        // That of one attempt, of putting back what was there, and of healing.
        #expect(armings.count.withLock(\.self) - before <= 15)
        #expect(host.log.errors.count { $0.contains("cannot roll back") } == 1)
        host.kernel.fail()
        #expect(try await eventually { try await agent.status(for: dora).unconfirmed == nil })
    }

    /// What is in force is the old one at once, what only the tried policies allowed ends then.
    @Test func aRollbackThatCannotBeWrittenIsTriedAgainAndEndsTheSame() async throws {
        let agent = try await host.agent()
        try await agent.apply(Self.new, within: .seconds(60))
        try await agent.open(ask("db", from: "198.51.100.7"))
        let path = files.path + "/policy.d/all.yaml"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        host.clocks.pass(.seconds(60))
        await agent.grantsEnded()
        #expect(try await agent.status(for: dora).unconfirmed != nil)
        #expect(try host.managedPorts() == [22, 5985, 5986])
        try FileManager.default.removeItem(atPath: path)
        #expect(
            try await eventually { try await agent.status(for: dora).unconfirmed == nil }
        )
        #expect(try await eventually { try host.stored(1) == ["revoked/policy-changed"] })
        try await expectOld(agent)
        let row = try #require(try host.audit("policies-rolled-back").first)
        #expect(row.detail?.contains("db is gone") == true)
    }

    // MARK: Who would lock themselves out

    private static let session = "198.51.100.7 52044 192.0.2.1 22"

    private func terms(force: Bool = false) throws -> ChangeTerms {
        ChangeTerms(session: try OwnSession(parsing: Self.session), isForced: force)
    }

    @Test func aChangeThatClosesTheCallersOwnPortIsRefused() async throws {
        let agent = try await host.agent()
        let session = try OwnSession(parsing: Self.session)
        host.kernel.shells.withLock { _ = $0.insert(session) }
        try await agent.open(ask("ssh", from: "198.51.100.0/24"))
        let definition = JSONValue.object([
            .init("ports", .list([.text("22/tcp")])),
            .init("allowed_sources", .list([.text("203.0.113.0/24")])),
        ])
        func set(_ terms: ChangeTerms) async throws -> PolicyChangeDocument {
            try await agent.change(policy: "ssh", to: definition, if: .none, on: terms, by: dora)
                .document
        }
        for refused in [
            await problem { try await set(terms()) },
            await problem { try await agent.apply(Self.new, on: terms()) },
        ] {
            #expect(refused?.code == .wouldLockOut)
            #expect(refused?.detail.contains("22/tcp to 198.51.100.7") == true)
            #expect(refused?.detail.contains("--force") == true)
            #expect(refused?.detail.contains("break_glass") == true)
        }
        try await expectOld(agent)
        // Grants that go on let in, a session that is none is nobody's, and who insists may.
        var keeping = try terms()
        keeping.keepsGrants = true
        _ = try await set(keeping)
        host.kernel.shells.withLock { $0 = [] }
        _ = try await set(terms())
        #expect(try host.stored(1) == ["active/-"])
    }

    /// The own session goes to an address of this host that the policy takes for one behind it.
    @Test func aPolicyOfHostsThatNamesThisHostIsRefused() async throws {
        let agent = try await host.agent()
        host.kernel.shells.withLock { [session = try OwnSession(parsing: Self.session)] in
            _ = $0.insert(session)
        }
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        func add(_ hosts: String) async -> Problem? {
            let definition = JSONValue.object([
                .init("ports", .list([.text("22/tcp")])), .init("hosts", .list([.text(hosts)])),
            ])
            return await problem {
                try await agent.change(
                    policy: "lab",
                    to: definition,
                    if: .none,
                    on: terms(),
                    by: dora
                )
            }
        }
        let refused = await add("192.0.2.0/24")
        #expect(refused?.code == .wouldLockOut)
        #expect(refused?.detail.contains("open it first") == false)
        #expect(await add("192.0.3.0/24") == nil)
    }

    @Test func whoInsistsMay() async throws {
        let agent = try await host.agent()
        let session = try OwnSession(parsing: Self.session)
        host.kernel.shells.withLock { _ = $0.insert(session) }
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let change = try await agent.apply(Self.new, on: terms(force: true))
        #expect(change.endedGrants == ["1.1"])
        let row = try #require(try host.audit("policies-applied").first)
        #expect(row.detail?.hasSuffix("; with --force") == true)
    }

    @Test func aReloadThatMakesTheCallersPortManagedIsRefused() async throws {
        let path = files.path + "/policy.d/all.yaml"
        try "policies: [{ name: winrm, ports: [5985/tcp] }]".write(
            toFile: path,
            atomically: false,
            encoding: .utf8
        )
        let agent = try await host.agent()
        let session = try OwnSession(parsing: Self.session)
        host.kernel.shells.withLock { _ = $0.insert(session) }
        try Self.old.write(toFile: path, atomically: false, encoding: .utf8)
        let refused = await problem { try await agent.reload(on: terms(), by: dora) }
        #expect(refused?.code == .wouldLockOut)
        #expect(try host.managedPorts() == [5985])
        try """
        roles: { admin: [dora], requester: [alice], viewer: [vera] }
        break_glass: { sources: [198.51.100.0/28] }
        """.write(toFile: files.path + "/sallyport.yaml", atomically: false, encoding: .utf8)
        _ = try await agent.reload(on: terms(), by: dora)
        #expect(try host.managedPorts() == [22, 5985, 5986])
        // It is closed already: nothing is lost by another reload.
        try "roles: { admin: [dora], requester: [alice], viewer: [vera] }".write(
            toFile: files.path + "/sallyport.yaml",
            atomically: false,
            encoding: .utf8
        )
        let shut = await problem { try await agent.reload(on: terms(), by: dora) }
        #expect(shut?.code == .wouldLockOut)
        _ = try await agent.reload(on: terms(force: true), by: dora)
        _ = try await agent.reload(on: terms(), by: dora)
    }

    // MARK: Arming

    @Test func aDisarmedGateIsGoneForRequestsAndRestartsUntilItIsArmed() async throws {
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("ssh", from: "198.51.100.7"))
        try await agent?.open(ask("ssh", from: "198.51.100.8"))
        let status = try #require(try await agent?.disarm(by: dora))
        #expect(!status.gate.armed)
        #expect(status.gate.disarmed?.by == "dora")
        #expect(try host.tableIsGone())
        let refused = await problem { try await agent?.opened(ask("ssh", from: "198.51.100.9")) }
        #expect(refused?.code == .gateDisarmed)
        let preview = await problem {
            try await agent?.preview(ask("ssh", from: "198.51.100.9"), for: alice)
        }
        #expect(preview?.code == .gateDisarmed)
        let longer = await problem {
            try await agent?.extend(request: 1, by: .seconds(60), by: alice)
        }
        #expect(longer?.code == .gateDisarmed)
        _ = try await agent?.revoke(request: 2, by: alice)
        #expect(try host.stored(2) == ["revoked/closed-by-requester"])
        await agent?.rulesetChanged()
        await agent?.clockStepped()
        try await agent?.reload(by: nil)
        #expect(await agent?.beat() == true)
        #expect(try host.tableIsGone())
        agent = nil
        let next = try await host.restarted()
        #expect(try host.tableIsGone())
        #expect(try await next.status(for: alice).gate.disarmed?.by == "dora")
        #expect(try await next.arm(on: ChangeTerms(), by: dora).gate.armed)
        try host.expectOpen(["198.51.100.7": 10])
        try await next.open(ask("ssh", from: "198.51.100.9"))
        #expect(
            try host.audit().map(\.event).filter { $0.hasSuffix("armed") } == ["disarmed", "armed"]
        )
        #expect(try host.audit("disarmed").first?.detail?.contains("22/tcp") == true)
        #expect(try host.start().disarmed == nil)
        // Armed it is already.
        _ = try await next.arm(on: ChangeTerms(), by: dora)
        #expect(try host.audit("armed").count == 1)
    }

    @Test func aGateThatCannotBeDisarmedStays() async throws {
        let agent = try await host.agent()
        host.isStateUnwritable.withLock { $0 = true }
        let unkept = await problem { try await agent.disarm(by: dora) }
        #expect(unkept?.code == .configurationNotWritten)
        host.isStateUnwritable.withLock { $0 = false }
        host.kernel.fail(.disarm)
        let refused = await problem { try await agent.disarm(by: dora) }
        #expect(refused?.code == .kernelRefused)
        host.kernel.fail()
        host.store.fail(commit: .full)
        let unrecorded = await problem { try await agent.disarm(by: dora) }
        #expect(unrecorded?.code == .ledgerUnavailable)
        host.store.fail(commit: nil)
        #expect(try await agent.status(for: dora).gate.armed)
        #expect(try host.start().disarmed == nil)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
    }

    @Test func anArmingThatIsNotConfirmedIsUndone() async throws {
        var agent: Agent? = try await host.agent()
        _ = try await agent?.disarm(by: dora)
        let session = try OwnSession(parsing: Self.session)
        host.kernel.shells.withLock { _ = $0.insert(session) }
        var terms = try terms()
        terms.confirmWithin = .seconds(60)
        let refused = await problem { [terms] in try await agent?.arm(on: terms, by: dora) }
        #expect(refused?.code == .wouldLockOut)
        terms.isForced = true
        let armed = try #require(try await agent?.arm(on: terms, by: dora))
        #expect(armed.gate.armed)
        #expect(armed.unconfirmed?.change == .arming)
        host.clocks.pass(.seconds(61))
        await agent?.grantsEnded()
        #expect(try host.tableIsGone())
        #expect(try await agent?.status(for: dora).unconfirmed == nil)
        // Also where the agent was not there.
        _ = try await agent?.arm(on: terms, by: dora)
        agent = nil
        host.clocks.pass(.seconds(61))
        var next: Agent? = try await host.restarted()
        #expect(try host.tableIsGone())
        #expect(try await next?.status(for: dora).gate.disarmed?.by == nil)
        _ = try await next?.arm(on: terms, by: dora)
        next = nil
        next = try await host.restarted()
        #expect(try host.managedPorts().contains(22))
        #expect(try await next?.confirm(by: dora).confirmed == .arming)
        host.clocks.pass(.seconds(61))
        await next?.grantsEnded()
        #expect(try host.managedPorts().contains(22))
        #expect(
            try host.audit().map(\.event).filter { $0.contains("arm") }
                == [
                    "disarmed", "armed", "disarmed", "armed", "disarmed", "armed",
                    "arming-confirmed",
                ]
        )
    }
}

extension Agent {
    @discardableResult
    fileprivate func apply(
        _ text: String,
        as name: String = "new.yaml",
        within time: Duration? = nil,
        on terms: ChangeTerms = ChangeTerms()
    ) async throws -> PoliciesChangeDocument {
        var terms = terms
        terms.confirmWithin = time
        return try await apply(policies: [name: text], on: terms, by: dora)
    }
}

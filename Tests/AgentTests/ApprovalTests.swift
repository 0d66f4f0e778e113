import API
import Access
import Ledger
import Policy
import Settings
import TestSupport
import Testing

@testable import Agent

@Suite(.blocking) struct ApprovalTests {
    // MARK: Approving

    @Test func opensWithTheLastApprovalItNeeds() async throws {
        let host = try Host(approvals: 2)
        let agent = try await host.agent()
        let asked = try await agent.open(
            ask("ssh", "5985/tcp", from: "198.51.100.7", reason: "deploy")
        )
        #expect(asked.state == .pending)
        #expect(asked.duration == "10m")
        #expect(asked.decidedAt == nil)
        #expect(asked.pendingUntil == asked.createdAt + .seconds(15 * 60))
        #expect(asked.needs?.map { "\($0.policy) \($0.given)/\($0.approvals)" } == ["ssh 0/2"])
        #expect(asked.grants.map(\.id) == ["1.1", "1.2"])
        #expect(asked.grants.allSatisfy { $0.state == .pending && $0.expiresAt == nil })
        #expect(try await agent.request(id: 1, for: erin) == asked)
        #expect(try host.elements().isEmpty)

        let half = try await agent.approve(by: carol)
        #expect(half.state == .pending && half.revision == 2)
        #expect(half.approvals.map(\.who.name) == ["carol"])
        #expect(half.needs?.map(\.given) == [1])
        #expect(try await agent.request(id: 1, for: alice) == half)
        #expect(try host.elements().isEmpty)

        // The time begins when it opens.
        host.clocks.pass(.seconds(300))
        let opened = try await agent.approve(by: erin, revision: 2)
        #expect(opened.state == .active)
        #expect(opened.decidedBy?.name == "erin")
        #expect(opened.needs == nil)
        try host.expectOpen(["198.51.100.7": 10, "198.51.100.7 5985": 10])
        #expect(try host.stored(1) == ["active/-", "active/-"])
        var read = try await agent.request(id: 1, for: alice)
        #expect(read.decidedAt == opened.decidedAt)
        read.decidedAt = opened.decidedAt
        #expect(read.grants.map(\.expiresAt) == opened.grants.map(\.expiresAt))
        #expect(read.approvals == opened.approvals && read.revision == opened.revision)
        #expect(read.decidedBy == opened.decidedBy && read.duration == "10m")
        #expect(
            try host.audit().filter { $0.request == 1 }.map(\.event)
                == ["requested", "approved", "approved", "opened", "opened"]
        )
        let row = try #require(try host.audit("requested").first)
        #expect(row.policy == "ssh winrm" && row.source == "198.51.100.7/32")
        #expect(row.subject == "unix:1000" && row.reason == "deploy")
    }

    @Test func theShortestApprovalCounts() async throws {
        let host = try Host(approvals: 3)
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        #expect(try await agent.approve(by: carol, for: "20m").duration == "20m")
        let longer = await problem { try await agent.approve(by: erin, for: "30m") }
        #expect(longer?.violations?.map(\.allowed) == ["at most 20m"])
        #expect(try await agent.approve(by: erin).duration == "20m")
        let opened = try await agent.approve(by: dora, for: "5m")
        #expect(opened.approvals.map(\.duration) == ["20m", nil, "5m"])
        try host.expectOpen(["198.51.100.7": 5])
    }

    @Test func whatWasChangedSinceIsNotApproved() async throws {
        let host = try Host(approvals: 2)
        let agent = try await host.agent()
        let asked = try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        _ = try await agent.approve(by: carol, for: "20m")
        let stale = await problem {
            try await agent.approve(by: erin, revision: asked.revision)
        }
        #expect(stale?.code == .wrongState)
        #expect(stale?.detail.contains("20m, since carol approved it") == true)
        #expect(try await agent.approve(by: erin, revision: 2).state == .active)
    }

    @Test func nobodyAnswersForWhomTheyMayNot() async throws {
        let host = try Host(approvals: 2)
        try host.changeConfiguration {
            $0.people = People([
                .init(name: "Carol", local: "carol", remote: .remote(issuer: "corp", id: "c1"))
            ])
        }
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        // Root, but in alice's session.
        var sudo = local("root", 0, [.admin])
        sudo.identity.origin = .process(
            .init(pid: 9, login: .init(uid: 1000, name: "alice"))
        )
        for caller in [alice, sudo] {
            let own = await problem { try await agent.approve(by: caller) }
            #expect(own?.code == .notPermitted)
        }
        let viewer = await problem { try await agent.approve(by: vera) }
        #expect(viewer?.code == .notPermitted)
        let stranger = await problem { try await agent.approve(by: bob) }
        #expect(stranger?.code == .notFound)
        _ = try await agent.approve(by: carol)
        let again = await problem { try await agent.approve(by: carol) }
        #expect(again?.code == .wrongState)
        let secondName = await problem { try await agent.approve(by: remoteCarol()) }
        #expect(secondName?.code == .wrongState)
        #expect(secondName?.detail.contains("one person counts once") == true)
        #expect(try host.elements().isEmpty)
        #expect(try await agent.request(id: 1, for: dora).approvals.count == 1)
    }

    private func remoteCarol() throws -> Caller {
        let portal = Delegate(name: "portal", user: "p", issuers: ["corp"], ceiling: [.approver])
        return Caller(
            identity: Identity(
                subject: try Subject(issuer: "corp", id: "c1"),
                name: "Carol",
                groups: ["leads"],
                via: portal,
                origin: .client(address: try IPAddress(parsing: "192.0.2.1"), session: "s1")
            ),
            roles: [.approver]
        )
    }

    // MARK: What comes to nothing

    @Test func aDeniedRequestNeverOpens() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        for reason in ["", "  ", "......", "123", "no\u{1B}"] {
            let wordless = await problem { try await agent.deny(reason, by: carol) }
            #expect(wordless?.code == .outsidePolicy)
        }
        let viewer = await problem { try await agent.deny("not now", by: vera) }
        #expect(viewer?.code == .notPermitted)
        let denied = try await agent.deny("not now", by: carol)
        #expect(denied.state == .denied)
        #expect(denied.decision == "not now" && denied.decidedBy?.name == "carol")
        #expect(denied.grants.map(\.state) == [.denied])
        #expect(try await agent.request(id: 1, for: alice) == denied)
        let late = await problem { try await agent.approve(by: erin) }
        #expect(late?.code == .wrongState)
        #expect(late?.detail.contains("it is denied") == true)
        let row = try #require(try host.audit("denied").first)
        #expect(row.request == 1 && row.reason == "not now" && row.policy == "ssh")
        #expect(try host.elements().isEmpty)
    }

    @Test func theRequesterAndAdminsTakeARequestBack() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        for _ in 1...3 { try await agent.open(ask("ssh", from: "198.51.100.7")) }
        let other = await problem { try await agent.cancel(request: 1, by: carol) }
        #expect(other?.code == .notPermitted)
        let hidden = await problem { try await agent.cancel(request: 1, by: bob) }
        #expect(hidden?.code == .notFound)
        #expect(try await agent.cancel(request: 1, by: alice).state == .cancelled)
        #expect(try await agent.cancel(request: 2, by: dora).decidedBy?.name == "dora")
        let ended = await problem { try await agent.revoke(request: 3, by: alice) }
        #expect(ended?.code == .wrongState)
        #expect(ended?.detail.contains("sallyport cancel 3") == true)
        let waiting = try await agent.requests(RequestFilter(state: .pending), for: alice)
        #expect(waiting.requests.map(\.id) == ["3"])
        #expect(try host.audit("cancelled").map(\.request) == [1, 2])
    }

    @Test func aRequestThatNobodyAnswersLapses() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        let asked = try await agent.open(ask("ssh", from: "198.51.100.7"))
        #expect(try await eventually { host.nextEnd != nil })
        let wake = try #require(host.nextEnd)
        let now = host.clocks.now()
        let due = now.boot + (try #require(asked.pendingUntil) - now.wall)
        #expect((.zero ... .milliseconds(3)).contains(wake - due))
        host.clocks.pass(wake - now.boot)
        await agent.grantsEnded()
        let lapsed = try await agent.request(id: 1, for: alice)
        #expect(lapsed.state == .lapsed && lapsed.decidedBy == nil)
        #expect(try await eventually { host.nextEnd == nil })
        let late = await problem { try await agent.approve(by: carol) }
        #expect(late?.detail.contains("it is lapsed") == true)
        #expect(try host.audit("lapsed").map(\.subject) == [nil])
    }

    @Test(arguments: ["15m", "5m"]) func lapsesWithTheEndItWasAskedFor(_ length: String)
        async throws
    {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        let length = try Duration(parsing: length)
        let until = host.clocks.now().wall + length
        var asked = ask("ssh", from: "198.51.100.7")
        (asked.duration, asked.until) = (nil, until.description)
        let waiting = try await agent.open(asked)
        #expect(try #require(waiting.pendingUntil) <= until)
        host.clocks.pass(.seconds(120))
        _ = try await agent.approve(by: carol)
        try host.expectOpen(["198.51.100.7": length.components.seconds / 60 - 2])
    }

    /// All at once, in one commit or in two: one of them is what becomes of it.
    @Test(arguments: 0..<6) func ofAllAnswersAtOnceOneCounts(_ first: Int) async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.hold()
        async let other = agent.open(ask("winrm", from: "2001:db8::1", reason: "deploy"), by: bob)
        #expect(try await eventually { host.store.held == 1 })
        let answers: [@Sendable () async throws -> RequestDocument] = [
            { try await agent.approve(by: carol) }, { try await agent.approve(by: erin) },
            { try await agent.deny("not now", by: dora) },
            { try await agent.deny("not now", by: carol) },
            { try await agent.cancel(request: 1, by: alice) },
            { try await agent.cancel(request: 1, by: dora) },
        ]
        let outcomes = try await withThrowingTaskGroup(
            of: Result<RequestState, Problem>.self
        ) { group in
            for number in answers.indices {
                let answer = answers[(number + first) % answers.count]
                group.addTask {
                    do {
                        return .success(try await answer().state)
                    } catch let problem as Problem {
                        return .failure(problem)
                    }
                }
                #expect(try await eventually { await agent.waiting == number + 1 })
            }
            // Its time is over, too: then that is what becomes of it.
            if first == 5 { host.clocks.pass(.seconds(900)) }
            host.store.letGo()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        _ = try await other
        let state = try await agent.request(id: 1, for: alice).state
        let won = outcomes.compactMap { try? $0.get() }
        #expect(won == (first == 5 ? [] : [state]))
        #expect(first != 5 || state == .lapsed)
        for case .failure(let problem) in outcomes {
            #expect(problem.code == .wrongState)
            #expect(problem.detail.contains("it is \(state.rawValue)"))
        }
        #expect(outcomes.count == 6)
        // The grant of the other request is over by then, too.
        #expect(try host.elements().count == (first == 5 ? 0 : state == .active ? 3 : 2))
    }

    // MARK: Restarts

    @Test func waitingOutlivesARestart() async throws {
        let host = try Host(approvals: 2)
        var agent: Agent? = try await host.agent()
        let asked = try await agent?.opened(ask("ssh", from: "198.51.100.7"), key: "k").request
        let half = try await agent?.approve(by: carol, for: "5m")
        agent = nil
        agent = try await host.agent()
        #expect(try await agent?.request(id: 1, for: alice) == half)
        #expect(host.nextEnd != nil)
        let again = try await agent?.opened(ask("ssh", from: "198.51.100.7"), key: "k")
        #expect(again?.isNew == false && again?.request == half)
        #expect(asked?.id == again?.request.id)
        let twice = await problem { try await agent?.approve(by: carol) }
        #expect(twice?.code == .wrongState)
        #expect(try await agent?.approve(by: erin).state == .active)
        try host.expectOpen(["198.51.100.7": 5])
        // The next number is new all the same.
        #expect(try await agent?.open(ask("ssh", from: "198.51.100.8")).id == "2")
    }

    @Test func whatLapsedWhileTheAgentWasDownIsLapsed() async throws {
        let host = try Host(approvals: 1)
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("ssh", from: "198.51.100.7"))
        agent = nil
        host.clocks.reboot()
        host.clocks.setWallClock(by: .seconds(901))
        agent = try await host.agent()
        await agent?.grantsEnded()
        #expect(try await agent?.request(id: 1, for: alice).state == .lapsed)
        #expect(try host.elements().isEmpty)
    }

    @Test func aKeyUsedTwiceAtOnceAsksOnce() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        host.store.hold()
        async let other = agent.open(ask("winrm", from: "2001:db8::1", reason: "deploy"), by: bob)
        #expect(try await eventually { host.store.held == 1 })
        async let first = agent.opened(ask("ssh", from: "198.51.100.7"), key: "k")
        async let second = agent.opened(ask("ssh", from: "198.51.100.7"), key: "k")
        #expect(try await eventually { await agent.waiting == 2 })
        host.store.letGo()
        let answers = try await [first, second]
        #expect(answers.map(\.request.id) == ["2", "2"])
        #expect(Set(answers.map(\.isNew)) == [true, false])
        _ = try await other
    }

    // MARK: Policy and limits

    @Test func policyIsAskedAgainWhenItOpens() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        try host.changeConfiguration { $0.policies[0].maxDuration = .seconds(1_800) }
        try await agent.reload(by: nil)
        let denied = try await agent.approve(by: carol)
        #expect(denied.state == .denied && denied.decidedBy == nil)
        #expect(denied.decision?.contains("at most 30m") == true)
        #expect(try await agent.request(id: 1, for: alice) == denied)
        #expect(try host.audit().suffix(2).map(\.event) == ["approved", "denied"])
        #expect(try host.elements().isEmpty)
    }

    @Test func opensWhereItsPolicyAsksForNoMoreApprovals() async throws {
        let host = try Host(approvals: 2)
        let agent = try await host.agent()
        var later = ask("ssh", from: "198.51.100.8")
        later.at = (host.clocks.now().wall + .seconds(60)).description
        for asked in [ask("ssh", from: "198.51.100.7"), later, ask("ssh", from: "198.51.100.9")] {
            try await agent.open(asked)
        }
        for request: Int64 in [1, 2] { _ = try await agent.approve(request, by: carol) }
        try host.changeConfiguration { $0.policies[0].approvals = 1 }
        try await agent.reload(by: nil)
        #expect(try await eventually { try host.elements().count == 1 })
        try host.expectOpen(["198.51.100.7": 10])
        let states = try await agent.requests(RequestFilter(), for: alice).requests.map(\.state)
        #expect(states == [.pending, .scheduled, .active])
        let rows = try host.audit("approved")
        #expect(rows.map(\.subject) == ["unix:1004", "unix:1004", nil, nil])
    }

    @Test func whatIsHeldIsCountedWhenItOpens() async throws {
        let host = try Host(approvals: 1)
        try host.changeConfiguration { $0.policies[0].maxActivePerRequester = 1 }
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8"))
        // For the same, which makes room.
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "5m"))
        #expect(try await agent.approve(by: carol).state == .active)
        let tooMany = try await agent.approve(2, by: carol)
        #expect(tooMany.state == .denied)
        let newer = try await agent.approve(3, by: carol)
        #expect(newer.superseded?.map(\.id) == ["1.1"])
        #expect(try host.stored(1) == ["superseded/newer-request"])
        try host.expectOpen(["198.51.100.7": 5])
    }

    @Test func onlySoManyWait() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        for number in 1...20 {
            try await agent.open(ask("ssh", from: "198.51.100.\(number)"))
        }
        let refused = await problem { try await agent.open(ask("ssh", from: "198.51.100.21")) }
        #expect(refused?.code == .outsidePolicy)
        #expect(refused?.detail.contains("sallyport cancel") == true)
        // What need not wait, and others, are not kept out.
        try await agent.open(ask("winrm", from: "198.51.100.7", reason: "deploy"))
        try await agent.open(ask("ssh", from: "198.51.100.21"), by: bob)
        _ = try await agent.cancel(request: 20, by: alice)
        try await agent.open(ask("ssh", from: "198.51.100.21"))
    }

    // MARK: Faults

    @Test func withoutTheLedgerNothingIsAskedOrAnswered() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.fail(commit: .full)
        let answers: [@Sendable () async throws -> RequestDocument] = [
            { try await agent.open(ask("ssh", from: "198.51.100.8")) },
            { try await agent.approve(by: carol) },
            { try await agent.deny("not now", by: carol) },
            { try await agent.cancel(request: 1, by: alice) },
        ]
        for answer in answers {
            let failed = await problem { try await answer() }
            #expect(failed?.code == .ledgerUnavailable)
        }
        #expect(try await agent.request(id: 1, for: alice).state == .pending)
        #expect(try host.elements().isEmpty)
        host.store.fail(commit: nil)
        #expect(try await agent.approve(by: carol).state == .active)
        try host.expectOpen(["198.51.100.7": 10])
        #expect(await agent.committer.waitingRequests.count == 0)
    }

    @Test func whatCouldNotLapseWithoutTheLedgerLapsesLater() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.store.fail(commit: .full)
        host.clocks.pass(.seconds(901))
        await agent.grantsEnded()
        #expect(try await agent.request(id: 1, for: alice).state == .pending)
        host.store.fail(commit: nil)
        // By itself.
        #expect(
            try await eventually { try await agent.request(id: 1, for: alice).state == .lapsed }
        )
    }

    @Test func whatTheKernelRefusesHasFailed() async throws {
        let host = try Host(approvals: 1)
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        host.kernel.fail(.apply, .arm)
        // What concerns the kernel not is done all the same.
        #expect(try await agent.open(ask("ssh", from: "198.51.100.8")).state == .pending)
        let refused = await problem { try await agent.approve(by: carol) }
        #expect(refused?.code == .kernelRefused)
        host.kernel.fail()
        #expect(try await agent.request(id: 1, for: alice).state == .failed)
        #expect(try await agent.approve(2, by: carol).state == .active)
        try host.expectOpen(["198.51.100.8": 10])
    }
}

extension Host {
    /// A host whose policy `ssh` asks for so many approvals.
    convenience init(approvals: Int) throws {
        try self.init()
        try changeConfiguration { $0.policies[0].approvals = approvals }
    }
}

extension Agent {
    @discardableResult
    func approve(
        _ id: Int64 = 1,
        by caller: Caller,
        for duration: String? = nil,
        revision: Int? = nil
    ) async throws -> RequestDocument {
        let body = ApproveBody(duration: duration, revision: revision)
        return try await approve(request: id, body, by: caller)
    }

    func deny(_ reason: String, by caller: Caller) async throws -> RequestDocument {
        try await deny(request: 1, reason: reason, by: caller)
    }
}

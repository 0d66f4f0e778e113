import API
import Access
import GRDB
import Ledger
import Policy
import Settings
import Synchronization
import TestSupport
import Testing

@testable import Agent

/// What the audit trail tells besides grants.
@Suite(.blocking) struct AuditTests {
    @Test func aRefusalLeavesARow() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let wide = ask("ssh", "winrm", from: "198.0.0.0/8", for: "4h", reason: "deploy")
        let refused = await problem { try await agent.open(wide) }
        #expect(refused?.code == .outsidePolicy)
        let uninvited = await problem {
            try await agent.open(ask("ssh", from: "2001:db8::1"), by: vera)
        }
        #expect(uninvited?.code == .notPermitted)
        let rows = try host.audit("refused")
        #expect(rows.map(\.subject) == ["unix:1000", "unix:1003"])
        #expect(rows[0].policy == "ssh winrm")
        #expect(rows[0].source == "198.0.0.0/8")
        #expect(rows[0].reason == "deploy")
        // Every limit, not only the first.
        let messages = try #require(refused?.violations?.map(\.message))
        #expect(messages.count > 1)
        #expect(messages.allSatisfy { rows[0].detail?.contains($0) == true })
        #expect(rows[1].detail == uninvited?.detail)
        // What was asked cannot steer the terminal of who reads it.
        _ = await problem { try await agent.open(ask("\u{1B}[2J", from: "\u{202E}")) }
        let hostile = try #require(try host.audit("refused").last)
        let texts = [hostile.policy, hostile.source, hostile.detail].compactMap(\.self)
        #expect(texts.count == 3)
        #expect(texts.allSatisfy { !$0.contains("\u{1B}") && !$0.contains("\u{202E}") })
    }

    @Test func whoeverAsksInALoopIsCountedAndNotRecorded() async throws {
        let host = try Host()
        let agent = try await host.agent()
        func refuse(_ times: Int, by caller: Caller) async {
            for _ in 0..<times {
                let refused = await problem {
                    try await agent.open(ask("ssh", from: "::/0"), by: caller)
                }
                #expect(refused?.code == .outsidePolicy)
            }
        }
        host.clocks.passToNextMinute()
        await refuse(25, by: alice)
        await refuse(1, by: bob)
        #expect(try host.audit("refused").map(\.subject).count { $0 == "unix:1000" } == 10)
        #expect(try host.audit("refused").map(\.subject).count { $0 == "unix:1001" } == 1)
        host.clocks.pass(.seconds(60))
        await refuse(2, by: alice)
        let rows = try host.audit("refused").suffix(2).map { $0.detail ?? "" }
        #expect(rows[0].contains("15 more like it were not recorded"))
        #expect(!rows[1].contains("not recorded"))
    }

    /// Of strangers there can be thousands, and a delegate can describe as many people.
    @Test func aFloodOfRefusalsCostsNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        host.clocks.passToNextMinute()
        let before = host.store.commits
        for number in 0..<5_000 as Range<UInt32> {
            let local = Person(
                subject: .local(uid: 100_000 + number),
                name: "uid \(number)",
                origin: .process(.init(pid: 1))
            )
            await agent.note(Refusal(.stranger, local, "no role"))
            let remote = Person(
                subject: try Subject(issuer: "corp", id: "\(number)"),
                name: "a\u{1B}",
                via: "portal",
                origin: .client(address: try IPAddress(parsing: "192.0.2.1"), session: "s")
            )
            await agent.note(Refusal(.delegate("portal"), remote, "too old: a\u{1B}"))
            await agent.note(Refusal(.caller, remote, "no role"))
        }
        await agent.note(Refusal(.caller, dora.identity.person, "not through here"))
        #expect(
            try await eventually { try host.audit("refused").last?.subject == "unix:1002" }
        )
        #expect(try host.audit("refused").count == 21)
        let told = try host.audit("delegate-refused")
        #expect(told.count == 10)
        #expect(told.allSatisfy { $0.via == "portal" && $0.detail?.contains("\u{1B}") == false })
        #expect(host.store.commits - before <= 31)
        // What was only counted is told with the next one.
        host.clocks.pass(.seconds(60))
        await agent.note(Refusal(.stranger, alice.identity.person, "no role"))
        #expect(
            try await eventually {
                try host.audit("refused").last?.detail
                    == "no role; 4990 more like it were not recorded"
            }
        )
    }

    /// The agent's own notices do not crowd each other out.
    @Test func noKindOfNoticeUsesUpTheShareOfAnother() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        host.clocks.passToNextMinute()
        for _ in 0..<12 {
            try host.nft("flush", "chain", "inet", "sallyport", "judge")
            try host.nft("flush", "chain", "inet", "sallyport", "prerouting")
            await agent.rulesetChanged()
        }
        #expect(try host.audit("gate-tampered").count == 1)
        await agent.note(.stopped)
        #expect(try host.audit("agent-stopped").count == 1)
    }

    @Test func aRefusalIsToldAsSuchOnAFullDisk() async throws {
        let host = try Host()
        let agent = try await host.agent()
        host.store.fail(commit: .full, secure: .full)
        let refused = await problem { try await agent.open(ask("ssh", from: "::/0")) }
        #expect(refused?.code == .outsidePolicy)
        let missing = await problem { try await agent.revoke(request: 7, by: alice) }
        #expect(missing?.code == .notFound)
        host.store.fail(commit: nil)
        #expect(try await eventually { try host.audit("refused").count == 1 })
    }

    @Test func tellsWhenTheAgentBeginsAndEnds() async throws {
        let host = try Host()
        let agent = try await host.agent()
        await agent.note(.started)
        await agent.note(.stopped)
        let rows = try host.audit()
        #expect(rows.map(\.event) == ["agent-started", "agent-stopped"])
        #expect(rows.map(\.subject) == [nil, nil])
    }

    @Test func tellsOfTampering() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try host.nft("add", "rule", "inet", "sallyport", "judge", "accept")
        await agent.rulesetChanged()
        let rows = try host.audit("gate-tampered")
        #expect(rows.count == 1)
        #expect(rows.first?.detail?.contains("judge") == true)
        #expect(try host.audit().map(\.event) == ["gate-tampered", "gate-rearmed"])
        #expect(try await agent.status(for: vera).gate.armed)
        // Somebody changed another table.
        try host.nft("add", "table", "inet", "other")
        await agent.rulesetChanged()
        #expect(try host.audit("gate-tampered").count == 1)
    }

    @Test func tellsOfTamperingThatCannotBeMended() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try host.nft("delete", "table", "inet", "sallyport")
        host.kernel.fail(.arm)
        await agent.rulesetChanged()
        #expect(try host.audit().map(\.event) == ["gate-tampered"])
        host.kernel.fail()
        #expect(try await eventually { (try? host.managedPorts())?.contains(22) == true })
    }

    /// The first use at once, and what follows within an hour together.
    @Test func tellsOfTheUseOfABreakGlassSource() async throws {
        let sources = try ["192.0.2.10", "2001:db8::/64"].map { try CIDR(parsing: $0) }
        let host = try Host(breakGlass: sources)
        let agent = try await host.agent()
        func use(_ packets: UInt64...) async {
            host.kernel.breakGlass.withLock { $0 = Array(zip(sources, packets)) }
            await agent.beat()
        }
        await use(0, 0)
        await use(3, 0)
        await use(4, 0)
        await use(5, 1)
        var rows = try host.audit("break-glass-used")
        #expect(rows.map(\.source) == ["192.0.2.10/32", "2001:db8::/64"])
        #expect(rows.compactMap { $0.detail?.split(separator: " ").first } == ["3", "1"])
        host.clocks.pass(.seconds(3_600))
        await use(6, 1)
        host.kernel.breakGlass.withLock { $0 = Array(zip(sources, [8, 1])) }
        await agent.beat(isLast: true)
        rows = try host.audit("break-glass-used").suffix(2)
        #expect(rows.compactMap { $0.detail?.split(separator: " ").first } == ["3", "2"])
        // A gate made anew counts from zero, and nothing of before is lost.
        host.clocks.pass(.seconds(3_600))
        try await agent.reload(by: nil)
        await use(5, 0)
        rows = try host.audit("break-glass-used")
        #expect(rows.count == 5)
        #expect(rows.last?.detail?.hasPrefix("5 ") == true)
        let status = try await agent.status(for: vera)
        #expect(status.gate.breakGlass.map(\.packets) == [13, 1])
    }

    @Test func tellsWhatAStartFinds() async throws {
        let host = try Host()
        do {
            let agent = try await host.agent()
            try await agent.open(ask("ssh", from: "198.51.100.1"))
            try await agent.open(ask("ssh", from: "198.51.100.2"))
        }
        try await host.otherConnection().write {
            try $0.execute(sql: "UPDATE audit SET hash = 'x' WHERE id = 2")
        }
        let agent = try await host.agent()
        let rows = try host.audit().dropFirst(2)
        #expect(rows.map(\.event) == ["ledger-rows-lost", "restored"])
        #expect(rows.last?.detail == "2 grants of before the start are open")
        let found = try await agent.verifyAudit(head: nil, for: vera)
        #expect(found.faults.map(\.code) == [.changed, .changed])
    }

    /// To everybody but those who may not verify it, as long as the run lasts.
    @Test func theStatusTellsOfADamagedTrail() async throws {
        let host = try Host()
        _ = try await host.agent().open(ask("ssh", from: "198.51.100.1"))
        try host.removeReserve()
        do {
            let agent = try await host.agent()
            let details = try host.audit("ledger-rows-lost").map(\.detail)
            #expect(details.count == 1)
            #expect(details.first??.contains("reserve") == true)
            #expect(try await agent.status(for: vera).auditFault == details.first)
            #expect(try await agent.status(for: alice).auditFault == nil)
        }
        let next = try await host.agent()
        #expect(try await next.status(for: vera).auditFault == nil)
        #expect(try host.audit("ledger-rows-lost").count == 1)
    }

    @Test func doesNotVerifyFilesThatAreGone() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.1"))
        try host.removeReserve()
        let found = await problem { _ = try await agent.verifyAudit(head: nil, for: vera) }
        #expect(found?.code == .ledgerUnavailable)
    }

    @Test func tellsThatTheLedgerIsRepaired() async throws {
        let host = try Host()
        let agent = try await host.agent()
        host.store.fail(commit: .full, secure: .full)
        _ = await problem { try await agent.open(ask("ssh", from: "198.51.100.1")) }
        host.store.fail(commit: nil)
        try await agent.open(ask("ssh", from: "198.51.100.1"))
        #expect(try await eventually { try host.audit("ledger-repaired").count == 1 })
        #expect(try await agent.verifyAudit(head: nil, for: vera).intact)
    }

    /// Whoever reads the trail finds in it what they may see, and no more.
    @Test func eachReadsWhatTheyMaySee() async throws {
        let host = try Host()
        let agent = try await host.agent()
        for (caller, source) in [(alice, "198.51.100.1"), (bob, "198.51.100.2")] {
            try await agent.open(ask("ssh", from: source), by: caller)
        }
        _ = try await agent.revoke(request: 1, by: dora)
        func read(_ caller: Caller) async throws -> [Int64] {
            let page = try await agent.audit(AuditFilter(), for: caller)
            var all: [Int64] = []
            for try await rows in try await agent.allAudit(AuditFilter(), for: caller) {
                all += rows.map(\.sequence)
            }
            #expect(page.events.map(\.sequence) == all.reversed())
            return all
        }
        #expect(try await read(vera) == [1, 2, 3])
        #expect(try await read(alice) == [1, 3])
        #expect(try await read(bob) == [2])
        let ended = try await agent.audit(AuditFilter(event: .ended), for: alice).events.first
        #expect(ended?.name == "dora" && ended?.requesterName == "alice")
        #expect(ended?.outcome == "revoked")
        let page = try await agent.audit(AuditFilter(limit: 2), for: vera)
        #expect(page.events.map(\.sequence) == [3, 2] && page.next == "2")
    }

    @Test func prunesWhatTheConfigurationDoesNotKeep() async throws {
        let host = try Host()
        try host.changeConfiguration { $0.auditKeep = .seconds(86_400) }
        let agent = try await host.agent()
        let events = Array(repeating: Event.noted(Notice(.started)), count: 2_050)
        try await agent.ledger.commit(events, at: host.clocks.now().wall)
        await agent.beat()
        #expect(try host.audit("audit-pruned").isEmpty)
        host.clocks.pass(.seconds(86_500))
        await agent.grantsEnded()
        #expect(try host.audit("audit-pruned").count == 2)
        #expect(try await agent.verifyAudit(head: nil, for: vera).prunedThrough == 2_048)
    }
}

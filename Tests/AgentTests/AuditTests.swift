import API
import Access
import Ledger
import Policy
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
        #expect(try host.audit("gate-tampered").count == 10)
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
        #expect(try host.audit("gate-tampered").count == 1)
        host.kernel.fail()
        #expect(try await eventually { (try? host.managedPorts())?.contains(22) == true })
    }

    @Test func tellsOfEachUseOfABreakGlassSource() async throws {
        let sources = try ["192.0.2.10", "2001:db8::/64"].map { try CIDR(parsing: $0) }
        let host = try Host(breakGlass: sources)
        let agent = try await host.agent()
        func use(_ packets: UInt64...) async {
            host.kernel.breakGlass.withLock { $0 = Array(zip(sources, packets)) }
            await agent.beat()
        }
        await use(0, 0)
        await use(3, 0)
        await use(3, 0)
        await use(5, 1)
        var rows = try host.audit("break-glass-used")
        #expect(rows.map(\.source) == ["192.0.2.10/32", "192.0.2.10/32", "2001:db8::/64"])
        #expect(rows.compactMap { $0.detail?.split(separator: " ").first } == ["3", "2", "1"])
        // A gate made anew counts from zero.
        try await agent.reload(by: nil)
        await use(5, 0)
        rows = try host.audit("break-glass-used")
        #expect(rows.count == 4)
        #expect(rows.last?.detail?.hasPrefix("5 ") == true)
        let status = try await agent.status(for: vera)
        #expect(status.gate.breakGlass.map(\.packets) == [5, 0])
    }
}

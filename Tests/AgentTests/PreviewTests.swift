import API
import Access
import Policy
import Settings
import TestSupport
import Testing

@testable import Agent

/// What would be opened.
@Suite(.blocking) struct PreviewTests {
    @Test func saysWhatWouldBeOpened() async throws {
        let host = try Host()
        try host.changeConfiguration { configuration in
            configuration.policies[1].approvals = 2
            configuration.policies[1].approvers = [.group("leads")]
        }
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let rows = try host.audit().count
        let preview = try await agent.preview(
            ask("ssh", "5985/tcp", from: "198.51.100.7", for: "45m", reason: "deploy"),
            for: alice
        )
        #expect(preview.allowed)
        #expect(preview.duration == "45m")
        #expect(
            preview.grants.map { "\($0.policy) \($0.port) \($0.source)" } == [
                "ssh 22/tcp 198.51.100.7/32", "winrm 5985/tcp 198.51.100.7/32",
            ]
        )
        #expect(preview.superseded?.map(\.id) == ["1.1"])
        #expect(
            preview.needs == [
                NeedDocument(policy: "winrm", approvals: 2, given: 0, approvers: ["group:leads"])
            ]
        )
        let plain = try await agent.preview(ask("ssh", from: "198.51.100.8"), for: alice)
        #expect(plain.needs == nil && plain.superseded == nil)
        // Nothing of it happened.
        #expect(await agent.liveGrants == 1)
        #expect(try host.audit().count == rows)
        #expect(try await agent.open(ask("ssh", from: "198.51.100.8")).id == "2")
    }

    @Test func countsTheRequestsThatWait() async throws {
        let host = try Host()
        try host.changeConfiguration {
            ($0.policies[0].approvals, $0.policies[0].maxActivePerRequester) = (1, 100)
        }
        let agent = try await host.agent()
        for number in 1...20 {
            try await agent.open(ask("ssh", from: "198.51.100.\(number)"))
        }
        let more = ask("ssh", from: "198.51.100.21")
        let preview = await problem { try await agent.preview(more, for: alice) }
        let request = await problem { try await agent.open(more) }
        #expect(preview != nil)
        #expect(preview == request)
        // What opens at once needs no room to wait.
        let other = ask("winrm", from: "198.51.100.21", reason: "deploy")
        #expect(try await agent.preview(other, for: alice).needs == nil)
    }

    @Test(arguments: [
        (ask("ssh", "winrm", from: "198.0.0.0/8", for: "4h"), alice),
        (ask("nosuch", from: "198.51.100.7", for: "0m"), alice),
        (ask("winrm", from: "198.51.100.1", "198.51.100.2", "198.51.100.3", reason: "deploy"), bob),
        (ask("ssh", from: "198.51.100.7"), vera),
    ])
    func refusesWhatARequestWouldBeRefused(ask: Ask, caller: Caller) async throws {
        let host = try Host()
        let agent = try await host.agent()
        let preview = await problem { try await agent.preview(ask, for: caller) }
        #expect(try host.audit("refused").isEmpty)
        let request = await problem { try await agent.open(ask, by: caller) }
        #expect(preview != nil)
        #expect(preview == request)
    }
}

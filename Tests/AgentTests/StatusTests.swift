import API
import Access
import FoundationEssentials
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Agent
@testable import Settings

/// What the status tells, and to whom.
@Suite(.blocking) struct StatusTests {
    private func policies(approvals: Int = 1) throws -> [AccessPolicy] {
        [
            AccessPolicy(name: "ssh", ports: [try PortRange(parsing: "22/tcp")]),
            AccessPolicy(
                name: "rdp",
                ports: [try PortRange(parsing: "3389/tcp")],
                requesters: [.user("bob")],
                approvals: approvals,
                approvers: [.user("anne")]
            ),
            AccessPolicy(
                name: "winrm",
                ports: [try PortRange(parsing: "5985-5986/tcp"), try PortRange(parsing: "80/tcp")],
                approvals: approvals
            ),
            AccessPolicy(name: "telnet", ports: [try PortRange(parsing: "23/tcp")], enabled: false),
        ]
    }

    private func local(_ name: String, _ uid: UInt32, _ roles: Set<Role>) -> Caller {
        Caller(
            identity: Identity(
                subject: .local(uid: uid),
                name: name,
                groups: [],
                origin: .process(.init(pid: 1))
            ),
            roles: roles
        )
    }

    @Test func showsARequesterWhatIsTheirs() async throws {
        let host = try Host(policies(), breakGlass: [CIDR(parsing: "192.0.2.10")])
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8"), by: bob)
        try await agent.open(ask("ssh", from: "198.51.100.9"), by: bob)
        let fault = ConfigurationError.Fault(
            file: "a.yaml",
            line: 1,
            column: 1,
            key: "policies[0].name",
            message: "telnet is there twice"
        )
        host.configuration.withLock { $0 = .failure(ConfigurationError(faults: [fault])) }
        _ = await problem { try await agent.reload(on: ChangeTerms(), by: dora) }

        let status = try await agent.status(for: alice)
        #expect(status.policies.map(\.name) == ["ssh", "winrm"])
        #expect(status.policies.map(\.activeGrants) == [1, 0])
        #expect(status.policies.map(\.requests7d) == [1, 0])
        #expect(status.policies[0].lastAccess?.who.name == "alice")
        #expect(status.agent.liveGrants == 1)
        #expect(status.agent.configurationError == nil)
        #expect(status.gate.armed)
        #expect(status.gate.breakGlass.isEmpty)
        #expect(status.you.who.subject == alice.identity.subject)
        #expect(status.you.roles == [.requester])
        #expect(status.you.asks == ["ssh", "winrm"])
        #expect(status.you.approves == [])
        #expect(status.you.may.contains("ask for access"))
        #expect(!status.you.may.contains("reload the policies"))
        let text = String(decoding: try JSONEncoder().encode(status), as: UTF8.self)
        for other in ["bob", "unix:1001", "rdp", "telnet", "198.51.100.8", "192.0.2.10"] {
            #expect(!text.contains(other), "\(other)")
        }

        let all = try await agent.status(for: vera)
        #expect(all.policies.map(\.name) == ["ssh", "rdp", "winrm", "telnet"])
        #expect(all.policies[0].requests7d == 3)
        #expect(all.policies[0].lastAccess?.who.name == "bob")
        #expect(all.agent.liveGrants == 3)
        #expect(all.agent.configurationError != nil)
        #expect(all.gate.breakGlass.count == 1)
        #expect(all.you.asks == [] && all.you.approves == [])
        #expect(!all.you.may.contains("ask for access"))
    }

    @Test(
        arguments: [
            ("anne", [.approver], [], ["rdp", "winrm"]),
            ("carl", [.approver], [], ["winrm"]),
            ("bob", [.requester, .approver], ["ssh", "rdp", "winrm"], ["winrm"]),
            ("dora", [.admin], ["ssh", "rdp", "winrm"], ["rdp", "winrm"]),
        ] as [(String, Set<Role>, [String], [String])]
    )
    func saysWhatSomebodyMay(
        name: String,
        roles: Set<Role>,
        asks: [String],
        approves: [String]
    ) async throws {
        let agent = try await Host(policies()).agent()
        let you = try await agent.status(for: local(name, 7, roles)).you
        #expect(you.asks == asks)
        #expect(you.approves == approves)
        #expect(you.roles == Role.allCases.filter(roles.contains))
        let may = Operation.allCases.filter { !$0.roles.isDisjoint(with: roles) }
        #expect(you.may == may.map(\.rawValue))
    }

    @Test func tellsWhenAPolicyWasLastUsedAndForWhat() async throws {
        let host = try Host(policies(approvals: 0))
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("winrm", from: "198.51.100.7", "2001:db8::/64"))
        host.clocks.pass(.seconds(5))
        let newest = try #require(
            try await agent?.open(
                ask("winrm", "ssh", from: "198.51.100.9", "198.51.100.8"),
                by: bob
            )
        )
        // One that the kernel refuses was no access.
        host.kernel.fail(.apply, .arm)
        _ = await problem { try await agent?.open(ask("winrm", from: "198.51.100.1")) }
        host.kernel.fail()
        for _ in 0..<2 {
            let status = try #require(try await agent?.status(for: vera))
            let winrm = status.policies[2]
            #expect(winrm.requests7d == 2)
            #expect(status.policies[0].requests7d == 1)
            let last = try #require(winrm.lastAccess)
            #expect(last.at == newest.grants[0].startsAt)
            #expect(last.who.name == "bob")
            #expect(last.ports.map(\.description) == ["80/tcp", "5985-5986/tcp"])
            #expect(last.sources.map(\.description) == ["198.51.100.8/32", "198.51.100.9/32"])
            // As well when it was another run that opened it.
            agent = nil
            agent = try await host.agent()
        }
        host.clocks.pass(.seconds(7 * 24 * 3600 - 2))
        let status = try #require(try await agent?.status(for: vera))
        #expect(status.policies.map(\.requests7d) == [1, 0, 1, 0])
        host.clocks.pass(.seconds(4))
        let later = try #require(try await agent?.status(for: vera))
        #expect(later.policies.map(\.requests7d) == [0, 0, 0, 0])
        #expect(later.policies.allSatisfy { $0.lastAccess == nil })
    }
}

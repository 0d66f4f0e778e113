import API
import Access
import Policy
import Settings
import TestSupport
import Testing

@testable import Agent

/// People whom a delegate speaks for.
@Suite(.blocking) struct DelegateTests {
    private func delegate(
        policies: Set<String>? = nil,
        ownAddressOnly: Bool = false,
        liveGrants: Int = 200
    ) -> Delegate {
        Delegate(
            name: "portal",
            user: "sallyport-portal",
            issuers: ["corp"],
            ceiling: [.viewer, .requester],
            policies: policies,
            ownAddressOnly: ownAddressOnly,
            limits: .init(liveGrants: liveGrants)
        )
    }

    private func remote(
        _ id: String,
        named name: String = "alice",
        groups: Set<String> = ["ops"],
        via delegate: Delegate,
        on agent: Agent
    ) async throws -> Caller {
        let identity = Identity(
            subject: try Subject(issuer: "corp", id: id),
            name: name,
            groups: groups,
            via: delegate,
            origin: .client(address: try IPAddress(parsing: "198.51.100.7"), session: "s1")
        )
        return Caller(identity: identity, roles: agent.roles(of: identity))
    }

    @Test func aRemotePersonIsNobodyOfThisHost() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let remoteAlice = try await remote("a1", via: delegate(), on: agent)
        #expect(remoteAlice.roles == [.requester])
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "60m"))
        let theirs = try await agent.open(
            ask("ssh", from: "198.51.100.7", for: "10m"),
            by: remoteAlice
        )
        // Same name, same port, same source: two grants.
        #expect(theirs.superseded == nil)
        #expect(await agent.liveGrants == 2)
        try host.expectOpen(["198.51.100.7": 60])
        for (caller, own, other) in [(alice, Int64(1), Int64(2)), (remoteAlice, 2, 1)] {
            let seen = try await agent.requests(RequestFilter(), for: caller)
            #expect(seen.requests.map(\.id) == ["\(own)"])
            let grants = try await agent.grants(
                RequestFilter(requester: "alice"),
                includeEnded: true,
                for: caller
            )
            #expect(grants.grants.map(\.request) == ["\(own)"])
            let read = await problem { try await agent.request(id: other, for: caller) }
            #expect(read?.code == .notFound)
            let closed = await problem { try await agent.close(grant: grant(other), by: caller) }
            #expect(closed?.code == .notFound)
            let ended = await problem { try await agent.revoke(request: other, by: caller) }
            #expect(ended?.code == .notFound)
            let longer = await problem {
                try await agent.extend(request: other, by: .seconds(60), by: caller)
            }
            #expect(longer?.code == .notFound)
        }
        // Nor can one that may see it.
        let auditor = try await remote("v1", groups: ["ops", "audit"], via: delegate(), on: agent)
        #expect(auditor.roles == [.requester, .viewer])
        #expect(try await agent.request(id: 1, for: auditor).requester.subject == .local(uid: 1000))
        let closed = await problem { try await agent.close(grant: grant(1), by: auditor) }
        #expect(closed?.code == .notPermitted)
        #expect(await agent.liveGrants == 2)
        // An admin of this host can.
        #expect(try await agent.revoke(request: 2, by: dora).state == .revoked)
        let row = try #require(try host.audit("opened").last)
        #expect(row.subject == "oidc:corp:a1")
        #expect(row.via == "portal")
    }

    @Test func theirKeysAreTheirOwn() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let remoteAlice = try await remote("a1", via: delegate(), on: agent)
        let other = try await remote("a2", via: delegate(), on: agent)
        for (number, caller) in [alice, remoteAlice, other].enumerated() {
            let opened = try await agent.opened(
                ask("ssh", from: "198.51.100.7"),
                key: "k",
                by: caller
            )
            #expect(opened.isNew)
            #expect(opened.request.id == "\(number + 1)")
        }
    }

    @Test func countsTheGrantsOfADelegate() async throws {
        let host = try Host()
        var agent: Agent? = try await host.agent()
        let portal = delegate(liveGrants: 2)
        func opens(_ id: String, _ source: String) async throws -> Problem? {
            let agent = try #require(agent)
            let caller = try await remote(id, named: id, via: portal, on: agent)
            return await problem { try await agent.open(ask("ssh", from: source), by: caller) }
        }
        #expect(try await opens("a1", "198.51.100.1") == nil)
        #expect(try await opens("a2", "198.51.100.2") == nil)
        // Whoever asks: it is the delegate's limit, also after a restart.
        for _ in 0..<2 {
            let refused = try await opens("a3", "198.51.100.3")
            #expect(refused?.code == .outsidePolicy)
            #expect(refused?.violations?.map(\.allowed) == ["at most 0 grants"])
            agent = nil
            agent = try await host.agent()
        }
        try await agent?.open(ask("ssh", from: "198.51.100.4"))
        _ = try await agent?.revoke(request: 1, by: dora)
        #expect(try await opens("a3", "198.51.100.3") == nil)
    }

    @Test func opensNothingButTheOwnAddress() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let caller = try await remote("a1", via: delegate(ownAddressOnly: true), on: agent)
        for source in ["198.51.100.8", "198.51.100.0/24"] {
            let refused = await problem {
                try await agent.open(ask("ssh", from: source), by: caller)
            }
            #expect(refused?.violations?.map(\.allowed) == ["198.51.100.7/32"])
        }
        try await agent.open(ask("ssh", from: "198.51.100.7"), by: caller)
        try host.expectOpen(["198.51.100.7": 10])
    }

    @Test func aDelegateLimitedToSomePoliciesSeesNoOthers() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let limited = delegate(policies: ["ssh"])
        let caller = try await remote("a1", groups: ["ops", "audit"], via: limited, on: agent)
        let elsewhere = try await remote(
            "a1",
            groups: ["ops", "audit"],
            via: delegate(),
            on: agent
        )
        try await agent.open(ask("ssh", from: "198.51.100.7"), by: caller)
        try await agent.open(ask("winrm", from: "198.51.100.7", reason: "deploy"), by: elsewhere)
        try await agent.open(
            ask("ssh", "5985/tcp", from: "198.51.100.9", reason: "deploy"),
            by: bob
        )

        let refused = await problem {
            try await agent.open(ask("winrm", from: "2001:db8::1", reason: "deploy"), by: caller)
        }
        #expect(refused?.code == .outsidePolicy)
        #expect(refused?.violations?.map(\.allowed) == ["ssh"])
        #expect(try await agent.policies(for: caller).policies.map(\.name) == ["ssh"])
        #expect(await problem { try await agent.policy(named: "winrm", for: caller) } != nil)
        #expect(try await agent.status(for: caller).policies.map(\.name) == ["ssh"])
        let requests = try await agent.requests(RequestFilter(), for: caller)
        #expect(requests.requests.map(\.id) == ["1"])
        let grants = try await agent.grants(RequestFilter(), includeEnded: true, for: caller)
        #expect(grants.grants.allSatisfy { $0.policy == "ssh" })
        // Nor by its number, be it the person's own.
        for id in Int64(2)...3 {
            #expect(
                await problem { try await agent.request(id: id, for: caller) }?.code == .notFound
            )
        }
        let closed = await problem { try await agent.revoke(request: 2, by: caller) }
        #expect(closed?.code == .notFound)
        #expect(try await agent.revoke(request: 2, by: elsewhere).state == .revoked)
        #expect(try await agent.requests(RequestFilter(), for: elsewhere).requests.count == 3)
    }

    /// What the delegate's own user is: nobody.
    @Test func whoSpeaksForOthersMayNothingItself() async throws {
        let host = try Host()
        let portal = delegate()
        try host.changeConfiguration { configuration in
            configuration.roles = RoleTable(
                [.requester: [.user(portal.user), .asserted(issuer: "corp", group: "ops")]],
                delegates: [portal]
            )
        }
        let agent = try await host.agent()
        let itself = Identity(
            subject: .local(uid: 990),
            name: portal.user,
            groups: [],
            origin: .process(.init(pid: 1))
        )
        #expect(agent.roles(of: itself) == [])
        let refused = await problem {
            try await agent.open(
                ask("ssh", from: "2001:db8::1"),
                by: Caller(identity: itself, roles: [.requester])
            )
        }
        #expect(refused?.code == .notPermitted)
    }
}

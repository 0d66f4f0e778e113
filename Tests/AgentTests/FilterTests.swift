import API
import Access
import Policy
import Settings
import TestSupport
import Testing

@testable import Agent

/// Filters that name what does not exist, or somebody who could be another.
@Suite(.blocking) struct FilterTests {
    private static let portal = Delegate(
        name: "portal",
        user: "sallyport-portal",
        issuers: ["corp"],
        ceiling: [.viewer, .requester]
    )

    private func remote(
        _ id: String,
        _ name: String,
        groups: Set<String> = ["ops"],
        policies: Set<String>? = nil,
        on agent: Agent
    ) async throws -> Caller {
        var delegate = Self.portal
        delegate.policies = policies
        let identity = Identity(
            subject: try Subject(issuer: "corp", id: id),
            name: name,
            groups: groups,
            via: delegate,
            origin: .client(address: try IPAddress(parsing: "198.51.100.7"), session: "s1")
        )
        return Caller(identity: identity, roles: agent.roles(of: identity))
    }

    /// 1 ssh alice, 2 winrm bob, 3 ssh a remote alice, 4 and 5 ssh two of the name carol, 6 ssh dan.
    private func prepared() async throws -> (Host, Agent) {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.1"))
        try await agent.open(ask("winrm", from: "198.51.100.2", reason: "deploy"), by: bob)
        for (number, (id, name)) in [
            ("a1", "alice"), ("c1", "carol"), ("c2", "carol"), ("d1", "dan"),
        ].enumerated() {
            try await agent.open(
                ask("ssh", from: "198.51.100.\(number + 3)"),
                by: remote(id, name, on: agent)
            )
        }
        return (host, agent)
    }

    /// The numbers of the requests found, or the status and the text of the problem; the same for
    /// requests and grants.
    private func found(
        _ filter: RequestFilter,
        _ agent: Agent,
        by caller: Caller = vera
    ) async throws -> String {
        func text(_ body: () async throws -> [String]) async throws -> String {
            do {
                return try await body().joined(separator: " ")
            } catch let problem as Problem {
                return "\(problem.status) \(problem.detail)"
            }
        }
        let requests = try await text {
            try await agent.requests(filter, for: caller).requests.map(\.id)
        }
        let grants = try await text {
            try await agent.grants(filter, includeEnded: true, for: caller).grants.map(\.request)
        }
        #expect(requests == grants)
        return requests
    }

    @Test func namesThePoliciesThereAre() async throws {
        let (host, agent) = try await prepared()
        #expect(try await found(RequestFilter(policy: "winrm"), agent) == "2")
        #expect(
            try await found(RequestFilter(policy: "shs"), agent)
                == "404 there is no policy \"shs\"; did you mean ssh? there are: ssh, winrm"
        )
        // A policy that is there, or was, and nothing to show of it is nothing wrong.
        try host.changeConfiguration { $0.policies.removeLast() }
        try await agent.reload(by: nil)
        #expect(try await found(RequestFilter(policy: "winrm", before: 2), agent) == "")
        #expect(try await found(RequestFilter(policy: "winrm"), agent) == "2")
        #expect(
            try await found(RequestFilter(policy: "nosuch"), agent)
                == "404 there is no policy \"nosuch\"; there are: ssh, winrm"
        )
        // Only who sees all is told of what was.
        #expect(
            try await found(RequestFilter(policy: "winrm"), agent, by: alice)
                == "404 there is no policy \"winrm\"; there are: ssh"
        )
        #expect(try await found(RequestFilter(policy: "ssh"), agent, by: dora) == "6 5 4 3 1")
    }

    @Test func tellsADelegateLimitedToPoliciesOfNoOthers() async throws {
        let (_, agent) = try await prepared()
        let auditor = try await remote("v", "vic", groups: ["audit"], policies: ["ssh"], on: agent)
        #expect(
            try await found(RequestFilter(policy: "winrm"), agent, by: auditor)
                == "404 there is no policy \"winrm\"; there are: ssh"
        )
        let nobody = try await found(RequestFilter(requester: "bob"), agent, by: auditor)
        #expect(nobody.hasPrefix("404 "))
        #expect(!nobody.contains("asked lately: bob") && !nobody.contains(", bob"))
    }

    @Test(arguments: [
        // A name is that of a user of this host, whatever others are called.
        ("alice", "1"), ("bob", "2"), ("unix:1000", "1"), ("oidc:corp:a1", "3"),
        // Who is known here but asked for nothing.
        ("root", ""), ("unix:0", ""),
        // The only one of that name; one of several.
        ("dan", "6"),
        ("carol", "400 cannot tell who carol is; name one of: oidc:corp:c1, oidc:corp:c2"),
        (
            "bbo",
            "404 this host has no user named \"bbo\", and nobody like that has asked for access; "
                + "did you mean bob? asked lately: alice, alice (oidc:corp:a1), bob, carol "
                + "(oidc:corp:c1), carol (oidc:corp:c2), dan (oidc:corp:d1)"
        ),
        (
            "oidc:other:a1",
            "404 this host has no user oidc:other:a1, and nobody like that has asked for access; "
                + "asked lately: alice, alice (oidc:corp:a1), bob, carol (oidc:corp:c1), carol "
                + "(oidc:corp:c2), dan (oidc:corp:d1)"
        ),
        (
            "unix:x",
            "400 cannot read query parameter requester: a user of this host is written unix:UID; a "
                + "user of this host can be named by the name alone"
        ),
    ])
    func knowsWhoIsMeant(requester: String, expected: String) async throws {
        let (_, agent) = try await prepared()
        #expect(try await found(RequestFilter(requester: requester), agent) == expected)
        // A filter besides it that nothing meets makes nobody unknown.
        if !expected.hasPrefix("4") {
            let none = RequestFilter(requester: requester, before: 1)
            #expect(try await found(none, agent) == "")
        }
    }

    @Test func aRequesterSeesOnlyTheirOwn() async throws {
        let (_, agent) = try await prepared()
        for own in ["alice", "unix:1000"] {
            #expect(try await found(RequestFilter(requester: own), agent, by: alice) == "1")
        }
        let remoteAlice = try await remote("a1", "alice", on: agent)
        #expect(try await found(RequestFilter(requester: "alice"), agent, by: remoteAlice) == "3")
        for other in ["bob", "nosuch", "unix:1001", "oidc:corp:a1"] {
            #expect(
                try await found(RequestFilter(requester: other), agent, by: alice)
                    == "403 cannot list what others asked for: a requester sees only their own"
            )
        }
    }
}

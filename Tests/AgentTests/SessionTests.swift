import API
import Access
import Gate
import Ledger
import Policy
import Settings
import Synchronization
import TestSupport
import Testing

@testable import Agent

/// Which sessions end, and who may end them; how they do is the gate's to test.
@Suite(.blocking) struct SessionTests {
    /// A host with two policies: sessions to 22 end with their grant, those to 80 outlive it.
    private static func host(breakGlass: [String] = []) throws -> Host {
        try Host(
            [
                AccessPolicy(
                    name: "ssh",
                    ports: [try PortRange(parsing: "22/tcp")],
                    sessions: .cut,
                    maxActivePerRequester: 100
                ),
                AccessPolicy(
                    name: "web",
                    ports: [try PortRange(parsing: "80/any")],
                    maxActivePerRequester: 100
                ),
            ],
            breakGlass: breakGlass.map { try CIDR(parsing: $0) }
        )
    }

    private static func session(
        _ client: String,
        _ sourcePort: UInt16,
        to port: UInt16 = 22,
        _ transport: Transport = .tcp,
        isEarlier: Bool = false
    ) throws -> Session {
        Session(
            transport: transport,
            client: HostPort(address: try IPAddress(parsing: client), port: sourcePort),
            destination: HostPort(address: try IPAddress(parsing: "192.0.2.1"), port: port),
            isEarlier: isEarlier
        )
    }

    private static func isEnded(_ clients: String..., at host: Host) async throws -> Bool {
        try await eventually { Set(host.kernel.ended.withLock(\.self)) == Set(clients) }
    }

    @Test(arguments: ["expired", "closed", "policy", "superseded"])
    func endWithTheirGrantAndNoOthersDo(way: String) async throws {
        let host = try Self.host(breakGlass: ["198.51.100.9/32"])
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.0/24", for: "20m"))
        try await agent.open(ask("ssh", from: "198.51.100.8", for: "60m"), by: bob)
        try await agent.open(ask("web", from: "198.51.100.7", for: "60m"))
        let sessions = try [
            Self.session("198.51.100.7", 1001), Self.session("198.51.100.7", 1002),
            // Of somebody else's grant, of none, always let in, older than the gate, to another port.
            Self.session("198.51.100.8", 1003), Self.session("203.0.113.1", 1004),
            Self.session("198.51.100.9", 1005),
            Self.session("198.51.100.7", 1006, isEarlier: true),
            Self.session("198.51.100.7", 1007, to: 80),
        ]
        host.kernel.sessions.withLock { $0 = sessions }
        switch way {
        case "expired":
            host.clocks.pass(.seconds(20 * 60))
            await agent.grantsEnded()
        case "closed": _ = try await agent.close(grant: grant(1, 1), by: alice)
        case "policy":
            try host.changeConfiguration { $0.policies[0].sessions = .cut }
            _ = try await agent.revoke(request: 1, reason: nil, by: dora)
        default:
            // The same person, source and port, for a shorter time: the element stays open.
            try await agent.open(ask("ssh", from: "198.51.100.0/24", for: "10m"))
            #expect(host.kernel.listings.withLock(\.self) <= 1)
            host.clocks.pass(.seconds(10 * 60))
            await agent.grantsEnded()
        }
        #expect(try await Self.isEnded("198.51.100.7:1001", "198.51.100.7:1002", at: host))
        let told = try await eventually { try !host.audit("cut").isEmpty }
        #expect(told)
        let row = try #require(try host.audit("cut").first)
        #expect(row.source == "198.51.100.7/32")
        #expect(row.policy == "ssh")
        #expect(row.port == "22/tcp")
        #expect(row.detail == "2 sessions ended with the grant, from port 1001, 1002")
    }

    /// By whoever closes the grant with them and by the agent, which finds them twice.
    @Test func areToldOfOnceHoweverOftenTheyAreEnded() async throws {
        let host = try Self.host()
        let hosts = [try CIDR(parsing: "192.0.2.0/24")]
        try host.changeConfiguration { $0.policies[0].hosts = hosts }
        let agent = try await host.agent()
        var session = try Self.session("198.51.100.7", 1001)
        session.isFar = true
        var other = session
        other.client.port = 1002
        other.destination.address = try IPAddress(parsing: "192.0.2.2")
        host.kernel.sessions.withLock { [session, other] in $0 = [session, other] }
        host.kernel.listsEndedSessions.withLock { $0 = true }
        for (number, address) in ["192.0.2.1", "192.0.2.2"].enumerated() {
            try await agent.open(ask("22/tcp@\(address)", from: "198.51.100.7", for: "20m"))
            _ = try await agent.close(
                grant: grant(Int64(number) + 1, 1),
                cutting: number == 0,
                by: alice
            )
        }
        #expect(
            try await eventually {
                let ended = host.kernel.ended.withLock(\.self)
                return ["198.51.100.7:1001", "198.51.100.7:1002"].allSatisfy { client in
                    ended.count { $0 == client } >= 2
                }
            }
        )
        let rows = try host.audit("cut")
        #expect(rows.compactMap(\.host).sorted() == ["192.0.2.1", "192.0.2.2"])
        #expect(rows.count == 2)
        #expect(rows.allSatisfy { $0.detail?.hasPrefix("1 session ended") == true })
    }

    /// Neither is anything looked at where sessions outlive their grants.
    @Test func outliveTheirGrantWhereThePolicySaysSo() async throws {
        let host = try Self.host()
        let agent = try await host.agent()
        #expect(try await eventually { host.kernel.listings.withLock(\.self) == 1 })
        host.kernel.sessions.withLock { $0 = [] }
        try host.changeConfiguration { $0.policies[1].udpSessions = .keep }
        try await agent.reload(by: Person?.none)
        try await agent.open(ask("web", from: "198.51.100.7", for: "20m"))
        host.kernel.sessions.withLock { $0 = try? [Self.session("198.51.100.7", 1001, to: 80)] }
        host.clocks.pass(.seconds(20 * 60))
        await agent.grantsEnded()
        try await agent.open(ask("web", from: "198.51.100.7", for: "20m"))
        _ = try await agent.close(grant: grant(2, 1), by: alice)
        #expect(host.kernel.listings.withLock(\.self) == 1)
        #expect(host.kernel.ended.withLock(\.self).isEmpty)
    }

    @Test func datagramsEndWithTheirGrantByDefault() async throws {
        let host = try Self.host()
        let agent = try await host.agent()
        try await agent.open(ask("web", from: "198.51.100.7", for: "20m"))
        host.kernel.sessions.withLock {
            $0 = try? [
                Self.session("198.51.100.7", 1001, to: 80),
                Self.session("198.51.100.7", 1002, to: 80, .udp),
            ]
        }
        _ = try await agent.close(grant: grant(1, 1), by: alice)
        #expect(try await Self.isEnded("198.51.100.7:1002", at: host))
    }

    /// A full disk keeps no session alive, either.
    @Test func endWithTheirGrantThoughNothingCanBeRecorded() async throws {
        let host = try Self.host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "20m"))
        host.kernel.sessions.withLock { $0 = try? [Self.session("198.51.100.7", 1001)] }
        host.store.fail(commit: .full)
        host.clocks.pass(.seconds(20 * 60))
        await agent.grantsEnded()
        #expect(try await Self.isEnded("198.51.100.7:1001", at: host))
        host.store.fail(commit: nil)
    }

    @Test func whatEndedWhileNoAgentRanEndsAtTheStart() async throws {
        let host = try Self.host()
        var agent: Agent? = try await host.agent()
        try await agent?.open(ask("ssh", from: "198.51.100.7", for: "20m"))
        try await agent?.open(ask("ssh", from: "198.51.100.8", for: "60m"))
        agent = nil
        host.clocks.pass(.seconds(20 * 60))
        host.kernel.sessions.withLock {
            $0 = try? [
                Self.session("198.51.100.7", 1001), Self.session("198.51.100.8", 1002),
                Self.session("198.51.100.9", 1003, isEarlier: true),
                Self.session("198.51.100.7", 1004, to: 80),
            ]
        }
        agent = try await host.agent()
        #expect(try await Self.isEnded("198.51.100.7:1001", at: host))
        withExtendedLifetime(agent) {}
    }

    @Test func areListedToWhoMaySeeThem() async throws {
        let host = try Self.host(breakGlass: ["198.51.100.9/32"])
        let agent = try await host.agent()
        host.kernel.sessions.withLock { $0 = [] }
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "20m"))
        try await agent.open(ask("web", from: "198.51.100.8", for: "20m"), by: bob)
        try await agent.open(ask("web", from: "198.51.100.6", for: "20m"))
        _ = try await agent.close(grant: grant(3, 1), by: alice)
        let sessions = try [
            Self.session("198.51.100.7", 1001), Self.session("198.51.100.8", 1002, to: 80),
            Self.session("198.51.100.9", 1003), Self.session("198.51.100.7", 1004, isEarlier: true),
            Self.session("198.51.100.6", 1005, to: 80), Self.session("203.0.113.1", 1006, to: 80),
            // On its way out.
            Self.session("203.0.113.1", 1007),
        ]
        host.kernel.sessions.withLock { $0 = sessions }
        func listed(_ caller: Caller, _ grant: String? = nil) async throws -> [String] {
            try await agent.sessions(ofGrant: grant, for: caller).sessions.map {
                "\($0.sourcePort) \($0.standing.rawValue) \($0.grants.joined(separator: " "))"
            }
        }
        let all = [
            "1001 granted 1.1", "1004 earlier ", "1003 break-glass ", "1005 outlived 3.1",
            "1002 granted 2.1", "1006 outlived ",
        ]
        for caller in [vera, carol, dora] { #expect(try await listed(caller) == all) }
        #expect(try await listed(alice) == ["1001 granted 1.1", "1005 outlived 3.1"])
        #expect(try await listed(bob) == ["1002 granted 2.1"])
        #expect(try await listed(vera, "1.1") == ["1001 granted 1.1"])
        #expect(try await listed(vera, "3") == ["1005 outlived 3.1"])
        let wrong = await problem { try await agent.sessions(ofGrant: "x", for: vera) }
        #expect(wrong?.code == .badRequest)
        for (caller, id) in [(vera, "4"), (vera, "1.2"), (bob, "1"), (bob, "1.1")] {
            let none = await problem { try await agent.sessions(ofGrant: id, for: caller) }
            #expect(none?.code == .notFound)
        }
    }

    @Test func areCutByTheOwnerOfTheGrantAndByAdmins() async throws {
        let host = try Self.host(breakGlass: ["203.0.113.9/32"])
        let agent = try await host.agent()
        host.kernel.sessions.withLock { $0 = [] }
        try await agent.open(ask("web", from: "198.51.100.7", for: "20m"))
        try await agent.open(ask("web", from: "198.51.100.0/24", for: "20m"), by: bob)
        try await agent.open(ask("web", from: "203.0.113.0/24", for: "20m"))
        let sessions = try [
            // Let in by grants of two people.
            Self.session("198.51.100.7", 1001, to: 80), Self.session("198.51.100.8", 1002, to: 80),
            Self.session("203.0.113.7", 1003, to: 80),
            Self.session("203.0.113.7", 1004, to: 80, .udp),
            // Let in without that grant, too.
            Self.session("203.0.113.9", 1005, to: 80),
        ]
        host.kernel.sessions.withLock { $0 = sessions }
        let ids = try await agent.sessions(ofGrant: nil, for: dora).sessions.reduce(into: [:]) {
            $0[$1.sourcePort] = $1.id
        }
        #expect(Set(ids.values).count == 5)
        func refusal(_ port: UInt16, _ caller: Caller) async throws -> Problem.Code? {
            let id = try #require(ids[port])
            return await problem { try await agent.cut(session: id, by: caller) }?.code
        }
        #expect(try await refusal(1001, alice) == .notPermitted)
        #expect(try await refusal(1001, bob) == .notPermitted)
        #expect(try await refusal(1002, alice) == .notFound)
        #expect(try await refusal(1004, alice) == .wrongState)
        #expect(try await refusal(1005, alice) == .notPermitted)
        let unknown = await problem { try await agent.cut(session: "5f0c2e91a7d4", by: dora) }
        #expect(unknown?.code == .notFound)
        let half = String(try #require(ids[1001]).dropLast())
        #expect(await problem { try await agent.cut(session: half, by: dora) }?.code == .notFound)
        #expect(host.kernel.ended.withLock(\.self).isEmpty)

        #expect(try await refusal(1003, alice) == nil)
        #expect(try await refusal(1001, dora) == nil)
        #expect(
            host.kernel.ended.withLock(\.self) == ["203.0.113.7:1003", "198.51.100.7:1001"]
        )
        let rows = try host.audit("cut")
        #expect(rows.map(\.subject) == ["unix:1000", "unix:1002"])
        #expect(rows.map(\.request) == [3, 1])
        #expect(rows.map(\.requester) == [nil, "unix:1000"])
        #expect(rows[0].detail == "203.0.113.7:1003 to 192.0.2.1:80, granted")
    }

    @Test func endWithAGrantThatIsClosedSoThoughThePolicyKeepsThem() async throws {
        let host = try Self.host()
        let agent = try await host.agent()
        host.kernel.sessions.withLock { $0 = [] }
        try await agent.open(ask("web", from: "198.51.100.0/24", for: "20m"))
        try await agent.open(ask("web", from: "198.51.100.8", for: "20m"), by: bob)
        let sessions = try [
            Self.session("198.51.100.7", 1001, to: 80), Self.session("198.51.100.8", 1002, to: 80),
            Self.session("198.51.100.7", 1003, to: 80, isEarlier: true),
            Self.session("203.0.113.1", 1004, to: 80),
        ]
        host.kernel.sessions.withLock { $0 = sessions }
        let closed = try await agent.close(grant: grant(1, 1), cutting: true, by: alice)
        #expect(closed.cutSessions?.count == 1)
        #expect(host.kernel.ended.withLock(\.self) == ["198.51.100.7:1001"])
        let revoked = try await agent.revoke(request: 2, reason: nil, cutting: true, by: dora)
        #expect(revoked.grants.map { $0.cutSessions?.count } == [1])
        #expect(
            host.kernel.ended.withLock(\.self) == ["198.51.100.7:1001", "198.51.100.8:1002"]
        )
        #expect(try host.audit("cut").map(\.request) == [1, 2])
    }
}

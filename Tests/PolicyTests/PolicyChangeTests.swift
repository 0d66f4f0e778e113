import Policy
import TestSupport
import Testing

/// What a changed policy still allows, and which ports it leaves to everybody.
@Suite struct PolicyChangeTests {
    private let now = Moment(
        wall: Timestamp(milliseconds: 1_796_126_400_000),
        boot: BootTime(milliseconds: 5_000_000)
    )

    private func grant(
        port: String = "22/tcp",
        source: String = "198.51.100.0/28",
        minutes: Int64 = 60,
        byClock: Int64? = nil
    ) throws -> Grant {
        Grant(
            id: Grant.ID(request: 1, ordinal: 1),
            policy: "ssh",
            port: try PortRange(parsing: port),
            source: try CIDR(parsing: source),
            requester: Requester(subject: .local(uid: 1000), name: "alice"),
            startsAt: now.wall,
            end: GrantEnd(
                expiresAt: now.wall + .seconds(minutes * 60),
                deadline: now.boot + .seconds((byClock ?? minutes) * 60)
            )
        )
    }

    private func policy(_ change: (inout AccessPolicy) throws -> Void) throws -> AccessPolicy {
        var policy = AccessPolicy(
            name: "ssh",
            ports: [try PortRange(parsing: "20-30/any")],
            maxDuration: .seconds(3_600)
        )
        try change(&policy)
        return policy
    }

    @Test func allowsWhatCouldBeAskedForNow() throws {
        let same = try policy { _ in }
        #expect(same.allows(try grant(), at: now))
        #expect(same.allows(try grant(port: "20-30/any"), at: now))
        #expect(!same.allows(try grant(port: "30-31/tcp"), at: now))
        #expect(!same.allows(try grant(minutes: 61), at: now))
        // The time that is left counts, and of two clocks the earlier end.
        #expect(same.allows(try grant(minutes: 61, byClock: 60), at: now))
        let later = Moment(wall: now.wall + .seconds(60), boot: now.boot + .seconds(60))
        #expect(same.allows(try grant(minutes: 61), at: later))
        #expect(!(try policy { $0.enabled = false }.allows(try grant(), at: now)))
        let near = try policy { $0.allowedSources = [try CIDR(parsing: "198.51.100.0/27")] }
        #expect(near.allows(try grant(), at: now))
        #expect(!near.allows(try grant(source: "198.51.100.0/26"), at: now))
        #expect(!near.allows(try grant(source: "2001:db8::1"), at: now))
        let narrow = try policy { $0.widestSource = WidestSource(ipv4: 29, ipv6: 64) }
        #expect(!narrow.allows(try grant(), at: now))
        #expect(narrow.allows(try grant(source: "2001:db8::/64"), at: now))
        #expect(!narrow.allows(try grant(source: "2001:db8::/63"), at: now))
    }

    @Test func peopleOfAnIssuerStayWhereNoneOfTheirGroupsIsTakenOut() throws {
        let ops = Principal.asserted(issuer: "corp", group: "ops")
        let dev = Principal.asserted(issuer: "corp", group: "dev")
        func admits(_ now: [Principal]?, _ before: [Principal]?) throws -> Bool {
            try policy { $0.requesters = now }
                .admitsAll(of: "corp", admittedBy: policy { $0.requesters = before })
        }
        #expect(try admits([ops, dev], [ops]))
        #expect(try admits([ops], [.user("bob"), ops]))
        #expect(try admits([ops], [ops, .asserted(issuer: "lab", group: "dev")]))
        #expect(try !admits([ops], [ops, dev]))
        #expect(try !admits([ops], nil))
        #expect(try admits(nil, [ops]))
    }

    @Test(arguments: [
        (["22/tcp"], ["22/tcp"], []),
        (["22/tcp", "80-90/any"], ["22/tcp"], ["80-90/tcp", "80-90/udp"]),
        (["1-65535/tcp"], ["2-65534/any"], ["1/tcp", "65535/tcp"]),
        (["53/any"], ["53/udp"], ["53/tcp"]),
        (["10-20/tcp"], ["12/tcp", "14-15/tcp"], ["10-11/tcp", "13/tcp", "16-20/tcp"]),
        ([], ["22/tcp"], []),
    ])
    func tellsThePortsThatAreManagedNoLonger(
        before: [String],
        after: [String],
        open: [String]
    ) throws {
        func policies(_ ports: [String]) throws -> PolicySet {
            let ports = try ports.map { try PortRange(parsing: $0) }
            let off = AccessPolicy(
                name: "off",
                ports: [try PortRange(parsing: "7/tcp")],
                enabled: false
            )
            let on = ports.map { AccessPolicy(name: "\($0)", ports: [$0]) }
            return PolicySet(policies: on + [off], roles: RoleTable([:]))
        }
        let left = try policies(before).ports(notManagedBy: policies(after))
        #expect(left.map(\.description) == open)
    }
}

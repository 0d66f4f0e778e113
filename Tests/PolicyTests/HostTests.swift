import Policy
import Testing

/// Requests for hosts behind this machine.
@Suite struct HostTests {
    /// Port 22 of this machine, of two networks behind it, and of one host by another policy.
    private func policies() throws -> PolicySet {
        PolicySet(
            policies: [
                AccessPolicy(name: "ssh", ports: [try port("22/tcp")]),
                AccessPolicy(
                    name: "lab",
                    ports: [try port("22/tcp"), try port("3389/tcp")],
                    hosts: [try cidr("192.0.2.0/24"), try cidr("2001:db8:2::/48")]
                ),
                AccessPolicy(
                    name: "vault",
                    ports: [try port("22/tcp"), try port("80/tcp")],
                    hosts: [try cidr("203.0.113.9/32")]
                ),
            ],
            roles: requesters
        )
    }

    private func decide(_ target: String, from source: String) throws -> PolicySet.Decision {
        try policies().decide(
            Ask(targets: [target], sources: [source]),
            by: alice,
            at: noon,
            active: { _ in 0 }
        )
    }

    @Test(arguments: [
        ("ssh", "10.0.0.5", "ssh 22/tcp"), ("22/tcp", "10.0.0.5", "ssh 22/tcp"),
        ("22/tcp@192.0.2.7", "10.0.0.5", "lab 22/tcp@192.0.2.7"),
        ("lab@192.0.2.7", "10.0.0.5", "lab 22/tcp@192.0.2.7, lab 3389/tcp@192.0.2.7"),
        ("22/tcp@2001:db8:2::7", "2001:db8::5", "lab 22/tcp@2001:db8:2::7"),
        ("22/tcp@203.0.113.9", "10.0.0.5", "vault 22/tcp@203.0.113.9"),
        ("80/tcp@::ffff:203.0.113.9", "10.0.0.5", "vault 80/tcp@203.0.113.9"),
    ])
    func findsThePolicyOfAHost(target: String, source: String, expected: String) throws {
        guard case .open(let openings, _, _) = try decide(target, from: source) else {
            Issue.record("\(try decide(target, from: source))")
            return
        }
        let text = openings.map { "\($0.policy) \($0.port.text(at: $0.host))" }
        #expect(text.joined(separator: ", ") == expected)
    }

    @Test(arguments: [
        (
            "lab", "10.0.0.5",
            "targets[0] | lab | lab@ and an address of 192.0.2.0/24, 2001:db8:2::/48 | cannot open lab: policy lab is for hosts behind this machine, 192.0.2.0/24, 2001:db8:2::/48; name one, like lab@192.0.2.0"
        ),
        (
            "80/tcp", "10.0.0.5",
            "targets[0] | 80/tcp | 80/tcp@ and an address of 203.0.113.9/32 | cannot open 80/tcp: policy vault is for hosts behind this machine, 203.0.113.9/32; name one, like 80/tcp@203.0.113.9"
        ),
        (
            "ssh@192.0.2.7", "10.0.0.5",
            "targets[0] | ssh@192.0.2.7 | ssh | cannot open ssh@192.0.2.7: policy ssh is for this machine itself; ask for ssh"
        ),
        (
            "lab@198.51.100.1", "10.0.0.5",
            "targets[0] | lab@198.51.100.1 | lab@ and an address of 192.0.2.0/24, 2001:db8:2::/48 | cannot open lab@198.51.100.1: policy lab is for 192.0.2.0/24, 2001:db8:2::/48 only"
        ),
        (
            "lab@192.0.2.0/24", "10.0.0.5",
            "targets[0] | lab@192.0.2.0/24 | lab@ADDRESS | cannot open lab@192.0.2.0/24: behind @ stands the address of one host: that is a range"
        ),
        (
            "@192.0.2.7", "10.0.0.5",
            "targets[0] | @192.0.2.7 | POLICY@192.0.2.7 | cannot open @192.0.2.7: in front of @ stands a policy or port; what can be asked for: ssh, lab, vault"
        ),
        (
            "lab@192.0.2.7", "2001:db8::5",
            "sources | 2001:db8::5/128 | an IPv4 source | cannot open 192.0.2.7 for 2001:db8::5/128: from IPv6 nothing comes to it; ask for an IPv4 source"
        ),
    ])
    func refusesWhatIsNotOfThePolicy(target: String, source: String, expected: String) throws {
        guard case .refused(let violations) = try decide(target, from: source) else {
            Issue.record("\(try decide(target, from: source))")
            return
        }
        let texts = violations.map {
            "\($0.field) | \($0.value) | \($0.allowed) | \($0.message)"
        }
        #expect(texts == [expected])
    }

    @Test(
        arguments: [
            (nil, "192.0.2.7", false), (["192.0.2.0/24"], "192.0.2.7", true),
            (["192.0.2.8/29"], "192.0.2.7", false), (["192.0.2.0/24"], nil, false),
            (nil, nil, true),
        ] as [([String]?, String?, Bool)]
    )
    func allowsWhatItsHostsAllow(hosts: [String]?, host: String?, isAllowed: Bool) throws {
        let policy = AccessPolicy(
            name: "lab",
            ports: [try port("22/tcp")],
            hosts: try hosts?.map(cidr)
        )
        let grant = Grant(
            id: .init(request: 1, ordinal: 1),
            policy: "lab",
            port: try port("22/tcp"),
            host: try host.map(IPAddress.init(parsing:)),
            source: try cidr("10.0.0.5/32"),
            requester: Requester(subject: .local(uid: 1_000), name: "alice"),
            startsAt: noon,
            end: GrantEnd(
                expiresAt: noon + .seconds(60),
                deadline: BootTime(milliseconds: 60_000)
            )
        )
        let now = Moment(wall: noon, boot: BootTime(milliseconds: 0))
        #expect(policy.allows(grant, at: now) == isAllowed)
    }

    /// One destination is not renewed by another, and each element is its own.
    @Test func grantsForTwoHostsAreTwo() throws {
        let grants = try ["192.0.2.7", "192.0.2.8", nil].enumerated().map { index, host in
            Grant(
                id: .init(request: Int64(index + 1), ordinal: 1),
                policy: "lab",
                port: try port("22/tcp"),
                host: try host.map(IPAddress.init(parsing:)),
                source: try cidr("10.0.0.5/32"),
                requester: Requester(subject: .local(uid: 1_000), name: "alice"),
                startsAt: noon,
                end: GrantEnd(expiresAt: noon, deadline: BootTime(milliseconds: 60_000))
            )
        }
        let plan = Plan(live: grants)
        #expect(Set(plan.elements.map(\.key.host)) == Set(grants.map(\.host)))
        for grant in grants {
            #expect(plan.renewed(by: Opening(grant), of: .local(uid: 1_000)) == grant)
        }
    }

    @Test(
        arguments: [
            (["192.0.2.0/24"], ["192.0.2.0/25"], ["22/tcp@192.0.2.0/24"]),
            (["192.0.2.0/25"], ["192.0.2.0/24"], []),
            (["192.0.2.0/24"], nil, ["22/tcp@192.0.2.0/24"]), (nil, ["192.0.2.0/24"], ["22/tcp"]),
        ] as [([String]?, [String]?, [String])]
    )
    func tellsTheHostsWhosePortsAreManagedNoLonger(
        before: [String]?,
        after: [String]?,
        open: [String]
    ) throws {
        func policies(_ hosts: [String]?) throws -> PolicySet {
            let hosts = try hosts?.map(cidr)
            let policy = AccessPolicy(name: "a", ports: [try port("22/tcp")], hosts: hosts)
            return PolicySet(policies: [policy], roles: RoleTable([:]))
        }
        let left = try policies(before).ports(notManagedBy: policies(after))
        #expect(left.map(\.description) == open)
        #expect(try left.map { try OpenPort(parsing: $0.description) } == left)
    }
}

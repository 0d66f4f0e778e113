import Policy
import Testing

func local(_ name: String, uid: UInt32, groups: Set<String> = []) -> Identity {
    Identity(
        subject: .local(uid: uid),
        name: name,
        groups: groups,
        origin: .process(Origin.Process(pid: 7))
    )
}

/// Somebody of an issuer, who comes from 192.0.2.1.
func remote(
    _ name: String,
    issuer: String = "corp",
    id: String = "248289761001",
    groups: Set<String> = [],
    via delegate: Delegate? = portal()
) throws -> Identity {
    Identity(
        subject: try Subject(issuer: issuer, id: id),
        name: name,
        groups: groups,
        via: delegate,
        origin: .client(address: try IPAddress(parsing: "192.0.2.1"), session: "k3J9")
    )
}

func portal(
    ceiling: Set<Role> = [.viewer, .requester, .approver],
    policies: Set<String>? = nil,
    ownAddressOnly: Bool = false,
    liveGrants: Int = 200
) -> Delegate {
    Delegate(
        name: "portal",
        user: "sallyport-portal",
        issuers: ["corp"],
        ceiling: ceiling,
        policies: policies,
        ownAddressOnly: ownAddressOnly,
        limits: Delegate.Limits(liveGrants: liveGrants)
    )
}

@Suite struct SubjectTests {
    @Test(arguments: [
        "unix:0", "unix:1000", "unix:4294967295", "oidc:corp:248289761001",
        "oidc:corp-ca:deploy@ci", "oidc:c:a:b:c", "oidc:0-9:!~",
        "oidc:corp:" + String(repeating: "x", count: 255),
    ])
    func readsTextForms(text: String) throws {
        #expect(try Subject(parsing: text).description == text)
    }

    @Test(arguments: [
        "", "unix", "unix:", "unix:alice", "unix:01", "unix:+1", "unix:-1", "unix:4294967296",
        "unix:1:2", "UNIX:1", "uid:1", "oidc:corp", "oidc:corp:", "oidc::1", "oidc:Corp:1",
        "oidc:co_rp:1", "oidc:corp:a b", "oidc:corp:a\u{7F}", "oidc:corp:é", "oidc:corp:a\n",
        "oidc:corp:" + String(repeating: "x", count: 256),
        "oidc:" + String(repeating: "x", count: 64) + ":1", " unix:1", "unix:1 ", "unix:\u{661}",
    ])
    func refusesWhatIsNobody(text: String) {
        #expect(refusal(Subject.self, text) != nil)
    }

    @Test func aRemoteAliceIsNoLocalAlice() throws {
        let here = local("alice", uid: 1_000, groups: ["ops"])
        for id in ["alice", "1000", "unix:1000"] {
            let there = try remote("alice", id: id, groups: ["ops"])
            #expect(there.subject != here.subject)
            #expect(there.subject.description != here.subject.description)
            #expect(there.subject.uid == nil)
        }
        let other = try remote("alice", issuer: "corp-ca")
        #expect(try remote("alice").subject != other.subject)
        // The name is for people only: it makes nobody somebody else.
        #expect(try remote("alice").subject == remote("alicia").subject)
    }
}

@Suite struct RoleTests {
    private let table = RoleTable(
        [
            .admin: [.user("alice"), .asserted(issuer: "corp", group: "root")],
            .approver: [.asserted(issuer: "corp", group: "leads")],
            .requester: [.group("ops"), .asserted(issuer: "corp", group: "ops")],
            .viewer: [.group("adm")],
        ],
        delegates: [portal()]
    )

    @Test func rolesComeFromUserAndGroupsAndAddUp() {
        let person = local("alice", uid: 5, groups: ["ops", "alice"])
        #expect(table.roles(of: person) == [.admin, .requester])
        #expect(table.roles(of: root) == [.admin])
        #expect(table.roles(of: local("adm", uid: 5)) == [])
    }

    @Test func assertedGroupsAndLocalOnesGiveRightsToTheirOwnPeopleOnly() throws {
        #expect(try table.roles(of: remote("mallory", groups: ["ops"])) == [.requester])
        // A group of this host, a user of this host, and another issuer's group of that name.
        #expect(try table.roles(of: remote("mallory", groups: ["adm"])) == [])
        #expect(try table.roles(of: remote("alice")) == [])
        #expect(try table.roles(of: remote("eve", issuer: "other", groups: ["ops"])) == [])
        let leads = local("bob", uid: 5, groups: ["leads", "corp-group:leads"])
        #expect(table.roles(of: leads) == [])
    }

    @Test func theCeilingOfTheDelegateBoundsItsPeople() throws {
        let groups: Set = ["ops", "leads", "root"]
        #expect(try table.roles(of: remote("a", groups: groups)) == [.requester, .approver])
        let low = portal(ceiling: [.viewer, .requester])
        #expect(try table.roles(of: remote("a", groups: groups, via: low)) == [.requester])
        let none = portal(ceiling: [])
        #expect(try table.roles(of: remote("a", groups: groups, via: none)) == [])
        // Whatever a ceiling says, nobody from elsewhere is admin, and nobody speaks for himself.
        let high = portal(ceiling: Set(Role.allCases))
        #expect(try !table.roles(of: remote("a", groups: groups, via: high)).contains(.admin))
        #expect(try table.roles(of: remote("a", groups: groups, via: nil)) == [])
    }

    @Test func theDelegatesOwnUserHasNoRole() {
        let own = local("sallyport-portal", uid: 990, groups: ["ops", "adm"])
        #expect(table.roles(of: own) == [])
        let other = local("sallyport-hub", uid: 991, groups: ["ops", "adm"])
        #expect(table.roles(of: other) == [.requester, .viewer])
    }

    @Test(arguments: [
        "alice", "group:ops", "group:domain users", "CORP\\alice", "1000", "corp-group:ops",
        "corp-ca-group:domain users", "group-group:ops", "group",
    ])
    func readsPrincipals(text: String) throws {
        #expect(try Principal(parsing: text).description == text)
    }

    @Test func anAssertedGroupIsNoGroupOfThisHost() throws {
        #expect(
            try Principal(parsing: "corp-group:ops") == .asserted(issuer: "corp", group: "ops")
        )
        #expect(try Principal(parsing: "group:ops") == .group("ops"))
    }

    @Test(arguments: [
        "", "group:", " alice", "group: ops", "ops ", "Group:ops", "user:alice", "a\u{0}b", "a\nb",
        "corp-group:", "-group:ops", "Corp-group:ops", "corp_group:ops", "corp-group:a:b",
    ])
    func refusesWhatNamesNobody(text: String) {
        #expect(
            refusal(Principal.self, text)?.message
                == "write a user name, group:NAME for the members of a group, or "
                + "ISSUER-group:NAME for those an issuer counts to it"
        )
    }
}

@Suite struct DelegateDecisionTests {
    private func decide(
        _ targets: [String],
        _ sources: [String] = ["192.0.2.1"],
        via delegate: Delegate,
        held: Int = 0
    ) throws -> PolicySet.Decision {
        let policies = PolicySet(
            policies: [
                AccessPolicy(name: "ssh", ports: [try port("22/tcp")]),
                AccessPolicy(
                    name: "rdp",
                    ports: [try port("3389/tcp")],
                    requesters: [.asserted(issuer: "corp", group: "desk"), .group("ops")]
                ),
                AccessPolicy(name: "winrm", ports: [try port("5985/tcp")]),
            ],
            roles: RoleTable([.requester: [.asserted(issuer: "corp", group: "ops")]])
        )
        return policies.decide(
            Ask(targets: targets, sources: sources),
            by: try remote("eve", groups: ["ops"], via: delegate),
            at: noon,
            active: { _ in 0 },
            activeOfDelegate: held
        )
    }

    private func refusals(_ decision: PolicySet.Decision) -> [String] {
        guard case .refused(let violations) = decision else { return [] }
        return violations.map { "\($0.field) | \($0.value) | \($0.allowed) | \($0.message)" }
    }

    @Test func opensOnlyUnderItsPolicies() throws {
        guard case .open = try decide(["winrm"], via: portal()) else {
            Issue.record("a delegate without a list of policies was refused")
            return
        }
        let narrow = portal(policies: ["ssh", "rdp"])
        guard case .open = try decide(["ssh"], via: narrow) else {
            Issue.record("a policy of the list was refused")
            return
        }
        // To its people there are no others.
        let list = "ssh, rdp"
        #expect(
            refusals(try decide(["ssh", "winrm"], via: narrow)) == [
                "targets[1] | winrm | \(list) | cannot open winrm: there is no such policy; what "
                    + "can be asked for: \(list)"
            ]
        )
        for targets in [["5985/tcp"], ["1/tcp"], ["1-65535/any"], ["telnet"], []] {
            let texts = refusals(try decide(targets, via: narrow)).joined()
            #expect(!texts.isEmpty)
            for other in ["winrm,", "wide", "10000", "5985-5986"] {
                #expect(!texts.contains(other), "\(texts)")
            }
        }
    }

    @Test func extendsOnlyUnderItsPolicies() throws {
        let policies = PolicySet(
            policies: [AccessPolicy(name: "ssh", ports: [try port("22/tcp")])],
            roles: RoleTable([.requester: [.asserted(issuer: "corp", group: "ops")]])
        )
        let grant = Grant(
            id: Grant.ID(request: 17, ordinal: 1),
            policy: "ssh",
            port: try port("22/tcp"),
            source: try cidr("192.0.2.1"),
            requester: holders[2],
            startsAt: noon,
            end: GrantEnd(expiresAt: noon + .seconds(60), deadline: boot(60_000))
        )
        let extend = { (delegate: Delegate) in
            policies.decideExtension(
                of: [grant],
                by: .seconds(60),
                requester: try remote("eve", groups: ["ops"], via: delegate),
                at: noon
            )
        }
        guard case .extend = try extend(portal(policies: ["ssh"])) else {
            Issue.record("a policy of the list was refused")
            return
        }
        #expect(
            try extend(portal(policies: ["rdp"]))
                == .notPermitted(
                    "cannot ask under policy ssh through portal: it may ask only under rdp"
                )
        )
    }

    @Test func aPolicysRequestersAreMeantByIssuer() throws {
        #expect(
            try decide(["rdp"], via: portal())
                == .notPermitted("cannot open rdp: eve is not among its requesters")
        )
    }

    @Test func opensOnlyForTheOwnAddressWhereThatIsTheRule() throws {
        let strict = portal(ownAddressOnly: true)
        for source in ["192.0.2.1", "192.0.2.1/32", "::ffff:192.0.2.1"] {
            guard case .open = try decide(["ssh"], [source], via: strict) else {
                Issue.record("the person's own address was refused: \(source)")
                return
            }
        }
        #expect(
            try refusals(decide(["ssh"], ["192.0.2.1", "192.0.2.0/24", "10.0.0.1"], via: strict))
                == [
                    "sources[1] | 192.0.2.0/24 | 192.0.2.1/32 | cannot open for 192.0.2.0/24: "
                        + "portal opens only for the address that eve comes from",
                    "sources[2] | 10.0.0.1/32 | 192.0.2.1/32 | cannot open for 10.0.0.1/32: "
                        + "portal opens only for the address that eve comes from",
                ]
        )
        guard case .open = try decide(["ssh"], ["10.0.0.1"], via: portal()) else {
            Issue.record("another address was refused without the rule")
            return
        }
    }

    /// The index of a violation is that of the request, also behind a source named twice or wrong.
    @Test func aStrangeSourceIsNamedByItsPlaceInTheRequest() throws {
        let strict = portal(ownAddressOnly: true)
        let sources = ["192.0.2.1", "192.0.2.1/32", "nowhere", "10.0.0.1"]
        #expect(
            try refusals(decide(["ssh"], sources, via: strict)).map { $0.prefix { $0 != " " } }
                .sorted() == ["sources[2]", "sources[3]"]
        )
    }

    @Test func countsTheLiveGrantsOfAllItsPeople() throws {
        let sources = ["192.0.2.1", "192.0.2.2"]
        let small = portal(liveGrants: 5)
        guard case .open = try decide(["ssh"], sources, via: small, held: 3) else {
            Issue.record("five of five grants were refused")
            return
        }
        #expect(
            try refusals(decide(["ssh"], sources, via: small, held: 4)) == [
                "targets | 2 grants | at most 1 grants | cannot open 2 more through portal: its "
                    + "people hold 4 of at most 5 grants; ask again when some have ended"
            ]
        )
        #expect(try refusals(decide(["ssh"], sources, via: small, held: .max)).count == 1)
    }
}

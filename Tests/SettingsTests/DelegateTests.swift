import Policy
import Settings
import TestSupport
import Testing

@Suite struct DelegateTests {
    private let settings = """
        delegates:
          - name: portal
            user: sallyport-portal
            issuers: [corp, corp-ca]
            ceiling: [viewer, requester, approver]
            policies: [ssh]
            own_address_only: true
            max_login_age: 15m
            limits: { requests_per_minute: 30, per_person_per_minute: 3, live_grants: 50 }
          - name: hub
            user: sallyport-hub
            issuers: [corp]
            ceiling: [viewer]
        roles:
          requester: ["group:ops", "corp-group:ops", "corp-group:desk"]
          viewer: ["corp-ca-group:auditors"]
        """
    private let policies = """
        policies:
          - name: ssh
            ports: [22/tcp]
            requesters: ["corp-group:ops", "corp-group:night", "group:local"]
        """

    private func load(_ settings: String) throws -> AgentConfiguration {
        let folder = try TemporaryFolder(["sallyport.yaml": settings, "policy.d/a.yaml": policies])
        return try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
    }

    @Test func readsEveryKeyAndLeavesDefaults() throws {
        let portal = Delegate(
            name: "portal",
            user: "sallyport-portal",
            issuers: ["corp", "corp-ca"],
            ceiling: [.viewer, .requester, .approver],
            policies: ["ssh"],
            ownAddressOnly: true,
            maxLoginAge: .seconds(900),
            limits: Delegate.Limits(
                requestsPerMinute: 30,
                perPersonPerMinute: 3,
                liveGrants: 50
            )
        )
        let hub = Delegate(
            name: "hub",
            user: "sallyport-hub",
            issuers: ["corp"],
            ceiling: [.viewer],
            policies: nil,
            ownAddressOnly: false,
            maxLoginAge: .seconds(8 * 3_600),
            limits: Delegate.Limits(
                requestsPerMinute: 60,
                perPersonPerMinute: 6,
                liveGrants: 200
            )
        )
        #expect(try load(settings).delegates == [portal, hub])
    }

    @Test func rolesKnowTheDelegates() throws {
        let read = try load(settings)
        #expect(read.roles.roles(of: local("sallyport-portal", groups: ["ops"])) == [])
        let eve = Identity(
            subject: .remote(issuer: "corp", id: "1"),
            name: "eve",
            groups: ["ops"],
            via: read.delegates[0],
            origin: .client(address: try IPAddress(parsing: "192.0.2.1"), session: "s")
        )
        #expect(read.roles.roles(of: eve) == [.requester])
    }

    @Test func tellsEachDelegateTheGroupsThatMeanAnything() throws {
        let read = try load(settings)
        #expect(
            read.assertedGroups(of: read.delegates[0])
                == ["corp": ["desk", "night", "ops"], "corp-ca": ["auditors"]]
        )
        #expect(read.assertedGroups(of: read.delegates[1]) == ["corp": ["desk", "night", "ops"]])
        let bare = try load(
            """
            delegates: [{name: p, user: p, issuers: [c, other], ceiling: [viewer]},
                        {name: q, user: q, issuers: [corp], ceiling: [viewer]}]
            """
        )
        #expect(bare.assertedGroups(of: bare.delegates[0]) == ["c": [], "other": []])
    }

    @Test(arguments: [
        (
            "name: Portal",
            "name: must be 1...63 lower-case letters, digits and hyphens, and not begin with a hyphen"
        ),
        ("user: root", "user: must be a user of its own, and not root"),
        ("user: 'group:ops'", "user: must be a user of its own, and not group:ops"),
        ("user: '0'", "user: must be the name of a user, and not a number"),
        ("issuers: []", "issuers: must not be empty"),
        ("issuers: [\"c\\n\"]", "issuers[0]: must be one line without control characters"),
        (
            "issuers: [https://id.example.com]",
            "issuers[0]: must be 1...63 lower-case letters, digits and hyphens, and not begin with a hyphen"
        ),
        ("ceiling: []", "ceiling: must not be empty"),
        (
            "ceiling: [viewer, admin]",
            "ceiling[1]: nobody who comes through a delegate can be admin; leave the word out"
        ),
        (
            "ceiling: [editor]",
            "ceiling[0]: editor is not supported by this version; leave the word out"
        ),
        ("ceiling: [owner]", "ceiling[0]: must be viewer or requester or approver, not owner"),
        ("policies: []", "policies: must not be empty"),
        ("policies: [shh]", "policies[0]: there is no policy shh; did you mean ssh?"),
        ("own_address_only: yes", "own_address_only: must be true or false"),
        ("max_login_age: 31d", "max_login_age: must be 1m...30d, not 31d"),
        (
            "limits: {live_grants: 0}",
            "limits.live_grants: must be a whole number 1...100000 in decimal digits"
        ),
        (
            "limits: {grants: 1}",
            "limits.grants: unknown key; known are requests_per_minute, per_person_per_minute, live_grants"
        ),
        ("limit: {}", "limit: unknown key; did you mean limits?"),
    ])
    func refusesWrongValues(line: String, expected: String) throws {
        let key = line.prefix { $0 != ":" }
        let right = [
            "name: portal", "user: sallyport-portal", "issuers: [corp]", "ceiling: [viewer]",
        ]
        let lines = ([line] + right.filter { !$0.hasPrefix(key + ":") }).joined(separator: "\n    ")
        let folder = try TemporaryFolder([
            "sallyport.yaml": "delegates:\n  - " + lines + "\n",
            "policy.d/a.yaml": "policies: [{name: ssh, ports: [22/tcp]}]",
        ])
        let faults = folder.faults()
        #expect(faults.count == 1)
        let place = "sallyport.yaml:2:"
        #expect(faults.first?.hasPrefix(place) == true)
        #expect(faults.first?.hasSuffix(": delegates[0]." + expected) == true, "\(faults)")
    }

    @Test func namesAllThatDoesNotFitTogether() throws {
        let folder = try TemporaryFolder([
            "sallyport.yaml": """
            delegates:
              - {name: a, user: x, issuers: [corp], ceiling: [viewer]}
              - {name: a, user: z, issuers: [corp], ceiling: [viewer]}
              - {name: b, user: x, issuers: [corp], ceiling: [viewer]}
              - {}
            roles:
              admin: [alice, "corp-group:root"]
              viewer: ["crop-group:ops", "elsewhere-group:ops"]
            """,
            "policy.d/a.yaml": """
            policies:
              - name: ssh
                ports: [22/tcp]
                requesters: ["corp-group:ops", "c-group:ops"]
                approvers: ["other-group:leads"]
            """,
        ])
        #expect(
            folder.faults() == [
                "sallyport.yaml:3:12: delegates[1].name: a is the name of the delegate at sallyport.yaml:2:12 already",
                "sallyport.yaml:4:21: delegates[2].user: x is the user of the delegate at sallyport.yaml:2:21 already",
                "sallyport.yaml:5:5: delegates[3].name: is missing",
                "sallyport.yaml:5:5: delegates[3].user: is missing",
                "sallyport.yaml:5:5: delegates[3].issuers: is missing",
                "sallyport.yaml:5:5: delegates[3].ceiling: is missing",
                "sallyport.yaml:7:18: roles.admin[1]: nobody who comes through a delegate can be admin; name users and groups of this host",
                "sallyport.yaml:8:12: roles.viewer[0]: no delegate speaks for people of crop; did you mean corp-group?",
                "sallyport.yaml:8:30: roles.viewer[1]: no delegate speaks for people of elsewhere",
                "policy.d/a.yaml:4:36: policies[0].requesters[1]: no delegate speaks for people of c",
                "policy.d/a.yaml:5:17: policies[0].approvers[0]: no delegate speaks for people of other",
            ]
        )
    }
}

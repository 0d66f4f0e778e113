import Policy
import Settings
import TestSupport
import Testing

@Suite struct PeopleTests {
    private func folder(_ people: String) throws -> TemporaryFolder {
        try TemporaryFolder([
            "sallyport.yaml": """
            delegates: [{name: portal, user: portal, issuers: [corp, lab], ceiling: [viewer]}]
            people:
            \(people)
            """,
            "policy.d/a.yaml": "policies: [{name: ssh, ports: [22/tcp]}]",
        ])
    }

    @Test func joinsTwoNamesOfOnePerson() throws {
        let folder = try folder(
            """
              - name: Alice A.
                local: alice
                remote: "oidc:corp:2482"
              - {name: bob, local: bob, remote: "oidc:lab:2482"}
            """
        )
        let people = try AgentConfiguration.load(file: folder.path + "/sallyport.yaml").people
        let corp = try Subject(parsing: "oidc:corp:2482")
        #expect(people.entries.map(\.name) == ["Alice A.", "bob"])
        #expect(people.areSame((.local(uid: 1), name: "alice"), (corp, name: "A. Liddell")))
        #expect(!people.areSame((.local(uid: 2), name: "bob"), (corp, name: "bob")))
    }

    @Test(arguments: [
        ("name: ''", "people[0].name: must not be empty"),
        ("name: \"a\\n\"", "people[0].name: must be one line without control characters"),
        (
            "local: 'group:ops'",
            "people[0].local: must be a user of this host, and not group:ops"
        ),
        (
            "local: 'corp-group:ops'",
            "people[0].local: must be a user of this host, and not corp-group:ops"
        ),
        (
            "remote: 'unix:1000'",
            "people[0].remote: must be somebody whom an issuer knows, like oidc:corp:2482"
        ),
        (
            "remote: 'oidc:crop:2482'",
            "people[0].remote: no delegate speaks for people of crop; did you mean corp?"
        ),
        (
            "remote: alice",
            "people[0].remote: cannot read \"alice\": write unix:UID or oidc:ISSUER:ID"
        ),
        (
            "remote: \"oidc:corp\\n:1\"",
            "people[0].remote: cannot read \"corp\\u{a}\": an issuer has 1...63 lower-case letters, digits and hyphens"
        ),
        ("uid: 1000", "people[0].uid: unknown key; known are name, local, remote"),
    ])
    func refusesWrongValues(line: String, expected: String) throws {
        let key = line.prefix { $0 != ":" }
        let right = ["name: alice", "local: alice", "remote: 'oidc:corp:2482'"]
        let lines = [line] + right.filter { !$0.hasPrefix(key + ":") }
        let faults = try folder("  - " + lines.joined(separator: "\n    ")).faults()
        #expect(faults.count == 1)
        #expect(faults.first?.hasSuffix(": " + expected) == true, "\(faults)")
    }

    @Test func nobodyIsThereTwiceAndNothingIsLeftOut() throws {
        let folder = try folder(
            """
              - {name: alice, local: alice, remote: "oidc:corp:1"}
              - {name: alice, local: alice, remote: "oidc:corp:1"}
              - {}
            """
        )
        #expect(
            folder.faults() == [
                "sallyport.yaml:4:12: people[1].name: alice is the name of the person at sallyport.yaml:3:12 already",
                "sallyport.yaml:4:26: people[1].local: alice is the user of the person at sallyport.yaml:3:26 already",
                "sallyport.yaml:4:41: people[1].remote: oidc:corp:1 is the remote name of the person at sallyport.yaml:3:41 already",
                "sallyport.yaml:5:5: people[2].name: is missing",
                "sallyport.yaml:5:5: people[2].local: is missing",
                "sallyport.yaml:5:5: people[2].remote: is missing",
            ]
        )
    }
}

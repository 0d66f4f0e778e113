import Policy
import TestSupport
import Testing

@testable import Settings

@Suite struct NameWarningTests {
    private let files = [
        "sallyport.yaml": """
        roles:
          admin: [root, nosuch, "group:root"]
          requester: ["group:nosuch", "corp-group:nosuch"]
        people: [{name: a, local: missing, remote: "oidc:corp:1"}]
        delegates: [{name: portal, user: toor, issuers: [corp], ceiling: [viewer]}]
        """,
        "policy.d/a.yaml": """
        policies:
          - name: ssh
            ports: [22/tcp]
            requesters: [alyce]
            approvers: ["group:leads", root]
        """,
    ]

    @Test func eachUnknownNameIsToldWithItsPlace() throws {
        let folder = try TemporaryFolder(files)
        let read = try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
        let warnings = read.warnings(.init(uid: { ["root": 0, "toor": 0][$0] }, gid: { _ in nil }))
        #expect(
            warnings.map { $0.description.replacing("\(folder.path)/", with: "") } == [
                "sallyport.yaml:2:17: roles.admin[1]: this host knows no user nosuch; it means nobody",
                "sallyport.yaml:2:25: roles.admin[2]: this host knows no group root; it means nobody",
                "sallyport.yaml:3:15: roles.requester[0]: this host knows no group nosuch; it means nobody",
                "sallyport.yaml:4:27: people[0].local: this host knows no user missing; it means nobody",
                "sallyport.yaml:5:34: delegates[0].user: this is root (uid 0) by another name, which is let in as no delegate; name a user of its own",
                "policy.d/a.yaml:4:18: policies[0].requesters[0]: this host knows no user alyce; it means nobody",
                "policy.d/a.yaml:5:17: policies[0].approvers[0]: this host knows no group leads; it means nobody",
            ]
        )
    }

    @Test func eachNameIsLookedUpOnce() throws {
        var asked: [String] = []
        let folder = try TemporaryFolder(files)
        try folder.write(
            "policy.d/b.yaml",
            "policies: [{name: rdp, ports: [3389/tcp], requesters: [alyce, 'group:nosuch']}]"
        )
        let read = try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
        let warnings = read.warnings(
            .init(
                uid: {
                    asked.append($0)
                    return nil
                },
                gid: {
                    asked.append("group:\($0)")
                    return nil
                }
            )
        )
        #expect(warnings.count == 11)
        #expect(asked.count == Set(asked).count)
    }

    /// The real name service: root is there, and a name that can be nobody's is not.
    @Test func theSystemIsAsked() throws {
        let folder = try TemporaryFolder(files)
        let read = try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
        let users = read.warnings().filter { $0.message.contains("user") }.map(\.key)
        #expect(users.contains("roles.admin[1]"))
        #expect(!users.contains("roles.admin[0]"))
        #expect(!read.warnings().contains { $0.key == "roles.admin[2]" })
    }
}

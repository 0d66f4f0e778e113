import FoundationEssentials
import Linux
import Policy
import Settings
import SystemPackage
import Testing
import TestSupport

@Suite struct AgentConfigurationTests {
    private let fileAndPolicies = [
        "sallyport.yaml": """
        policy_dir: policy.d
        agent:
          socket: /tmp/s.sock
          state_dir: /tmp/state
        roles:
          admin: ["group:sallyport-admin"]
          requester: ["group:sallyport", bob]
          viewer: []
        break_glass:
          sources: [192.0.2.10/32, "2001:db8::10"]
        audit: { keep: 365d }
        """,
        "policy.d/20-rdp.yaml": "policies: [{name: rdp, ports: [3389/tcp]}]",
        "policy.d/10-ssh.yaml": "policies: [{name: ssh, ports: [22/tcp]}]",
        "policy.d/.hidden.yaml": "this: is not read",
        "policy.d/ssh.yaml.dpkg-old": "this: is not read",
    ]

    @Test func readsTheFileAndItsPoliciesInNameOrder() throws {
        let folder = try TemporaryFolder(fileAndPolicies)
        let read = try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
        #expect(read.socket == "/tmp/s.sock")
        #expect(read.stateDirectory == "/tmp/state")
        #expect(read.policyDirectory == folder.path + "/policy.d")
        #expect(read.breakGlass.map(\.description) == ["192.0.2.10/32", "2001:db8::10/128"])
        #expect(read.auditKeep == .seconds(365 * 86_400))
        #expect(read.policySet.policies.map(\.name) == ["ssh", "rdp"])
        let bob = local("bob", groups: ["sallyport-admin"])
        #expect(read.policySet.roles.roles(of: bob) == [.admin, .requester])
    }

    @Test func anEmptyFileMeansTheDefaults() throws {
        let folder = try TemporaryFolder([
            "sallyport.yaml": "# nothing\n",
            "policy.d/a.yaml": "policies: [{name: a, ports: [1/tcp]}]",
        ])
        let read = try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
        #expect(read.socket == "/run/sallyport/sallyport.sock")
        #expect(read.stateDirectory == "/var/lib/sallyport")
        #expect(read.policyDirectory == folder.path + "/policy.d")
        #expect(read.breakGlass.isEmpty)
        #expect(read.auditKeep == nil)
    }

    /// A folder that is not mounted or a file that was cut short must not open the ports.
    @Test func aFolderOrAFileWithoutPoliciesIsRefused() throws {
        let folder = try TemporaryFolder(["sallyport.yaml": "", "policy.d/readme": ""])
        let file = folder.path + "/sallyport.yaml"
        for place in ["/policy.d: policies: ", "/policy.d/a.yaml: policies: "] {
            let error = #expect(throws: ConfigurationError.self) {
                try AgentConfiguration.load(file: file)
            }
            #expect(error?.description.hasPrefix(folder.path + place) == true)
            try folder.write("policy.d/a.yaml", "# cut short\n")
        }
    }

    @Test func aFileThatEverybodyMayWriteIsRefused() throws {
        let folder = try TemporaryFolder([
            "sallyport.yaml": "", "policy.d/a.yaml": "policies: [{name: a, ports: [1/tcp]}]",
        ])
        try setPermissions([.ownerReadWrite, .otherWrite], of: folder.path + "/policy.d/a.yaml")
        let error = #expect(throws: ConfigurationError.self) {
            try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
        }
        #expect(error?.description.contains("everybody may write to it") == true)
    }

    @Test func anAbsolutePolicyFolderIsTakenAsItIs() throws {
        let other = try TemporaryFolder(["policy.d/a.yaml": "policies: [{name: a, ports: [1/tcp]}]"]
        )
        let folder = try TemporaryFolder(["sallyport.yaml": "policy_dir: \(other.path)/policy.d"])
        let read = try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
        #expect(read.policies.map(\.name) == ["a"])
    }

    @Test(arguments: [
        ("agents: {}", "1:1: agents: unknown key; did you mean agent?"),
        ("audit: {keep: 12h}", "1:15: audit.keep: must be 24h...36500d, not 12h"),
        ("agent: {sockets: /x}", "1:9: agent.sockets: unknown key; did you mean socket?"),
        (
            "agent: {socket: run/x}",
            "1:17: agent.socket: must be an absolute path of at most 107 bytes"
        ),
        (
            "agent: {state_dir: true}",
            "1:20: agent.state_dir: must be text, and YAML takes this for something else; write it as \"true\""
        ),
        (
            "roles: {root: [a]}",
            "1:9: roles.root: unknown key; known are admin, approver, requester, viewer"
        ),
        (
            "roles: {admin: alice}",
            "1:16: roles.admin: must be a list like [\"group:ops\"], not a single value"
        ),
        (
            "roles: {admin: ['group:']}",
            "1:17: roles.admin[0]: cannot read \"group:\": write a user name, group:NAME for the members of a group, or ISSUER-group:NAME for those an issuer counts to it"
        ),
        (
            "break_glass: [10.0.0.1]",
            "1:14: break_glass: must be a mapping of keys to values, not a list"
        ),
        (
            "break_glass: {sources: [10.0.0.1/24]}",
            "1:25: break_glass.sources[0]: cannot read \"10.0.0.1/24\": bits are set behind the prefix; write 10.0.0.0/24 for the range or 10.0.0.1/32 for the one address; did you mean 10.0.0.0/24?"
        ),
        (
            "break_glass: {sources: ['::/0']}",
            "1:25: break_glass.sources[0]: ::/0 would open every managed port to everybody"
        ),
        (
            "break_glass: {sources: ['127.0.0.1']}",
            "1:25: break_glass.sources[0]: nobody comes from 127.0.0.1/32: its addresses are loopback; name where you would be"
        ),
    ])
    func refusesWrongSettings(text: String, expected: String) throws {
        let folder = try TemporaryFolder(["sallyport.yaml": text, "policy.d/readme": ""])
        #expect(folder.faults() == ["sallyport.yaml:\(expected)"])
    }

    @Test func namesTheFaultsOfAllFilesAtOnce() throws {
        let folder = try TemporaryFolder([
            "sallyport.yaml": "roles: 5\nagent: {socket: x}",
            "policy.d/a.yaml": "policies: [{name: a, ports: [22/tcp], enabled: 1}]",
            "policy.d/b.yaml": "policies:\n- name: a\n  ports: [22/any]",
            "policy.d/c.yaml": "policies: [",
            "policy.d/d.yml": "policies: []",
        ])
        #expect(
            folder.faults() == [
                "sallyport.yaml:1:8: roles: must be a mapping of keys to values, not a single value",
                "sallyport.yaml:2:17: agent.socket: must be an absolute path of at most 107 bytes",
                "policy.d/d.yml: would not be read: the name of a policy file ends in .yaml",
                "policy.d/a.yaml:1:48: policies[0].enabled: must be true or false",
                "policy.d/b.yaml:2:9: policies[0].name: a is the name of the policy at policy.d/a.yaml:1:19 already",
                "policy.d/b.yaml:3:11: policies[0].ports[0]: 22/any overlaps 22/tcp of policy a at policy.d/a.yaml:1:30; a port can be in one policy only",
                "policy.d/c.yaml:2:1: cannot read this as YAML: while parsing a flow node, did not find expected node content",
            ]
        )
    }

    @Test func saysWhatCannotBeRead() throws {
        let folder = try TemporaryFolder(["policy.d/readme": ""])
        #expect(
            folder.faults() == ["sallyport.yaml: cannot read the file: no such file or directory"]
        )
        try folder.write("sallyport.yaml", "policy_dir: gone")
        #expect(
            folder.faults() == [
                "sallyport.yaml:1:13: policy_dir: cannot read the folder gone: no such file or directory"
            ]
        )
        try folder.write("sallyport.yaml", "")
        try FileManager.default.createDirectory(
            atPath: folder.path + "/policy.d/a.yaml",
            withIntermediateDirectories: false
        )
        #expect(folder.faults() == ["policy.d/a.yaml: cannot read the file: it is not a file"])
        try FileManager.default.removeItem(atPath: folder.path + "/policy.d/a.yaml")
        try Data([0x61, 0xFF]).write(to: URL(fileURLWithPath: folder.path + "/policy.d/a.yaml"))
        #expect(folder.faults() == ["policy.d/a.yaml: cannot read the file: it is not UTF-8"])
        try folder.write("policy.d/a.yaml", "#" + String(repeating: "x", count: 256 * 1_024))
        #expect(
            folder.faults() == [
                "policy.d/a.yaml: cannot read the file: it is longer than 262144 bytes"
            ]
        )
        try FileManager.default.removeItem(atPath: folder.path + "/policy.d")
        #expect(
            folder.faults() == [
                "sallyport.yaml: policy_dir: cannot read the folder policy.d: no such file or directory"
            ]
        )
    }

    @Test func theShippedFilesAllowWhatAzureAllowsByDefault() throws {
        let top = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let read = try AgentConfiguration.load(file: top.path + "/config/sallyport.yaml")
        #expect(read.socket == "/run/sallyport/sallyport.sock")
        #expect(read.stateDirectory == "/var/lib/sallyport")
        #expect(read.breakGlass.isEmpty)
        #expect(
            read.policySet.managedPorts.map(\.range.description) == [
                "22/tcp", "3389/tcp", "5985-5986/tcp",
            ]
        )
        for policy in read.policies {
            #expect(policy.maxDuration == .seconds(3 * 3_600))
            #expect(policy.allowedSources == AccessPolicy.anySource)
        }
        let alice = local("alice", groups: ["sallyport"])
        #expect(read.roles.roles(of: alice) == [.requester])
    }
}

import FoundationEssentials
import Glibc
import Linux
import Policy
import SystemPackage
import TestSupport
import Testing

@testable import Settings

@Suite struct PolicyChangeTests {
    /// As a person writes it: comments everywhere, keys in any order, styles mixed.
    private static let byHand = """
        # The ports of this host.
        policies:
          # For the operators.
          - name: ssh          # never change this
            # As long as a shift.
            max_duration: 3h   # was 1h
            ports:
              - 22/tcp         # the usual
              # - 2222/tcp

          # Windows.
          - { name: rdp, ports: [3389/tcp], description: "Remote Desktop" }
          -
            ports: [5985-5986/tcp]
            "name": winrm
            description: >
              Windows
              Remote Management

        # The end.

        """

    private func folder(_ text: String = byHand) throws -> TemporaryFolder {
        try TemporaryFolder([
            "sallyport.yaml": "roles: { admin: [root] }\n", "policy.d/10-all.yaml": text,
        ])
    }

    private func read(_ folder: TemporaryFolder) throws -> AgentConfiguration {
        try AgentConfiguration.load(file: folder.path + "/sallyport.yaml")
    }

    private func text(_ folder: TemporaryFolder, _ name: String = "10-all.yaml") throws -> String {
        try String(contentsOfFile: "\(folder.path)/policy.d/\(name)", encoding: .utf8)
    }

    @discardableResult
    private func make(
        _ folder: TemporaryFolder,
        _ name: String,
        _ definition: String?
    ) throws -> PolicyChange {
        let change = try read(folder).changing(policy: name, to: definition)
        try change.make()
        #expect(try read(folder) == change.configuration)
        return change
    }

    /// What a change is refused with.
    private func refusal(
        _ folder: TemporaryFolder,
        _ name: String,
        _ definition: String?
    ) throws -> PolicyChangeError? {
        let read = try read(folder)
        do throws(PolicyChangeError) {
            _ = try read.changing(policy: name, to: definition)
            return nil
        } catch {
            return error
        }
    }

    @Test func onlyTheLinesOfWhatDiffersAreWritten() throws {
        let folder = try folder()
        let change = try make(
            folder,
            "ssh",
            #"{"name": "ssh", "ports": ["22/tcp"], "max_duration": "1h", "reason": "required"}"#
        )
        #expect(change.file == folder.path + "/policy.d/10-all.yaml")
        #expect(
            AccessPolicy.differences(from: change.old, to: change.new)
                == ["max_duration 3h -> 1h", "reason optional -> required"]
        )
        let expected = Self.byHand
            .replacing("    max_duration: 3h   # was 1h\n", with: "    max_duration: 1h\n")
            .replacing(
                "      # - 2222/tcp\n",
                with: "      # - 2222/tcp\n    reason: required\n"
            )
        #expect(try text(folder) == expected)
    }

    @Test func aListOfSeveralLinesIsReplacedWhole() throws {
        let folder = try folder()
        try make(folder, "ssh", #"{"name": "ssh", "ports": ["22/tcp", "2222/tcp"]}"#)
        let expected = Self.byHand.replacing(
            """
                ports:
                  - 22/tcp         # the usual
                  # - 2222/tcp

            """,
            with: "    ports: [22/tcp, 2222/tcp]\n"
        )
        #expect(try text(folder) == expected)
    }

    @Test func aPolicyInBracesIsWrittenOutInItsPlace() throws {
        let folder = try folder()
        try make(
            folder,
            "rdp",
            #"{"name": "rdp", "ports": ["3389/any"], "requesters": ["group:ops", "bob"]}"#
        )
        let expected = Self.byHand.replacing(
            #"  - { name: rdp, ports: [3389/tcp], description: "Remote Desktop" }"#,
            with: """
                  - name: rdp
                    ports: [3389/any]
                    requesters: ["group:ops", "bob"]
                """
        )
        #expect(try text(folder) == expected)
    }

    @Test func aKeyThatIsTakenAwayGoesWithAllItsLines() throws {
        let folder = try folder()
        try make(folder, "winrm", #"{"name": "winrm", "ports": ["5985-5986/tcp"]}"#)
        let expected = Self.byHand.replacing(
            """
                description: >
                  Windows
                  Remote Management

            """,
            with: ""
        )
        #expect(try text(folder) == expected)
    }

    @Test func theRemovedPolicyGoesAlone() throws {
        let folder = try folder()
        try make(folder, "rdp", nil)
        let line = #"  - { name: rdp, ports: [3389/tcp], description: "Remote Desktop" }"#
        #expect(try text(folder) == Self.byHand.replacing(line + "\n", with: ""))
        try make(folder, "winrm", nil)
        #expect(try text(folder).hasSuffix("  # Windows.\n# The end.\n"))
        #expect(try read(folder).policies.map(\.name) == ["ssh"])
    }

    @Test func whatIsNewGetsAFileAndLosesIt() throws {
        let folder = try folder()
        let change = try make(
            folder,
            "db",
            #"{"name": "db", "ports": ["5432/tcp"], "ticket_pattern": "^it's\\\\.[0-9]+$"}"#
        )
        #expect(change.old == nil)
        #expect(
            try text(folder, "db.yaml") == """
                policies:
                  - name: db
                    ports: [5432/tcp]
                    ticket_pattern: '^it''s\\\\.[0-9]+$'

                """
        )
        #expect(
            try fileStatus(change.file).permissions == [.ownerReadWrite, .groupRead, .otherRead]
        )
        try make(folder, "db", nil)
        #expect(try folderNames(folder.path + "/policy.d") == ["10-all.yaml"])
    }

    @Test func aChangeIsTakenBack() throws {
        let folder = try folder()
        for (name, definition) in [
            ("ssh", #"{"name": "ssh", "ports": ["23/tcp"]}"#), ("rdp", nil),
            ("db", #"{"name": "db", "ports": ["5432/tcp"]}"#),
        ] {
            let change = try make(folder, name, definition)
            try change.takeBack()
            #expect(try text(folder) == Self.byHand)
            #expect(try folderNames(folder.path + "/policy.d") == ["10-all.yaml"])
        }
    }

    @Test func aChangeToTheSameWritesNothing() throws {
        let folder = try folder()
        let inode = try fileStatus(folder.path + "/policy.d/10-all.yaml").inode
        let change = try make(folder, "ssh", #"{"name": "ssh", "ports": ["22/tcp"]}"#)
        #expect(change.old == change.new)
        #expect(try fileStatus(change.file).inode == inode)
    }

    @Test(.enabled(if: geteuid() == 0)) func modeAndOwnerAreKept() throws {
        let folder = try folder()
        let file = folder.path + "/policy.d/10-all.yaml"
        try setPermissions([.ownerReadWrite, .groupReadWrite], of: file)
        #expect(chown(file, 2, 3) == 0)
        try make(folder, "rdp", nil)
        let status = try fileStatus(file)
        #expect(status.permissions == [.ownerReadWrite, .groupReadWrite])
        #expect(status.userID.rawValue == 2)
        #expect(status.groupID.rawValue == 3)
    }

    @Test func faultsNameTheKeysOfThePolicy() throws {
        let folder = try folder()
        func faults(_ definition: String?) throws -> [String] {
            guard case .invalid(let faults) = try refusal(folder, "db", definition) else {
                return []
            }
            return faults.map { "\($0.file)/\($0.key): \($0.message)" }
        }
        let all = try faults(
            #"{"name": "db", "ports": [5432, "6/icmp"], "max_duration": 3, "reasn": true}"#
        )
        #expect(
            all == [
                "/ports[0]: cannot read \"5432\": the protocol must be tcp, udp or any, in lower case after a slash; did you mean 5432/tcp?",
                "/ports[1]: cannot read \"6/icmp\": the protocol must be tcp, udp or any, in lower case after a slash",
                "/max_duration: cannot read \"3\": write a duration like 45m, 1h30m, 90s, 2d or PT1H30M; did you mean 3m?",
                "/reasn: unknown key; did you mean reason?",
            ]
        )
        #expect(try faults(#"{"name": "db"}"#) == ["/ports: is missing"])
        // What only the whole configuration tells: of the policy itself, and of its neighbours.
        let asserted = #"{"name": "db", "ports": ["1/tcp"], "approvers": ["corp-group:a"]}"#
        #expect(
            try faults(asserted) == ["/approvers[0]: no delegate speaks for people of corp"]
        )
        let taken = try faults(#"{"name": "db", "ports": ["22/tcp"]}"#)
        #expect(taken.count == 1)
        #expect(taken.first?.contains("22/tcp overlaps 22/tcp of policy ssh at") == true)
    }

    @Test func theLastPolicyIsNotRemoved() throws {
        let folder = try folder("policies:\n  - name: ssh\n    ports: [22/tcp]\n")
        guard case .invalid(let faults) = try refusal(folder, "ssh", nil) else {
            Issue.record("it is removed")
            return
        }
        #expect(faults.first?.message.contains("enabled: false") == true)
    }

    @Test func aPolicyThatADelegateNamesIsNotRemoved() throws {
        let folder = try folder()
        try folder.write(
            "sallyport.yaml",
            "delegates: [{name: p, user: p, issuers: [c], ceiling: [viewer], policies: [rdp]}]"
        )
        guard case .invalid(let faults) = try refusal(folder, "rdp", nil) else {
            Issue.record("it is removed")
            return
        }
        #expect(faults.map(\.message) == ["there is no policy rdp"])
    }

    @Test func filesThatWereEditedAreNotWritten() throws {
        let edits: [(TemporaryFolder) throws -> Void] = [
            { try $0.write("sallyport.yaml", "roles: { admin: [root, bob] }\n") },
            { try $0.write("policy.d/10-all.yaml", Self.byHand + "# more\n") },
            { try $0.write("policy.d/20.yaml", "policies: [{name: x, ports: [1/tcp]}]") },
            { try removeFile($0.path + "/policy.d/10-all.yaml") },
        ]
        for edit in edits {
            let folder = try folder()
            let read = try read(folder)
            try edit(folder)
            let error = #expect(throws: PolicyChangeError.self) {
                try read.changing(policy: "rdp", to: nil)
            }
            #expect(error == .filesDiffer)
        }
        // The defaults that stand in for files that cannot be used.
        let error = #expect(throws: PolicyChangeError.self) {
            try AgentConfiguration(policyDirectory: "/x").changing(policy: "ssh", to: nil)
        }
        #expect(error == .filesDiffer)
    }

    /// A list in brackets has no lines of its own for each policy; a name may be taken; a link leads
    /// to a file that is somebody else's.
    @Test func whatCannotBeWrittenSafelyIsLeftToAPerson() throws {
        let bracketed = try folder(
            "policies: [{name: ssh, ports: [22/tcp]}, {name: b, ports: [1/tcp]}]"
        )
        let isBracketed = try refusal(bracketed, "ssh", nil)
        #expect("\(isBracketed as Any)".contains("in brackets"))
        let taken = try folder()
        try taken.write("policy.d/db.yaml", "policies:\n  - {name: x, ports: [1/tcp]}")
        let isTaken = try refusal(taken, "db", #"{"name": "db", "ports": ["5432/tcp"]}"#)
        #expect("\(isTaken as Any)".contains("db.yaml: it is there already"))
        let linked = try folder()
        try makeFolder(linked.path + "/elsewhere", permissions: .ownerReadWriteExecute)
        let file = linked.path + "/policy.d/10-all.yaml"
        #expect(rename(file, linked.path + "/elsewhere/all.yaml") == 0)
        #expect(symlink("../elsewhere/all.yaml", file) == 0)
        let isLinked = try refusal(linked, "ssh", nil)
        #expect("\(isLinked as Any)".contains("10-all.yaml: it is a link"))
    }

    @Test func aFolderThatCannotBeWrittenIsNamed() throws {
        let folder = try folder()
        let change = try read(folder).changing(policy: "rdp", to: nil)
        try FileManager.default.moveItem(
            atPath: folder.path + "/policy.d",
            toPath: folder.path + "/gone"
        )
        let error = #expect(throws: PolicyChangeError.self) { try change.make() }
        #expect(
            error == .notWritten("cannot write \(change.file): no such file or directory")
        )
    }

    /// Whatever stands in a file and whatever is changed: either it is refused, or what is read
    /// afterwards is exactly what was meant, and every comment outside the policy is still there.
    @Test(arguments: 0..<20) func anyChangeOfAnyFileIsExact(seed: UInt64) throws {
        var random = Generator(seed: seed)
        let original = Self.randomFile(&random)
        let folder = try folder(original)
        let names = try read(folder).policies.map(\.name)
        for _ in 0..<8 {
            let before = try read(folder)
            let name = try #require(names.randomElement(using: &random))
            let ports = before.policies.first { $0.name == name }?.ports
            let number = try #require(Int(name.dropFirst()))
            let definition = Self.randomPolicy(name, ports ?? [], number, &random)
            let change: PolicyChange
            do throws(PolicyChangeError) {
                change = try before.changing(
                    policy: name,
                    to: ports != nil && Int.random(in: 0..<4, using: &random) == 0
                        ? nil : definition
                )
            } catch {
                if case .invalid(let faults) = error, faults.allSatisfy({ $0.key == "policies" }) {
                    continue
                }
                Issue.record("\(error)")
                continue
            }
            try change.make()
            let after = try read(folder)
            let others = before.policies.filter { $0.name != name }
            #expect(Set(after.policies) == Set(others + [change.new].compactMap(\.self)))
            guard try folderNames(folder.path + "/policy.d").contains("10-all.yaml") else { break }
            let kept = { (text: String) in
                text.split(separator: "\n").filter { $0.contains("# kept") }
            }
            #expect(try kept(text(folder)) == kept(original))
        }
    }

    /// A policy with random keys, the port as its number says.
    private static func randomPolicy(
        _ name: String,
        _ ports: [PortRange],
        _ number: Int,
        _ random: inout Generator
    ) -> String {
        let possible = [
            #""description": "a: b # c""#, #""description": "it's \"so\"""#,
            #""max_duration": "2h""#, #""max_duration": "PT6H""#, #""reason": "required""#,
            #""requesters": ["group:domain users", "no"]"#, #""enabled": false"#,
            #""widest_source": {"ipv4": 16, "ipv6": 48}"#, #""approvals": 2"#,
            #""ticket_pattern": "^[A-Z]+'#-\\.$""#,
            #""allowed_sources": ["10.0.0.0/8", "2001:db8::/32"]"#,
        ]
        var keys: [String: String] = [:]
        for item in possible.shuffled(using: &random).prefix(Int.random(in: 0..<5, using: &random))
        {
            keys[String(item.prefix { $0 != ":" })] = item
        }
        let fields = [#""name": "\#(name)""#, #""ports": ["\#(1000 + number)/tcp"]"#] + keys.values
        return "{" + fields.joined(separator: ", ") + "}"
    }

    private static func randomFile(_ random: inout Generator) -> String {
        var lines = ["# kept at the top", "policies:"]
        let indent = ["", "  ", "    "].randomElement(using: &random) ?? ""
        for number in 1...4 {
            if Bool.random(using: &random) { lines.append(indent + "# kept above") }
            let more = [
                ["max_duration: 4h  # gone"], ["description: |", "  one line"],
                ["requesters:", "- bob", "# within", "- \"group:ops\""], ["reason: required"],
                ["allowed_sources:", "    - 10.0.0.0/8", "    # in the list", "    - ::/0"],
                ["# a comment of the policy", "approvals: 1"], ["\"enabled\" : true"],
            ]
            var blocks = more.shuffled(using: &random)
                .prefix(Int.random(in: 0..<5, using: &random))
            blocks.append(["ports: [\(1000 + number)/tcp]"])
            blocks.shuffle(using: &random)
            let keys = ["name: p\(number)"] + blocks.flatMap(\.self)
            for (index, key) in keys.enumerated() {
                lines.append(indent + (index == 0 ? "- " : "  ") + key)
                if Int.random(in: 0..<9, using: &random) == 0, index + 1 == keys.count {
                    lines.append("")
                }
            }
        }
        lines.append("# kept at the end")
        return lines.joined(separator: "\n") + (Bool.random(using: &random) ? "\n" : "")
    }
}

import API
import Linux
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Commands

@Suite(.blocking) struct PolicyCommandTests {
    private let change = PolicyChangeDocument(
        policy: sshPolicy,
        file: "/etc/sallyport/policy.d/all.yaml",
        changes: ["max_duration 3h -> 1h"],
        endedGrants: ["17.1", "18.2"],
        openedRequests: ["19"],
        deniedRequests: ["20", "21"],
        openPorts: []
    )

    @Test func setSendsThePolicyAsItIsWithWhatIsGiven() throws {
        let agent = try ScriptedAgent([
            "GET /v1/policies/ssh": sshPolicy, "PUT /v1/policies/ssh?keep_grants=true": change,
        ])
        let line = "policy set ssh --max-duration 1h --requesters group:ops,bob --widest-ipv4 30"
        let printed = carryOut(
            line.split(separator: " ").map(String.init) + ["--description", "", "--keep-grants"],
            in: .fixed(["SALLYPORT_SOCKET": agent.socket])
        )
        #expect(
            printed
                == Printed(
                    output: """
                        policy ssh in force (/etc/sallyport/policy.d/all.yaml)
                          max_duration 3h -> 1h
                        ended: 17.1, 18.2
                        waiting requests that need no more approvals, and open: 19
                        waiting requests that are no longer allowed, and denied: 20, 21

                        """
                )
        )
        let put = try #require(agent.heard.last)
        #expect(put.condition == #"if-match "7""#)
        let sent = try JSONValue(json: Array(put.body.utf8))
        #expect(sent["max_duration"] == .text("1h"))
        // It was not one of its own.
        #expect(sent["default_duration"] == nil)
        #expect(sent["description"] == nil)
        #expect(sent["requesters"] == .list([.text("group:ops"), .text("bob")]))
        #expect(sent["widest_source"]?["ipv4"] == .number("30"))
        #expect(sent["widest_source"]?["ipv6"] == .number("64"))
        #expect(sent["ports"] == .list([.text("22/tcp")]))
    }

    @Test func aDefaultDurationOfItsOwnStays() throws {
        let policy = PolicyDocument(
            AccessPolicy(name: "ssh", ports: [], defaultDuration: .seconds(60))
        )
        let agent = try ScriptedAgent(["GET /v1/policies/ssh": policy])
        _ = try carryOut("policy set ssh --approvals 1", agent: agent)
        let sent = try JSONValue(json: Array(try #require(agent.heard.last).body.utf8))
        #expect(sent["default_duration"] == .text("1m"))
    }

    @Test func whatIsNewMustNotBeThere() throws {
        let agent = try ScriptedAgent()
        _ = try carryOut("policy set db --ports 5432/tcp", agent: agent)
        #expect(agent.heard.last?.condition == "if-none-match *")
    }

    @Test func aFileIsTheWholePolicy() throws {
        let folder = try TemporaryFolder(["p.json": #"{"ports": ["1/tcp"], "approvals": 2}"#])
        let agent = try ScriptedAgent()
        _ = try carryOut("policy set db --file \(folder.path)/p.json --approvals 1", agent: agent)
        #expect(agent.calls == [#"PUT /v1/policies/db {"ports": ["1/tcp"], "approvals": 1}"#])
        #expect(agent.heard.last?.condition == nil)
        try folder.write("p.json", "{")
        let refused = try carryOut("policy set db --file \(folder.path)/p.json")
        #expect(refused.status == 65)
        #expect(refused.errors.contains("p.json: it is not a JSON document"))
    }

    @Test func portsThatAreOpenNowAreToldLoudly() throws {
        var gone = change
        gone = PolicyChangeDocument(
            policy: nil,
            file: gone.file,
            changes: [],
            endedGrants: [],
            openPorts: sshPolicy.ports.map { OpenPort(port: $0) }
        )
        let printed = try carryOut("policy remove ssh", ["DELETE /v1/policies/ssh": gone])
        #expect(printed.output == "policy ssh removed (/etc/sallyport/policy.d/all.yaml)\n")
        #expect(printed.errors.hasPrefix("sallyport: OPEN TO EVERYBODY: 22/tcp"))
        #expect(printed.status == 0)
        let json = try carryOut("policy remove ssh --json", ["DELETE /v1/policies/ssh": gone])
        #expect(json.output.contains(#""warning" : "OPEN TO EVERYBODY"#))
    }

    @Test(arguments: ["policy set ssh", "policy set", "policy set ssh --enabled maybe"])
    func whatSaysNothingIsAUsageError(line: String) throws {
        let agent = try ScriptedAgent()
        #expect(try carryOut(line, agent: agent).status == 64)
        #expect(agent.calls.isEmpty)
    }

    @Test(arguments: ["bin/sallyportd", "sbin/sallyportd", "path/sallyportd"])
    func checkRunsTheAgentsProgram(place: String) throws {
        let folder = try TemporaryFolder([place: ""])
        try folder.write("bin/sallyport", "")
        let run = Mutex<[String]>([])
        var surroundings = Surroundings.fixed(["PATH": "/nowhere:\(folder.path)/path"])
        surroundings.program = folder.path + "/bin/sallyport"
        surroundings.become = { words in run.withLock { $0 = words } }
        let printed = carryOut(["policy", "check", "--json", "--", "-p.yaml"], in: surroundings)
        #expect(printed == Printed())
        let words = run.withLock { $0 }
        #expect(words.dropFirst() == ["--check-policies=-p.yaml", "--json"])
        #expect(words.first?.replacing("bin/../", with: "") == "\(folder.path)/\(place)")
    }

    @Test func aMissingProgramIsSaid() throws {
        var surroundings = Surroundings.fixed(["PATH": "/nowhere"])
        surroundings.program = "/nothing/sallyport"
        let printed = carryOut(["policy", "check", "p.yaml"], in: surroundings)
        #expect(printed.status == 69)
        #expect(
            printed.errors
                == "sallyport: cannot find the program sallyportd, which reads policy files, in /nothing, /nothing/../sbin, /nowhere\n"
        )
    }

    /// The built programs: no agent runs.
    @Test func aFileIsCheckedWithoutAnAgent() throws {
        let folder = try TemporaryFolder([
            "good.yaml": "policies: [{name: a, ports: [1/tcp]}]",
            "bad.yaml": "policies:\n  - {name: a, ports: [1/tcp], reasn: x}\n  - {name: b}\n",
        ])
        let good = try sallyport(["policy", "check", "\(folder.path)/good.yaml"])
        #expect(good.output == "\(folder.path)/good.yaml is valid: 1 policy\n")
        #expect(good.status == 0)
        let bad = try sallyport(["policy", "check", "\(folder.path)/bad.yaml"])
        #expect(
            bad.errors == """
                \(folder.path)/bad.yaml:2:31: policies[0].reasn: unknown key; did you mean reason?
                \(folder.path)/bad.yaml:3:5: policies[1].ports: is missing

                """
        )
        #expect(bad.status == 65)
        let json = try sallyport(["policy", "check", "\(folder.path)/good.yaml", "--json"])
        #expect(json.output.contains("\"policies\""))
        let piped = try sallyport(
            ["policy", "check", "-"],
            through: ["/bin/sh", "-c", #"printf 'policies: [{name: a}]' | exec "$0" "$@""#]
        )
        #expect(piped.errors == "-:1:12: policies[0].ports: is missing\n")
        #expect(piped.status == 65)
    }
}

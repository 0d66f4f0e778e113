import API
import Policy
import TestSupport
import Testing

@testable import Commands

@Suite(.blocking) struct PolicyImportTests {
    /// As `az security jit-policy list` prints it.
    private let jit = """
        [{"name": "default", "location": "westeurope", "virtualMachines": [
          {"id": "/subscriptions/s/virtualMachines/web1", "ports": [
            {"number": 22, "protocol": "*", "allowedSourceAddressPrefix": "10.0.0.0/24",
             "maxRequestAccessDuration": "PT1H"},
            {"number": 8443, "protocol": "TCP", "allowedSourceAddressPrefix": "10.0.0.0/24",
             "maxRequestAccessDuration": "PT2H"}]}]}]
        """
    private let remark = "sallyport: default: location westeurope means nothing here\n"

    private func policy(_ name: String, _ ports: String..., enabled: Bool = true) throws
        -> PolicyDocument
    {
        PolicyDocument(
            AccessPolicy(
                name: name,
                ports: try ports.map { try PortRange(parsing: $0) },
                maxDuration: .seconds(7200),
                reason: .required,
                enabled: enabled
            )
        )
    }

    private func run(
        _ options: String,
        answering answer: Bool? = nil,
        among policies: PolicyDocument...
    ) throws -> (Printed, ScriptedAgent) {
        let folder = try TemporaryFolder(["jit.json": jit])
        let change = PolicyChangeDocument(
            policy: nil,
            file: "/p",
            changes: [],
            endedGrants: [],
            openPorts: []
        )
        var answers: [String: any Encodable & Sendable] = [
            "GET /v1/policies": PolicyList(policies: policies), "PUT /v1/policies/ssh": change,
            "PUT /v1/policies/port-8443": change,
        ]
        for policy in policies { answers["GET /v1/policies/\(policy.name)"] = policy }
        let agent = try ScriptedAgent(answers)
        var surroundings = Surroundings.fixed(["SALLYPORT_SOCKET": agent.socket])
        if let answer { surroundings.confirm = { _ in answer } }
        let line = "policy import \(folder.path)/jit.json\(options)"
        let printed = carryOut(line.split(separator: " ").map(String.init), in: surroundings)
        return (printed, agent)
    }

    @Test func aDryRunOnlySaysWhatWouldBe() throws {
        let (printed, agent) = try run(" --dry-run")
        #expect(
            printed
                == Printed(
                    output: """
                        ssh: 22/any from 10.0.0.0/24, at most 1h
                        port-8443: 8443/tcp from 10.0.0.0/24, at most 2h

                        """,
                    errors: remark
                )
        )
        #expect(agent.calls == ["GET /v1/policies"])
    }

    private let reading = ["GET /v1/policies", "GET /v1/policies/ssh"]
    private let changed = """
        ssh: 22/any, 2222/tcp from 10.0.0.0/24, at most 1h; changes the policy that is there:
          ports [22/tcp, 2222/tcp] -> [22/any, 2222/tcp]
          allowed_sources ["0.0.0.0/0", "::/0"] -> ["10.0.0.0/24"]
          max_duration 2h -> 1h

        """

    /// As the agent tells it once it is done.
    @Test func aDryRunSaysWhatWouldChangeOfWhatIsThere() throws {
        var there = try policy("ssh", "22/tcp", "2222/tcp")
        there.approvals = 2
        let (printed, agent) = try run(" --dry-run", among: there)
        #expect(printed.output.hasPrefix(changed))
        #expect(agent.calls == reading)
        let json = try run(" --dry-run --json", among: there).0.output
        let document = try JSONValue(json: Array(json.utf8))
        #expect(document["plans"]?.list?.first?["isNew"] == .bool(false))
        #expect(
            document["plans"]?.list?.first?["changes"]?.list?.last == .text("max_duration 2h -> 1h")
        )
        #expect(document["policies"]?.list?.first?["approvals"] == .number("2"))
    }

    @Test func toChangeWhatIsThereTakesAYes() throws {
        let there = try policy("ssh", "22/tcp")
        let (refused, agent) = try run("", among: there)
        #expect(refused.status == 64)
        #expect(
            refused.errors.contains(
                "it would change policies that are there (ssh: ports [22/tcp] -> [22/any], "
            )
        )
        #expect(refused.errors.hasSuffix("max_duration 2h -> 1h); say --replace to change them\n"))
        #expect(agent.calls == reading)
        for yes in [false, true] {
            let (printed, agent) = try run("", answering: yes, among: there)
            #expect(printed.status == (yes ? 0 : 75))
            #expect(printed.errors.contains("  max_duration 2h -> 1h\n"))
            #expect(agent.calls.count == (yes ? 4 : 2))
        }
    }

    @Test func whatIsThereKeepsItsOtherKeysAndPorts() throws {
        let (printed, agent) = try run(" --replace", among: try policy("ssh", "22/tcp", "2222/tcp"))
        #expect(printed.status == 0)
        #expect(
            agent.heard.map(\.line)
                == reading + ["PUT /v1/policies/ssh", "PUT /v1/policies/port-8443"]
        )
        // What somebody changed meanwhile is not undone.
        #expect(agent.heard.compactMap(\.condition) == [#"if-match "7""#, "if-none-match *"])
        let sent = try JSONValue(json: Array(agent.heard[2].body.utf8))
        #expect(sent["ports"] == .list([.text("22/any"), .text("2222/tcp")]))
        #expect(sent["reason"] == .text("required"))
        #expect(sent["max_duration"] == .text("1h"))
        #expect(sent["default_duration"] == nil)
        #expect(sent["allowed_sources"] == .list([.text("10.0.0.0/24")]))
    }

    /// Nothing at all is done where a part of it would open a port or take one from another policy.
    @Test func noPortIsOpenedOrTakenFromAnother() throws {
        let (wider, agent) = try run("", among: try policy("ssh", "20-22/any"))
        #expect(wider.status == 65)
        #expect(
            wider.errors == remark + "sallyport: cannot import ssh: 20-21/tcp, 20-21/udp, which it "
                + "manages, would be open to everybody; split the policy first\n"
        )
        #expect(agent.calls == reading)
        let (taken, other) = try run("", among: try policy("web", "8443/tcp"))
        #expect(taken.errors.contains("policy web has a port of it already"))
        #expect(other.calls == ["GET /v1/policies"])
        // What is not enabled holds no port closed.
        #expect(
            try run(" --replace", among: policy("ssh", "20-22/any", enabled: false)).0.status == 0
        )
    }

    @Test func whatCannotBeImportedIsSaid() throws {
        let (unknown, agent) = try run(" --vm db1")
        #expect(unknown.status == 65)
        #expect(
            unknown.errors.hasSuffix(
                "there is no virtual machine db1; there are: web1\n"
            )
        )
        #expect(agent.calls.isEmpty)
    }

    @Test func theDocumentHasAllOfIt() throws {
        let (printed, _) = try run(" --dry-run --json")
        for text in [#""remarks" : ["#, "westeurope", #""name" : "port-8443""#, #""changes" : ["#] {
            #expect(printed.output.contains(text))
        }
    }
}

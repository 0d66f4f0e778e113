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
        let agent = try ScriptedAgent([
            "GET /v1/policies": PolicyList(policies: policies), "PUT /v1/policies/ssh": change,
            "PUT /v1/policies/port-8443": change,
        ])
        let printed = try carryOut("policy import \(folder.path)/jit.json\(options)", agent: agent)
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

    @Test func whatIsThereKeepsItsOtherKeysAndPorts() throws {
        let (printed, agent) = try run("", among: try policy("ssh", "22/tcp", "2222/tcp"))
        #expect(printed.status == 0)
        #expect(
            agent.heard.map(\.line) == [
                "GET /v1/policies", "PUT /v1/policies/ssh", "PUT /v1/policies/port-8443",
            ]
        )
        let sent = try JSONValue(json: Array(agent.heard[1].body.utf8))
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
        #expect(agent.calls == ["GET /v1/policies"])
        let (taken, other) = try run("", among: try policy("web", "8443/tcp"))
        #expect(taken.errors.contains("policy web has a port of it already"))
        #expect(other.calls == ["GET /v1/policies"])
        // What is not enabled holds no port closed.
        #expect(try run("", among: policy("ssh", "20-22/any", enabled: false)).0.status == 0)
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

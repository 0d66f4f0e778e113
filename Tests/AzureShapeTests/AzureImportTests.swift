import API
import AzureShape
import Policy
import TestSupport
import Testing

@Suite struct AzureImportTests {
    private static let machine =
        "/subscriptions/20ff7fc3-e762-44dd-bd96-b71116dcdc23/resourceGroups/myRg1/providers/"
        + "Microsoft.Compute/virtualMachines/"

    /// A resource as the REST API answers it, version 2020-01-01.
    private func resource(_ machines: String, more: String = "") -> String {
        """
        {"kind": "Basic", "properties": {"virtualMachines": [\(machines)], "requests": [],
        "provisioningState": "Succeeded"}, "id": "/subscriptions/x/default", "name": "default",
        "type": "Microsoft.Security/locations/jitNetworkAccessPolicies"\(more)}
        """
    }

    private func vm(_ name: String, _ ports: String...) -> String {
        #"{"id": "\#(Self.machine)\#(name)", "ports": [\#(ports.joined(separator: ", "))]}"#
    }

    private func port(
        _ number: Int,
        _ portProtocol: String = "*",
        _ sources: String = #""allowedSourceAddressPrefix": "*""#,
        _ duration: String = "PT3H"
    ) -> String {
        #"{"number": \#(number), "protocol": "\#(portProtocol)", \#(sources), "#
            + #""maxRequestAccessDuration": "\#(duration)"}"#
    }

    private func read(_ json: String, vm: String? = nil) throws -> AzureImport {
        try AzureImport(try JSONValue(json: Array(json.utf8)), machine: vm)
    }

    /// What is imported, in one line each: `ssh 22/any from any for 3h`.
    private func told(_ imported: AzureImport) -> [String] {
        imported.policies.map { policy in
            let sources =
                policy.allowedSources == AccessPolicy.anySource
                ? "any" : policy.allowedSources.map(\.description).joined(separator: ",")
            let ports = policy.ports.map(\.description).joined(separator: ",")
            return "\(policy.name) \(ports) from \(sources) for "
                + policy.maxDuration.compactDescription
        }
    }

    private let widest =
        "a request here opens at most a /24 of IPv4 or a /64 of IPv6 addresses, where Azure "
        + "has no such limit; widest_source in the policy changes it"

    @Test func takesAzuresDefaultPorts() throws {
        let imported = try read(
            resource(vm("vm1", port(22), port(3389), port(5985), port(5986)))
        )
        #expect(
            told(imported) == [
                "ssh 22/any from any for 3h", "rdp 3389/any from any for 3h",
                "winrm 5985/any,5986/any from any for 3h",
            ]
        )
        #expect(imported.remarks == [widest])
    }

    @Test func takesSourcesInBothFormsAndEachProtocol() throws {
        let imported = try read(
            resource(
                vm(
                    "vm1",
                    port(22, "TCP", #""allowedSourceAddressPrefix": "192.168.0.3""#, "PT1H30M"),
                    port(
                        8080,
                        "UDP",
                        #""allowedSourceAddressPrefixes": ["10.1.0.0/24", "2001:db8::/64"]"#,
                        "P1D"
                    )
                )
            )
        )
        #expect(
            told(imported) == [
                "ssh 22/tcp from 192.168.0.3/32 for 1h30m",
                "port-8080 8080/udp from 10.1.0.0/24,2001:db8::/64 for 24h",
            ]
        )
        #expect(imported.remarks == [])
    }

    /// A list of the REST API, what `az` prints, what PowerShell prints, one machine alone.
    @Test func takesEveryShapeItIsWrittenIn() throws {
        let one = vm("vm1", port(22))
        let flat = #"{"virtualMachines": [\#(one)], "name": "default"}"#
        let shapes = [
            #"{"value": [\#(resource(one))]}"#, "[\(flat)]", flat, one,
            flat.replacing("virtualMachines\"", with: "VirtualMachines\"")
                .replacing("\"ports", with: "\"Ports").replacing("number", with: "Number")
                .replacing("allowed", with: "Allowed").replacing("\"id", with: "\"Id")
                .replacing("maxReq", with: "MaxReq").replacing("protocol", with: "Protocol"),
        ]
        for shape in shapes {
            #expect(try told(read(shape)) == ["ssh 22/any from any for 3h"], "\(shape)")
        }
    }

    @Test func choosesTheMachine() throws {
        let both = resource(vm("Web1", port(22)) + "," + vm("db1", port(22, "TCP")))
        #expect(try told(read(both, vm: "web1")) == ["ssh 22/any from any for 3h"])
        #expect(try told(read(both, vm: Self.machine + "db1")) == ["ssh 22/tcp from any for 3h"])
        let unsaid = #expect(throws: AzureImportError.self) { try read(both) }
        #expect(
            unsaid?.description
                == "the virtual machines have different ports; say whose to take with --vm: Web1, db1"
        )
        let unknown = #expect(throws: AzureImportError.self) { try read(both, vm: "web2") }
        #expect(
            unknown?.description == "there is no virtual machine web2; there are: Web1, db1"
        )
        let alike = try read(resource(vm("a", port(22)) + "," + vm("b", port(22))))
        #expect(told(alike) == ["ssh 22/any from any for 3h"])
        #expect(
            alike.remarks.first == "all of a, b have these ports; this host takes them once"
        )
    }

    @Test func saysWhichSourcesAStarLeavesOut() throws {
        let sources =
            #""allowedSourceAddressPrefix": "*", "allowedSourceAddressPrefixes": ["10.0.0.0/8"]"#
        let imported = try read(resource(vm("vm1", port(22, "TCP", sources))))
        #expect(told(imported) == ["ssh 22/tcp from any for 3h"])
        #expect(
            imported.remarks.first == "port 22/tcp: * stands for any source, so what else it names "
                + "is left out: 10.0.0.0/8"
        )
    }

    @Test func saysWhatIsNotCarriedOver() throws {
        let imported = try read(
            #"{"nextLink": "https://x", "value": ["#
                + resource(
                    vm(
                        "vm1",
                        port(
                            22,
                            "*",
                            #""allowedSourceAddressPrefixes": ["Internet", "10.0.0.7/8"]"#
                        ),
                        port(80, "*", #""allowedSourceAddressPrefix": "VirtualNetwork""#),
                        port(81, "ICMP"),
                        port(82, "TCP", #""mappedPort": 9"#, "P2D"),
                        port(83, "TCP", #""allowedSourceAddressPrefix": ["10.0.0.1"]"#, "PT1M"),
                        port(22, "TCP"),
                        #"{"number": 84, "protocol": "TCP"}"#
                    ).replacing(#""ports""#, with: #""publicIpAddress": "192.0.2.1", "ports""#),
                    more: #", "location": "westeurope""#
                ).replacing("\"requests\": []", with: "\"requests\": [{}, {}]") + "]}"
        )
        #expect(
            told(imported) == [
                "ssh 22/any from 10.0.0.0/8 for 3h", "port-82 82/tcp from any for 24h",
                "port-83 83/tcp from 10.0.0.1/32 for 5m", "port-84 84/tcp from any for 3h",
            ]
        )
        #expect(
            imported.remarks == [
                "the file is one page of several; those behind nextLink are not in it",
                "default: location westeurope means nothing here",
                "default: what was requested stays in Azure: 2 requests",
                "vm1: the Azure Firewall before it is not configured from here",
                "port 22/any: source Internet is left out: service tags mean nothing outside Azure",
                "port 22/any: source 10.0.0.7/8 is taken for 10.0.0.0/8",
                "port 80/any: source VirtualNetwork is left out: service tags mean nothing outside Azure",
                "port 80/any: NOT IMPORTED, because none of its sources is left",
                #"not imported, because port or protocol cannot be read: {"number": 81, "protocol": "ICMP", "allowedSourceAddressPrefix": "*", "maxReques..."#,
                "port 82/tcp: mappedPort is not known here",
                "port 82/tcp: it names no sources, so any may be asked for",
                "port 82/tcp: at most 24h instead of 2d",
                "port 83/tcp: at most 5m instead of 1m",
                "port 22/tcp: not imported a second time, with other limits than 22/any",
                "port 84/tcp: it names no sources, so any may be asked for",
                "port 84/tcp: at most 3h", widest,
            ]
        )
    }

    @Test(arguments: [
        ("{}", "this is no policy of just-in-time access: there are no virtualMachines in it"),
        ("[]", "there is no virtual machine with ports in it"),
        ("7", "this is no policy of just-in-time access: there are no virtualMachines in it"),
        (
            #"{"name": "p", "virtualMachines": [{"id": "x"}]}"#,
            "p: a virtual machine has no id, or no list of ports"
        ),
    ])
    func refusesWhatIsNoPolicy(json: String, message: String) {
        let error = #expect(throws: AzureImportError.self) { try read(json) }
        #expect(error?.description == message)
    }

    /// Whatever the rules: each port is in one policy with its own limits, or is remarked on; no two
    /// policies have a name or a port in common.
    @Test(arguments: 0..<200) func nothingIsLostOrWidened(seed: UInt64) throws {
        var random = Generator(seed: seed)
        let rules = try (0..<random.int(1...12)).map { _ in try Self.rule(&random) }
        let imported = try read(resource(vm("vm1", rules.map(\.json).joined(separator: ", "))))
        let policies = imported.policies
        #expect(Set(policies.map(\.name)).count == policies.count)
        let ports = policies.flatMap(\.ports)
        for (index, port) in ports.enumerated() {
            #expect(!ports[..<index].contains { $0.overlaps(port) })
        }
        var taken: [Rule] = []
        for rule in rules {
            if let earlier = taken.first(where: { $0.port.overlaps(rule.port) }) {
                let isTold = imported.remarks.contains { $0.hasPrefix("port \(rule.port): not") }
                #expect(!rule.isRead || isTold || earlier.json == rule.json)
            } else if rule.isRead {
                let policy = try #require(policies.first { $0.ports.contains(rule.port) })
                #expect(policy.maxDuration == rule.duration)
                #expect(policy.allowedSources == rule.sources)
                taken.append(rule)
            } else {
                let isTold = imported.remarks.contains { $0.hasPrefix("port \(rule.port): NOT") }
                #expect(isTold)
            }
        }
        #expect(ports.count == taken.count)
    }

    private struct Rule {
        var port: PortRange
        var sources: [CIDR]
        var duration: Duration
        var isRead: Bool
        var json: String
    }

    private static func rule(_ random: inout Generator) throws -> Rule {
        let number = UInt16([22, 80, 3389, 5985, 5986][random.int(0...4)])
        let portProtocol = PortProtocol.allCases[random.int(0...2)]
        let port = try #require(PortRange(number, number, portProtocol))
        let word = portProtocol == .any ? "*" : portProtocol.rawValue.uppercased()
        let hours = Int64(random.int(1...24))
        let (field, sources): (String, [String]?) = [
            (#""allowedSourceAddressPrefix": "*""#, ["0.0.0.0/0", "::/0"]),
            (#""allowedSourceAddressPrefix": "Internet""#, nil),
            (#""allowedSourceAddressPrefixes": ["192.0.2.0/24", "Storage"]"#, ["192.0.2.0/24"]),
            (#""allowedSourceAddressPrefixes": ["2001:db8::1"]"#, ["2001:db8::1/128"]),
        ][random.int(0...3)]
        return Rule(
            port: port,
            sources: (sources ?? []).compactMap { try? CIDR(parsing: $0) },
            duration: .seconds(hours * 3600),
            isRead: sources != nil,
            json: #"{"number": \#(number), "protocol": "\#(word)", \#(field), "#
                + #""maxRequestAccessDuration": "PT\#(hours)H"}"#
        )
    }
}

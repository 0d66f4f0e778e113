public import API
public import Policy

/// The ports of one virtual machine in Azure's just-in-time access, as policies of this host.
///
/// What Azure means by them is written in "Jit Network Access Policies" of its REST API, version
/// 2020-01-01. Names of fields are taken in any case, since PowerShell writes them with capitals.
public struct AzureImport: Hashable, Sendable {
    /// The policies: ssh, rdp and winrm for the ports that go by these names, `port-N` for others.
    public var policies: [AccessPolicy] = []
    /// What could not be carried over, or means something else here; for people.
    public var remarks: [String] = []

    /// Reads a resource, a list of resources as the REST API or `az` writes it, or one machine.
    ///
    /// - Parameters:
    ///   - json: What was read.
    ///   - machine: The name or id of the virtual machine; nil where all have the same ports.
    /// - Throws: ``AzureImportError``.
    public init(_ json: JSONValue, machine: String?) throws(AzureImportError) {
        let machines = try readMachines(json)
        let names = machines.map(\.name)
        guard !machines.isEmpty else {
            throw AzureImportError("there is no virtual machine with ports in it")
        }
        var chosen = machines
        if let machine {
            chosen = machines.filter { $0.isCalled(machine) }
            guard !chosen.isEmpty else {
                throw AzureImportError(
                    "there is no virtual machine \(printable(machine)); there are: "
                        + list(Set(names))
                )
            }
        } else if Set(machines.map(\.ports)).count > 1 {
            throw AzureImportError(
                "the virtual machines have different ports; say whose to take with --vm: "
                    + list(Set(names))
            )
        } else if Set(names).count > 1 {
            remarks.append("all of \(list(Set(names))) have these ports; this host takes them once")
        }
        // The same machine may be in several resources.
        var rules: [AzureRule] = []
        for port in chosen.flatMap(\.ports) {
            if let rule = AzureRule(port, &remarks) { add(rule, to: &rules) }
        }
        policies = Self.policies(of: rules)
        if policies.contains(where: { $0.allowsWiderSources }) {
            remarks.append(
                "a request here opens at most a /24 of IPv4 or a /64 of IPv6 addresses, where Azure "
                    + "has no such limit; widest_source in the policy changes it"
            )
        }
    }

    /// Takes a rule in, unless its port is in one already.
    private mutating func add(_ rule: AzureRule, to rules: inout [AzureRule]) {
        guard let other = rules.first(where: { $0.port.overlaps(rule.port) }) else {
            return rules.append(rule)
        }
        if other != rule {
            remarks.append(
                "port \(rule.port): not imported a second time, with other limits than \(other.port)"
            )
        }
    }

    /// Rules of one name and the same limits are one policy.
    private static func policies(of rules: [AzureRule]) -> [AccessPolicy] {
        var policies: [AccessPolicy] = []
        for rule in rules {
            let policy = rule.policy
            let same = policies.firstIndex { other in
                var other = other
                other.ports = policy.ports
                return other == policy
            }
            if let same {
                policies[same].ports.append(rule.port)
            } else if policies.contains(where: { $0.name == policy.name }) {
                var other = policy
                other.name += "-\(rule.port.lower)-\(rule.port.portProtocol)"
                policies.append(other)
            } else {
                policies.append(policy)
            }
        }
        return policies
    }

    private mutating func readMachines(
        _ json: JSONValue
    ) throws(AzureImportError) -> [AzureMachine] {
        if let items = json.list ?? json.field("value")?.list {
            if json.field("nextLink")?.text != nil {
                remarks.append(
                    "the file is one page of several; those behind nextLink are not in it"
                )
            }
            var machines: [AzureMachine] = []
            for item in items { machines += try readMachines(item) }
            return machines
        }
        // The command line program leaves the level of "properties" out.
        let properties = json.field("properties") ?? json
        guard let items = properties.field("virtualMachines")?.list else {
            guard let machine = AzureMachine(json) else {
                throw AzureImportError(
                    "this is no policy of just-in-time access: there are no virtualMachines in it"
                )
            }
            return [machine]
        }
        let place = json.field("name")?.text.map { "\(printable($0)): " } ?? ""
        if let location = json.field("location")?.text {
            remarks.append("\(place)location \(printable(location)) means nothing here")
        }
        if let requests = properties.field("requests")?.list, !requests.isEmpty {
            let count = counted(requests.count, "request", "requests")
            remarks.append("\(place)what was requested stays in Azure: \(count)")
        }
        var machines: [AzureMachine] = []
        for item in items {
            guard let machine = AzureMachine(item) else {
                throw AzureImportError("\(place)a virtual machine has no id, or no list of ports")
            }
            if machine.isBehindFirewall {
                remarks.append(
                    "\(machine.name): the Azure Firewall before it is not configured from here"
                )
            }
            machines.append(machine)
        }
        return machines
    }
}

/// Why a file cannot be imported, in one line.
public struct AzureImportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public var description: String

    init(_ description: String) { self.description = description }
}

/// A virtual machine and its ports.
private struct AzureMachine {
    var id: String
    var ports: [JSONValue]
    var isBehindFirewall: Bool

    init?(_ json: JSONValue) {
        guard let id = json.field("id")?.text, let ports = json.field("ports")?.list else {
            return nil
        }
        self.id = id
        self.ports = ports
        isBehindFirewall = json.field("publicIpAddress")?.text != nil
    }

    /// The last part of its id.
    var name: String { printable(id.split(separator: "/").last ?? "") }

    /// Azure does not tell names apart by case.
    func isCalled(_ text: String) -> Bool {
        [name.lowercased(), id.lowercased()].contains(text.lowercased())
    }
}

extension AccessPolicy {
    /// Whether a request could ask for more at a time in Azure than here.
    fileprivate var allowsWiderSources: Bool {
        allowedSources.contains { $0.prefixLength < widestSource.prefixLength($0.family) }
    }
}

extension JSONValue {
    /// The value of a field whose name is written in any case.
    func field(_ name: String) -> JSONValue? {
        guard case .object(let fields) = self else { return nil }
        let value = fields.first { $0.name.lowercased() == name.lowercased() }?.value
        return value == .null ? nil : value
    }
}

private func list(_ names: Set<String>) -> String { names.sorted().joined(separator: ", ") }

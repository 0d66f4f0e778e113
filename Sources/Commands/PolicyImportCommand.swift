import API
import ArgumentParser
import AzureShape
import Client
import Policy

extension PolicyCommands {
    /// The command `sallyport policy import FILE`.
    struct Import: AgentCommand {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract: "Take over the ports of a machine in Azure's just-in-time access (admins).",
            discussion: """
                Takes the JSON of jitNetworkAccessPolicies, as the REST API or az writes it.
                Ports that a policy of the same name manages already take its other keys over.
                What has no counterpart here is told, and left out.

                  az security jit-policy list > jit.json
                  sallyport policy import jit.json --vm web1 --dry-run
                """
        )

        @Argument(
            help: ArgumentHelp("The file; - for standard input.", valueName: "file"),
            completion: .file(extensions: ["json"])
        )
        var file: String

        @Option(
            help: ArgumentHelp(
                "The virtual machine, where they have different ports.",
                valueName: "name"
            )
        )
        var vm: String?

        @Flag(help: "Only say what would be done.")
        var dryRun = false

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let json = try jsonFile(file)
            let imported: AzureImport
            do throws(AzureImportError) {
                imported = try AzureImport(json, machine: vm)
            } catch {
                throw CommandError(message: "cannot import \(file): \(error)", status: .invalid)
            }
            var documents: [PolicyDocument] = []
            var report = Report(notes: imported.remarks.map { "sallyport: \($0)" })
            let present = try agent.policies().policies
            var planned: [(name: String, definition: JSONValue)] = []
            for policy in imported.policies {
                do throws(CommandError) {
                    let (document, definition) = try policy.planned(among: present)
                    documents.append(document)
                    planned.append((policy.name, definition))
                } catch {
                    report.failures.append(error)
                }
            }
            // All of it or nothing, as far as it can be known before.
            guard report.failures.isEmpty else { return report }
            var document = ImportDocument(
                policies: documents,
                remarks: imported.remarks,
                changes: []
            )
            var told = dryRun ? documents.map(line) : []
            for (name, definition) in planned where !dryRun {
                do throws(ClientError) {
                    let change = try agent.set(
                        policy: name,
                        to: definition,
                        replacing: nil,
                        keepingGrants: false
                    )
                    document.changes.append(change)
                    told += lines(change, named: name)
                    report.notes += warnings(change)
                } catch {
                    report.failures.append(error)
                }
            }
            try output.show(document, as: told)
            return report
        }

        private func line(_ policy: PolicyDocument) -> Line {
            let ports = policy.ports.map(\.description).joined(separator: ", ")
            let sources = policy.allowedSources.map(\.description).joined(separator: ", ")
            return "\(policy.name): \(ports) from \(sources), at most \(policy.maxDuration)"
        }
    }
}

extension AccessPolicy {
    /// The policy as it is to be, and its definition: where one of its name is there, with the other
    /// ports and keys of that.
    fileprivate func planned(
        among present: [PolicyDocument]
    ) throws(CommandError) -> (PolicyDocument, JSONValue) {
        let overlaps = { (other: PortRange) in ports.contains { $0.overlaps(other) } }
        if let other = present.first(where: {
            $0.name != name && $0.ports.contains(where: overlaps)
        }) {
            throw CommandError(
                message: "cannot import \(name): policy \(other.name) has a port of it already; "
                    + "remove it there, or leave the port out of the file",
                status: .invalid
            )
        }
        guard let old = present.first(where: { $0.name == name }) else {
            return (PolicyDocument(self), try jsonValue(PolicyDocument(self)))
        }
        var policy = self
        policy.ports += old.ports.filter { !overlaps($0) }
        let lost = PolicySet(AccessPolicy(name: name, ports: old.ports))
            .ports(notManagedBy: PolicySet(policy))
        guard lost.isEmpty || !old.enabled else {
            let list = lost.map(\.description).joined(separator: ", ")
            throw CommandError(
                message: "cannot import \(name): \(list), which it manages, would be open to "
                    + "everybody; split the policy first",
                status: .invalid
            )
        }
        let document = PolicyDocument(policy)
        let new = try jsonValue(document)
        var definition = try jsonValue(old)
        for key in ["ports", "allowed_sources", "max_duration"] { definition[key] = new[key] }
        let isOwn = old.defaultDuration != old.maxDuration
        let isTooLong = (try? Duration(parsing: old.defaultDuration)).map { $0 > maxDuration }
        if !isOwn || isTooLong ?? true { definition["default_duration"] = nil }
        return (document, definition)
    }
}

extension PolicySet {
    fileprivate init(_ policy: AccessPolicy) {
        self.init(policies: [policy], roles: RoleTable([:]))
    }
}

/// What `policy import --json` prints.
private struct ImportDocument: Encodable {
    /// The policies as they are to be.
    var policies: [PolicyDocument]
    /// What could not be carried over.
    var remarks: [String]
    /// What was done; nothing with `--dry-run`.
    var changes: [PolicyChangeDocument]
}

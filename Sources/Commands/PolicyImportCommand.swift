import API
import ArgumentParser
import AzureShape
import Client
import Policy

extension PolicyCommands {
    /// The command `sallyport policy import FILE`.
    struct Import: GuardedCommand {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract: "Take over the ports of a machine in Azure's just-in-time access (admins).",
            discussion: """
                Takes the JSON of jitNetworkAccessPolicies, as the REST API or az writes it.
                Ports that a policy of the same name manages already take its other keys over.
                To change those takes a yes on the terminal, or --replace. What has no
                counterpart here is told, and left out.

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

        @Flag(help: "Change policies that are there without being asked.")
        var replace = false

        @OptionGroup var guarding: ForceOption

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
            var report = Report(notes: imported.remarks.map { "sallyport: \($0)" })
            let present = try agent.policies().policies
            var plans: [ImportPlan] = []
            for policy in imported.policies {
                // With its tag, lest what somebody changes meanwhile is undone.
                let isThere = present.contains { $0.name == policy.name }
                let old = isThere ? try agent.taggedPolicy(named: policy.name) : nil
                do throws(CommandError) {
                    plans.append(try policy.planned(over: old, among: present))
                } catch {
                    report.failures.append(error)
                }
            }
            // All of it or nothing, as far as it can be known before.
            guard report.failures.isEmpty else { return report }
            var document = ImportDocument(
                policies: plans.map(\.document),
                plans: plans.map { Planned(name: $0.name, isNew: $0.isNew, changes: $0.changes) },
                remarks: imported.remarks,
                changes: []
            )
            guard !dryRun else {
                try output.show(document, as: plans.flatMap(plannedLines))
                return report
            }
            let changed = plans.filter { !$0.isNew && !$0.changes.isEmpty }
            do throws(CommandError) {
                guard try mayChange(changed, surroundings, output) else {
                    report.notes.append("not imported: nothing was changed")
                    report.status = .pending
                    return report
                }
            } catch {
                report.failures.append(error)
                return report
            }
            var told: [Line] = []
            for plan in plans {
                do throws(ClientError) {
                    let change = try agent.set(
                        policy: plan.name,
                        to: plan.definition,
                        if: plan.condition,
                        ChangeOptions(isForced: guarding.force)
                    )
                    document.changes.append(change)
                    told += lines(change, named: plan.name)
                    report.notes += warnings(change.warning)
                } catch {
                    report.failures.append(error)
                }
            }
            try output.show(document, as: told)
            return report
        }

        /// Whether policies that are there may be changed: by the option, or by a yes.
        private func mayChange(
            _ plans: [ImportPlan],
            _ surroundings: Surroundings,
            _ output: Output
        ) throws(CommandError) -> Bool {
            guard !plans.isEmpty, !replace else { return true }
            let names = plans.map(\.name).joined(separator: ", ")
            guard !output.json, let confirm = surroundings.confirm else {
                let changes = plans.map { "\($0.name): " + $0.changes.joined(separator: ", ") }
                throw CommandError(
                    message: "cannot import: it would change policies that are there ("
                        + changes.joined(separator: "; ") + "); say --replace to change them",
                    status: .usage
                )
            }
            output.tell(plans.flatMap(plannedLines).map { $0.printed(inColour: false) })
            return confirm("Change \(names)?")
        }

        private func plannedLines(_ plan: ImportPlan) -> [Line] {
            let policy = plan.document
            let ports = policy.ports.map(\.description).joined(separator: ", ")
            let sources = policy.allowedSources.map(\.description).joined(separator: ", ")
            let what = "\(policy.name): \(ports) from \(sources), at most \(policy.maxDuration)"
            guard !plan.isNew else { return ["\(what)"] }
            guard !plan.changes.isEmpty else { return ["\(what); it is there like that already"] }
            return ["\(what); changes the policy that is there:"]
                + plan.changes.map { "  \($0)" }
        }
    }
}

/// What is to become of one policy.
private struct ImportPlan {
    /// The policy as it is to be.
    var document: PolicyDocument
    /// What is sent for it.
    var definition: JSONValue
    /// What must be there when it is sent.
    var condition: Client.Condition
    /// How it differs from what is there, as the agent will tell it.
    var changes: [String]

    var name: String { document.name }
    var isNew: Bool { condition == .isAbsent }
}

extension AccessPolicy {
    /// What is to become of it: where one of its name is there, with the other ports and keys of
    /// that.
    fileprivate func planned(
        over old: (policy: PolicyDocument, tag: String)?,
        among present: [PolicyDocument]
    ) throws(CommandError) -> ImportPlan {
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
        guard let (old, tag) = old else {
            let document = PolicyDocument(self)
            return ImportPlan(
                document: document,
                definition: try jsonValue(document),
                condition: .isAbsent,
                changes: Self.differences(from: nil, to: self)
            )
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
        let isOwn = old.defaultDuration != old.maxDuration
        let ownDefault = isOwn ? try? Duration(parsing: old.defaultDuration) : nil
        if let ownDefault, ownDefault <= maxDuration { policy.defaultDuration = ownDefault }
        let new = PolicyDocument(policy)
        var document = old
        document.ports = new.ports
        document.allowedSources = new.allowedSources
        document.maxDuration = new.maxDuration
        document.defaultDuration = new.defaultDuration
        var definition = try jsonValue(document)
        if policy.defaultDuration == maxDuration { definition["default_duration"] = nil }
        return ImportPlan(
            document: document,
            definition: definition,
            condition: .isStill(tag: tag),
            changes: try Self.differences(from: Self(whatIsImportedOf: old), to: policy.bare)
        )
    }

    /// Only what is imported, so that nothing else differs.
    private var bare: AccessPolicy {
        AccessPolicy(
            name: name,
            ports: ports,
            allowedSources: allowedSources,
            maxDuration: maxDuration,
            defaultDuration: defaultDuration
        )
    }

    private init(whatIsImportedOf document: PolicyDocument) throws(CommandError) {
        do throws(ParseError) {
            self.init(
                name: document.name,
                ports: document.ports,
                allowedSources: document.allowedSources,
                maxDuration: try Duration(parsing: document.maxDuration),
                defaultDuration: try Duration(parsing: document.defaultDuration)
            )
        } catch {
            throw CommandError(
                message: "cannot import \(document.name): its durations cannot be read: "
                    + error.message,
                status: .invalid
            )
        }
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
    /// What each of them changes.
    var plans: [Planned]
    /// What could not be carried over.
    var remarks: [String]
    /// What was done; nothing with `--dry-run`.
    var changes: [PolicyChangeDocument]
}

/// What is to become of one policy, as `policy import --json` prints it.
private struct Planned: Encodable {
    var name: String
    /// Whether there is none of its name yet.
    var isNew: Bool
    /// How it differs from what is there: `max_duration 3h -> 1h`.
    var changes: [String]
}

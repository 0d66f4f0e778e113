import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport policy ...`.
struct PolicyCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Look at the policies, change them, check a file, apply others, reload them.",
        subcommands: [
            List.self, Show.self, Set.self, Remove.self, Check.self, Apply.self, Confirm.self,
            Reload.self, Import.self,
        ]
    )

    @OptionGroup var shared: SharedOptions

    /// The command `sallyport policy list`.
    struct List: AgentCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the running policies."
        )

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let list = try agent.policies()
            try output.show(list, as: lines(list, output.screen))
            return Report(notes: list.policies.isEmpty ? [noPolicies] : [])
        }
    }

    /// The command `sallyport policy show NAME`.
    struct Show: AgentCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Show one policy, every default filled in.",
            discussion: """
                The names are those of the policy file.

                  sallyport policy show ssh
                """
        )

        @Argument(
            help: ArgumentHelp("The policy.", valueName: "name"),
            completion: .custom(completePolicies)
        )
        var name: String

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let policy = try agent.policy(named: name)
            try output.show(policy, as: keyed(fields(policy)))
            return Report()
        }
    }

    /// The command `sallyport policy reload`.
    struct Reload: GuardedCommand {
        static let configuration = CommandConfiguration(
            commandName: "reload",
            abstract: "Read the policy files anew (admins).",
            discussion: """
                Live grants survive it. Where a file is refused, the running policies stay.
                To have them back unless you confirm: sallyport policy apply.
                """
        )

        @OptionGroup var guarding: ForceOption

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let list = try agent.reload(ChangeOptions(isForced: guarding.force))
            try output.show(list, as: lines(list, output.screen))
            return Report(notes: ["reloaded"])
        }
    }
}

let noPolicies = "no policies: no port is managed"

private func lines(_ list: PolicyList, _ screen: Screen) -> [Line] {
    guard !list.policies.isEmpty else { return [] }
    var table = Table(
        columns: [
            .init(title: "POLICY"), .init(title: "PORTS"), .init(title: "LONGEST"),
            .init(title: "REASON"), .init(title: "TICKET"), .init(title: "DESCRIPTION"),
        ],
        on: screen
    )
    return table.lines(
        adding: list.policies.map { policy in
            [
                Table.Cell(policy.enabled ? policy.name : "\(policy.name) (disabled)"),
                Table.Cell(portsText(policy.ports, at: policy.hosts)),
                Table.Cell(policy.maxDuration), Table.Cell(policy.reason.rawValue),
                Table.Cell(policy.ticketPattern == nil ? "-" : "required"),
                Table.Cell(policy.description ?? "-"),
            ]
        }
    )
}

/// `22/tcp, 80/tcp`, or `22/tcp at 192.0.2.0/24` of hosts behind the machine.
func portsText(_ ports: [PortRange], at hosts: [CIDR]?) -> String {
    let text = ports.map(\.description).joined(separator: ", ")
    return hosts.map { "\(text) at \($0.map(\.description).joined(separator: ", "))" } ?? text
}

private func fields(_ policy: PolicyDocument) -> [(name: String, value: String)] {
    let widest = policy.widestSource
    return [
        ("name", policy.name),
        ("description", policy.description ?? "-"),
        ("enabled", policy.enabled ? "yes" : "no"),
        ("ports", policy.ports.map(\.description).joined(separator: ", ")),
        ("hosts", policy.hosts?.map(\.description).joined(separator: ", ") ?? "this machine"),
        ("allowed_sources", policy.allowedSources.map(\.description).joined(separator: ", ")),
        ("widest_source", "IPv4 /\(widest.ipv4), IPv6 /\(widest.ipv6)"),
        ("max_duration", policy.maxDuration),
        ("default_duration", policy.defaultDuration),
        ("requesters", policy.requesters?.joined(separator: ", ") ?? "all requesters"),
        ("approvals", "\(policy.approvals)"),
        ("approvers", policy.approvers?.joined(separator: ", ") ?? "all approvers"),
        ("pending_for", policy.pendingFor),
        ("max_active_per_requester", "\(policy.maxActivePerRequester)"),
        ("reason", policy.reason.rawValue),
        ("reason_min_length", "\(policy.reasonMinLength)"),
        ("ticket_pattern", policy.ticketPattern?.description ?? "-"),
        ("sessions", policy.sessions.rawValue),
        ("udp_sessions", policy.udpSessions.rawValue),
    ]
}

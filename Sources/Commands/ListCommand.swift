import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport list`.
struct ListCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List live grants, and with --all ended ones.",
        discussion: """
            Requesters see their own grants; viewers, approvers and admins everyone's.
            PACKETS counts what the grant let in: with "sessions: keep", connections.

              sallyport list
              sallyport list --policy ssh --user alice
              sallyport list --all --json
            """
    )

    @Flag(help: "Ended grants too, with their state and how they ended.")
    var all = false

    @Option(help: ArgumentHelp("Only this policy's.", valueName: "name"))
    var policy: String?

    @Option(help: ArgumentHelp("Only this requester's.", valueName: "name"))
    var user: String?

    @OptionGroup var shared: SharedOptions

    func report(from agent: Client, in surroundings: Surroundings) throws -> Report {
        let filter = RequestFilter(policy: policy, requester: user)
        let list = try all ? agent.grants(filter, includeEnded: true) : agent.liveGrants(filter)
        guard !list.grants.isEmpty else {
            return Report(
                document: list,
                lines: [],
                notes: [all ? "no grants" : "no live grants"]
            )
        }
        return Report(
            document: list,
            lines: (all ? history(list, surroundings.time) : live(list, surroundings.time)).lines,
            notes: list.next == nil ? [] : ["older grants are left out"]
        )
    }
}

private func live(_ list: GrantList, _ time: TimeTeller) -> Table {
    var table = Table(
        columns: identifying + [
            .init(title: "ENDS"), .init(title: "PACKETS", isNumeric: true),
        ]
    )
    table.rows = list.grants.map {
        identity($0) + [time.both($0.expiresAt), $0.packets.map { "\($0)" } ?? "-"]
    }
    return table
}

private func history(_ list: GrantList, _ time: TimeTeller) -> Table {
    var table = Table(
        columns: identifying + [
            .init(title: "STATE"), .init(title: "ENDS"),
            .init(title: "PACKETS", isNumeric: true), .init(title: "REASON"),
        ]
    )
    table.rows = list.grants.map {
        identity($0) + [
            state($0), time.both($0.endedAt ?? $0.expiresAt), $0.packets.map { "\($0)" } ?? "-",
            // Cut, lest one long reason wrap every line of the table; --json has all of it.
            $0.reason?.clipped(to: 40) ?? "-",
        ]
    }
    return table
}

private let identifying: [Table.Column] = [
    .init(title: "ID"), .init(title: "POLICY"), .init(title: "PORT"), .init(title: "SOURCE"),
    .init(title: "USER"),
]

private func identity(_ grant: GrantDocument) -> [String] {
    [
        grant.id, grant.policy, grant.port.description, grant.source.description,
        grant.requester.user,
    ]
}

/// `active`, or `revoked (closed-by-admin)`; the reason only where it says more than the state.
private func state(_ grant: GrantDocument) -> String {
    guard let why = grant.endReason, why != .expired else { return grant.state.rawValue }
    return "\(grant.state.rawValue) (\(why.rawValue))"
}

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
            USER is who asked: "root (login alice)" where alice called sudo, "carol via
            portal" where a delegate spoke for carol. PACKETS counts what the grant let
            in: with "sessions: keep", connections.

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

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        var list = ListOutput("grants", to: output)
        var table = Table(columns: identifying + (all ? endings : [ends, packets]))
        let row = all ? ended : live
        try agent.eachPage(
            of: RequestFilter(policy: policy, requester: user),
            includeEnded: all
        ) { page in
            let rows = page.map { row($0, surroundings.time) }
            try list.show(page, as: table.lines(adding: rows))
        }
        try list.end()
        return Report(notes: list.isEmpty ? [all ? "no grants" : "no live grants"] : [])
    }
}

private let identifying: [Table.Column] = [
    .init(title: "ID"), .init(title: "POLICY"), .init(title: "PORT"), .init(title: "SOURCE"),
    .init(title: "USER"),
]
private let ends = Table.Column(title: "ENDS")
private let packets = Table.Column(title: "PACKETS", isNumeric: true)
private let endings: [Table.Column] = [
    .init(title: "STATE"), ends, packets, .init(title: "REASON"),
]

private func identity(_ grant: GrantDocument) -> [String] {
    [
        grant.id, grant.policy, grant.port.description, grant.source.description,
        grant.requester.text,
    ]
}

private func live(_ grant: GrantDocument, _ time: TimeTeller) -> [String] {
    identity(grant) + [end(of: grant, time), grant.packets.map(String.init) ?? "-"]
}

private func ended(_ grant: GrantDocument, _ time: TimeTeller) -> [String] {
    identity(grant) + [
        state(grant), end(of: grant, time),
        grant.packets.map(String.init) ?? "-",
        // Cut, lest one long reason wrap every line of the table; --json has all of it.
        grant.reason?.clipped(to: 40) ?? "-",
    ]
}

/// When it ends, or has ended; a dash where it did not open.
private func end(of grant: GrantDocument, _ time: TimeTeller) -> String {
    (grant.endedAt ?? grant.expiresAt).map(time.both) ?? "-"
}

/// `active`, or `revoked (closed-by-admin)`; the reason only where it says more than the state.
private func state(_ grant: GrantDocument) -> String {
    guard let why = grant.endReason, why != .expired else { return grant.state.rawValue }
    return "\(grant.state.rawValue) (\(why.rawValue))"
}

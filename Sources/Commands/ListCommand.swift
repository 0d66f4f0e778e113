import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport list`.
struct ListCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List live grants, and with --all those that wait or have ended.",
        discussion: """
            Requesters see their own grants; viewers, approvers and admins everyone's.
            USER is who asked: "root (login alice)" where alice called sudo, "carol via
            portal" where a delegate spoke for carol. PACKETS counts what the grant let
            in: with "sessions: keep", connections. LAST USE is when it was last seen to
            have let something in; a narrow terminal has no room for it.

              sallyport list
              sallyport list --policy ssh --user alice
              sallyport list --all --json
            """
    )

    @Flag(help: "Also those that wait or have ended, with their state.")
    var all = false

    @Option(
        help: ArgumentHelp("Only this policy's.", valueName: "name"),
        completion: .custom(completePolicies)
    )
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
        var table = Table(
            columns: identifying + (all ? endings : [ends, packets]),
            on: output.screen
        )
        let filter = RequestFilter(policy: policy, requester: user)
        if all {
            // What never opened is known by its request alone; what lengthens others has none.
            try agent.eachPage(ofRequests: filter) { page in
                let grants = page.filter { $0.extends == nil }.flatMap(\.grants)
                let rows = grants.map { ended($0, surroundings.time) }
                try list.show(grants, as: table.lines(adding: rows))
            }
        } else {
            try agent.eachPage(of: filter) { page in
                let rows = page.map { live($0, surroundings.time) }
                try list.show(page, as: table.lines(adding: rows))
            }
        }
        try list.end()
        return Report(notes: list.isEmpty ? [all ? "no grants" : "no live grants"] : [])
    }
}

private let identifying: [Table.Column] = [
    .init(title: "ID", isWhole: true), .init(title: "POLICY"), .init(title: "PORT"),
    .init(title: "SOURCE", least: Table.leastSource), .init(title: "USER"),
]
private let ends = Table.Column(title: "ENDS")
private let packets = Table.Column(title: "PACKETS", isNumeric: true)
private let endings: [Table.Column] = [
    .init(title: "STATE"), ends, packets, .init(title: "LAST USE", isSpare: true),
    .init(title: "REASON", isLong: true),
]

private func live(_ grant: GrantDocument, _ time: TimeTeller) -> [Table.Cell] {
    identity(grant) + [end(of: grant, time), packets(of: grant)]
}

private func ended(_ grant: GrantDocument, _ time: TimeTeller) -> [Table.Cell] {
    identity(grant) + [
        state(grant), end(of: grant, time), packets(of: grant), lastUse(of: grant, time),
        Table.Cell(grant.reason ?? "-"),
    ]
}

private func identity(_ grant: GrantDocument) -> [Table.Cell] {
    [
        Table.Cell(grant.id), Table.Cell(grant.policy), Table.Cell(grant.port.text(at: grant.host)),
        Table.Cell(grant.source.description, brief: grant.source.brief),
        Table.Cell(grant.requester.text, brief: grant.requester.brief),
    ]
}

/// `active`, or `revoked (closed-by-admin)`; the reason only where it says more than the state.
private func state(_ grant: GrantDocument) -> Table.Cell {
    let mark: Mark =
        switch grant.state {
        case .active: .good
        case .pending, .scheduled: .waiting
        case .denied, .failed: .bad
        case .expired, .revoked, .superseded, .cancelled, .lapsed: .over
        }
    let word = grant.state.rawValue
    guard let why = grant.endReason, why != .expired else { return Table.Cell(word, mark: mark) }
    return Table.Cell("\(word) (\(why.rawValue))", brief: word, mark: mark)
}

private func end(of grant: GrantDocument, _ time: TimeTeller) -> Table.Cell {
    guard let end = grant.endedAt ?? grant.expiresAt else { return "-" }
    return Table.Cell(time.both(end), brief: time.relative(end))
}

private func packets(of grant: GrantDocument) -> Table.Cell {
    Table.Cell(grant.packets.map(String.init) ?? "-")
}

private func lastUse(of grant: GrantDocument, _ time: TimeTeller) -> Table.Cell {
    if let last = grant.lastUsedAt { return Table.Cell(time.relative(last)) }
    return grant.packets == 0 ? Table.Cell("never used", brief: "never") : "-"
}

import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport sessions [ID]`.
struct SessionsCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "sessions",
        abstract: "List the live connections to managed ports, and what lets them in.",
        discussion: """
            Requesters see what their own grants let in; viewers, approvers and admins
            all. LET IN BY is the grants that are live; "earlier" is older than the gate
            (or than what the port's policy says), "break-glass" comes from a source that
            is always let in, and what has outlived its grant names it, where the agent
            can tell which one it was. `sallyport cut ID` ends one.

              sallyport sessions
              sallyport sessions 17.1       of one grant
              sallyport sessions 17         of a request
            """
    )

    @Argument(
        help: ArgumentHelp("A request (17) or a grant (17.1).", valueName: "id"),
        completion: .custom(completeGrants),
        transform: { try GrantReference(argument: $0) }
    )
    var id: GrantReference?

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let list = try agent.sessions(ofGrant: id?.text)
        var table = Table(columns: columns, on: output.screen)
        let rows = list.sessions.map { row($0, surroundings.time) }
        try output.show(list, as: rows.isEmpty ? [] : table.lines(adding: rows))
        return Report(notes: list.sessions.isEmpty ? ["no live sessions"] : [])
    }
}

private let columns: [Table.Column] = [
    .init(title: "ID", isWhole: true), .init(title: "POLICY"), .init(title: "PORT"),
    .init(title: "FROM", least: Table.leastSource), .init(title: "TO"),
    .init(title: "LET IN BY"), .init(title: "USER"), .init(title: "SINCE"),
]

private func row(_ session: SessionDocument, _ time: TimeTeller) -> [Table.Cell] {
    [
        Table.Cell(session.id), Table.Cell(session.policy ?? "-"),
        Table.Cell(session.port.description), Table.Cell("\(session.client)"),
        Table.Cell(session.servedAt.description), standing(session),
        session.requester.map { Table.Cell($0.text, brief: $0.brief) } ?? "-",
        session.startedAt.map { Table.Cell(time.both($0), brief: time.relative($0)) } ?? "-",
    ]
}

private func standing(_ session: SessionDocument) -> Table.Cell {
    let grants = session.grants.joined(separator: " ")
    return switch session.standing {
    case .granted: Table.Cell(grants, mark: .good)
    case .breakGlass: Table.Cell("break-glass", mark: .bad)
    case .earlier: Table.Cell("earlier", mark: .waiting)
    case .outlived: Table.Cell(grants.isEmpty ? "over" : "\(grants) (over)", mark: .over)
    }
}

extension SessionDocument {
    /// Where it comes from.
    var client: HostPort { HostPort(address: source, port: sourcePort) }

    /// Where it is served.
    fileprivate var servedAt: HostPort {
        HostPort(address: server ?? destination, port: serverPort ?? port.lower)
    }
}

extension GrantReference {
    fileprivate var text: String {
        switch self {
        case .request(let id), .grant(let id): id
        }
    }
}

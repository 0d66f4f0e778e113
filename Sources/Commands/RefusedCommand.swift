import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport refused`.
struct RefusedCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "refused",
        abstract: "Show who tried managed ports and was refused.",
        discussion: """
            By source and port, the latest first, since the agent started. ATTEMPTS counts
            packets that would have begun a connection, those that were sent again
            included; there may have been more, as the kernel tells of so many in a second
            only. What was refused before is in the audit trail:
            sallyport log --event attempts-refused

              sallyport refused --since 1h
              sallyport refused --json
            """
    )

    @Option(
        help: ArgumentHelp(
            "Only what was seen since then: 1h or 7d ago, 17:00, or RFC 3339.",
            valueName: "time"
        )
    )
    var since: String?

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let time = surroundings.time
        let list = try agent.refused(since: since.map { try instant($0, of: "--since", time) })
        var table = Table(
            columns: [
                .init(title: "SOURCE", least: Table.leastSource), .init(title: "PORT"),
                .init(title: "ON"), .init(title: "POLICY"), .init(title: "FIRST"),
                .init(title: "LAST"), .init(title: "ATTEMPTS", isNumeric: true),
            ],
            on: output.screen
        )
        let rows = list.refused.map { refused in
            [
                Table.Cell(refused.source.description, brief: refused.source.brief),
                Table.Cell(refused.port.description),
                Table.Cell(refused.destination?.description ?? "-"),
                Table.Cell(refused.policy ?? "-"),
                Table.Cell(time.both(refused.firstAt), brief: time.relative(refused.firstAt)),
                Table.Cell(time.both(refused.lastAt), brief: time.relative(refused.lastAt)),
                Table.Cell("\(refused.attempts)"),
            ]
        }
        try output.show(list, as: rows.isEmpty ? [] : table.lines(adding: rows))
        let fault = list.fault.map { ["refused attempts are not seen: \($0)"] } ?? []
        return Report(notes: fault + (rows.isEmpty ? ["nothing was refused"] : []))
    }
}

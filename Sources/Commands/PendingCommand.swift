import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport pending`.
struct PendingCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "pending",
        abstract: "List the requests that wait for approval.",
        discussion: """
            Requesters see their own; viewers, approvers and admins everyone's. FOR is
            "30m more of 17" where request 17 is to be lengthened; AGREED is how many
            have agreed of how many have to.

              sallyport pending
              sallyport approve 17
            """
    )

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        var list = ListOutput("requests", to: output)
        var table = Table(
            columns: [
                .init(title: "ID", isWhole: true), .init(title: "USER"), .init(title: "POLICY"),
                .init(title: "PORT"), .init(title: "SOURCE", least: Table.leastSource),
                .init(title: "FOR", isWhole: true), .init(title: "AGREED", isWhole: true),
                .init(title: "LAPSES"), .init(title: "REASON", isLong: true),
            ],
            on: output.screen
        )
        try agent.eachPage(ofRequests: RequestFilter(state: .pending)) { page in
            let rows = page.map { row($0, surroundings.time) }
            try list.show(page, as: table.lines(adding: rows))
        }
        try list.end()
        return Report(notes: list.isEmpty ? ["no request waits for approval"] : [])
    }
}

private func row(_ request: RequestDocument, _ time: TimeTeller) -> [Table.Cell] {
    let needs = request.needs ?? []
    let agreed = needs.map { "\($0.given)/\($0.approvals)" }.joined(separator: ", ")
    return [
        Table.Cell(request.id),
        Table.Cell(request.requester.text, brief: request.requester.brief),
        Table.Cell(each(request.grants.map(\.policy))),
        Table.Cell(each(request.grants.map { $0.port.text(at: $0.host) })),
        Table.Cell(
            each(request.grants.map(\.source.description)),
            brief: brief(request.grants.map(\.source.brief))
        ),
        Table.Cell(
            request.duration + (request.extends.map { " more of \($0)" } ?? ""),
            brief: request.extends.map { "+\(request.duration) of \($0)" }
        ),
        Table.Cell(agreed.isEmpty ? "-" : agreed),
        Table.Cell(
            request.pendingUntil.map(time.both) ?? "-",
            brief: request.pendingUntil.map(time.relative) ?? "-"
        ),
        Table.Cell(request.reason ?? "-"),
    ]
}

/// Every text once, in the order in which they come.
private func each(_ texts: [String]) -> String {
    var seen: Set<String> = []
    return texts.filter { seen.insert($0).inserted }.joined(separator: ", ")
}

/// The first text, and how many others there are: `192.0.2.1 +2`.
func brief(_ texts: [String]) -> String {
    let more = Set(texts).count - 1
    return (texts.first ?? "-") + (more > 0 ? " +\(more)" : "")
}

extension CIDR {
    /// The address alone where it is one.
    var brief: String {
        prefixLength == family.bits ? address.description : description
    }
}

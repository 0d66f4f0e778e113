import API
import ArgumentParser
import Client
import Linux
import Policy

/// The command `sallyport discover`.
struct DiscoverCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "discover",
        abstract: "List the ports that something answers at: managed, not managed, not applicable.",
        discussion: """
            Listening sockets of this host, and ports that rules lead to containers or
            other hosts. Configured: managed, so closed unless granted. Not configured:
            no policy in force names it. Unsupported: nobody from elsewhere reaches it.
            The ports that Azure proposes come first: ssh, rdp, winrm.

              sallyport discover
              sallyport discover --json         with the lines of a policy for each port
            """
    )

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let found = try agent.discover()
        try output.show(found, as: lines(found, output.screen))
        return Report(notes: found.gaps.map { "sallyport: could not look at everything: \($0)" })
    }
}

private func lines(_ found: DiscoverDocument, _ screen: Screen) -> [Line] {
    guard !found.services.isEmpty else { return [Line("nothing listens here")] }
    var table = Table(
        columns: [
            .init(title: "PORT", isWhole: true), .init(title: "STATE"), .init(title: "POLICY"),
            .init(title: "OF"), .init(title: "AT"), .init(title: "WHY", isLong: true),
        ],
        on: screen
    )
    let rows = table.lines(
        adding: found.services.map { service in
            [
                Table.Cell(service.port),
                Table.Cell(service.state.rawValue, mark: service.state.mark),
                Table.Cell(service.policy ?? "-"), Table.Cell(service.owner),
                Table.Cell(service.target ?? service.addresses.joined(separator: ", ")),
                Table.Cell(service.reason),
            ]
        }
    )
    let ports = found.services.filter { $0.state == .notConfigured && $0.policy == nil }
    return rows
        + (found.more > 0 ? [Line("and \(found.more) more")] : [])
        + (ports.isEmpty ? [] : [""] + advice(ports))
}

/// The lines that would manage what is not managed yet.
private func advice(_ services: [ServiceDocument]) -> [Line] {
    var seen: Set<String> = []
    // Each is a whole file; together they have one heading.
    let policies = services.compactMap(\.lines).filter { seen.insert($0).inserted }
        .flatMap { $0.split(separator: "\n").dropFirst() }
    return [Line("To manage what is not, put what you want closed into a file of policy.d:")]
        + (["policies:"] + policies.map(String.init)).map { Line("    \($0)") }
}

extension ServiceDocument {
    /// Whose it is: the process, the user, or the rule that publishes it.
    fileprivate var owner: String {
        if let rule { return rule }
        if let process { return process }
        return uid.map { NameService.user($0) ?? "\($0)" } ?? "-"
    }
}

extension ServiceDocument.State {
    fileprivate var mark: Mark {
        switch self {
        case .configured: .good
        case .notConfigured: .waiting
        case .unsupported: .over
        }
    }
}

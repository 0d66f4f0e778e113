import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport can-i ...`.
struct CanICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "can-i",
        abstract: "Ask whether something would be allowed; nothing changes.",
        subcommands: [Open.self]
    )

    @OptionGroup var shared: SharedOptions

    /// The command `sallyport can-i open TARGET... [--from SRC...]`.
    struct Open: AgentCommand {
        static let configuration = CommandConfiguration(
            commandName: "open",
            abstract: "Whether you may open this, and if not, every limit it breaks.",
            discussion: """
                Exit status: 0 yes (also where others would have to agree), 65 no, 77 not
                for you.

                  sallyport can-i open ssh --from 198.51.100.7 --for 2h
                """
        )

        @OptionGroup var asked: AskOptions

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let ask = try asked.ask(in: surroundings)
            return try tellWhether(ask, isAllowedBy: agent, to: output)
        }
    }
}

/// Says yes, or no and why: both are answers and stand on standard output.
func tellWhether(
    _ ask: Ask,
    isAllowedBy agent: Client,
    to output: Output
) throws -> Report {
    do {
        let answer = try agent.tryOpening(ask)
        try output.show(answer, as: yes(answer))
        return Report()
    } catch ClientError.problem(let problem)
        where [.outsidePolicy, .notPermitted].contains(problem.code)
    {
        let failure = Failure(problem)
        try output.show(problem, as: [Line("no", .bad)] + failure.details.map { Line("  " + $0) })
        return Report(status: failure.status)
    }
}

private func yes(_ answer: PreviewDocument) -> [Line] {
    let needs = (answer.needs ?? []).map { need in
        let who = need.approvers.map { " of \($0.joined(separator: ", "))" } ?? ""
        let count = counted(need.approvals, "approval", "approvals")
        return Line("  policy \(need.policy) asks for \(count)\(who)")
    }
    let grants = answer.grants.map {
        Line("  \($0.policy) \($0.port.text(at: $0.host)) from \($0.source) for \(answer.duration)")
    }
    return [Line(needs.isEmpty ? "yes" : "yes, once others agree", .good)] + grants + needs
}

import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport extend ID --for D`.
struct ExtendCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "extend",
        abstract: "Let a request's live grants end later.",
        discussion: """
            The time is added to what is left, which may not exceed the policy's
            max_duration. Grants that have ended stay ended. Where others have to agree,
            the extension waits for them as a request of its own (exit status 75), and the
            grants end as before until they do.

              sallyport extend 17 --for 30m --reason "restore still runs"
            """
    )

    @OptionGroup var request: RequestArgument

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("How much longer: 30m, 1h.", valueName: "duration")
    )
    var duration: String

    @Option(help: ArgumentHelp("Why; a policy may require it.", valueName: "text"))
    var reason: String?

    @Option(help: ArgumentHelp("The ticket; a policy may require one.", valueName: "id"))
    var ticket: String?

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let extended = try agent.extend(
            request: request.id,
            ExtendBody(duration: duration, reason: reason, ticket: ticket)
        )
        try output.show(
            extended,
            as: lines(
                on: extended,
                verb: "is now open until",
                for: surroundings.subject,
                surroundings.time
            )
        )
        return Report(status: status(of: extended))
    }
}

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
            max_duration. Grants that have ended stay ended.

              sallyport extend 17 --for 30m
            """
    )

    @Argument(
        help: ArgumentHelp("The request, as \"sallyport open\" named it.", valueName: "id"),
        transform: { text in
            switch try GrantReference(argument: text) {
            case .request(let id): id
            case .grant(let id):
                let whole = id.prefix { $0 != "." }
                throw ValidationError("a request is extended as a whole: \(whole)")
            }
        }
    )
    var request: String

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("How much longer: 30m, 1h.", valueName: "duration")
    )
    var duration: String

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let extended = try agent.extend(request: request, by: duration)
        try output.show(
            extended,
            as: openRequest(extended, verb: "is now open until", surroundings.time)
        )
        return Report()
    }
}

import API
import ArgumentParser
import Client

/// A subcommand that talks to the agent.
protocol AgentCommand: ParsableCommand {
    var shared: SharedOptions { get }

    /// Does the work, prints what there is to show, and says what came of it; throws `Problem`,
    /// `ClientError` or `CommandError`.
    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report
}

/// The options every command takes, before or after its name.
struct SharedOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The agent's socket; default $SALLYPORT_SOCKET, else \(Self.defaultSocket).",
            valueName: "path"
        ),
        completion: .file()
    )
    var socket: String?

    @Flag(help: "Print the API's JSON document; times in UTC.")
    var json = false

    static let defaultSocket = "/run/sallyport/sallyport.sock"

    /// The socket to use: the option's, the environment's, or the default.
    static func socketPath(option: String?, _ environment: (String) -> String?) -> String {
        if let option { return option }
        guard let named = environment("SALLYPORT_SOCKET"), !named.isEmpty else {
            return defaultSocket
        }
        return named
    }
}

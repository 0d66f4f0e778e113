import API
import Daemon
import ArgumentParser

@main
struct Sallyportd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sallyportd",
        abstract: "The agent of Sallyport: closes managed ports, and opens what is granted.",
        discussion: """
            Runs in the foreground until SIGTERM, as a service manager wants it; SIGHUP reloads the
            configuration. Needs CAP_NET_ADMIN in its network namespace. Stopping it opens nothing:
            the gate stays closed, and what is open closes by itself.

            Examples:
              sallyportd --check
              sallyportd --config ./sallyport.yaml --socket ./agent.sock --state-dir ./state
            """,
        version: version
    )

    @Option(name: .customLong("config"), help: "The configuration file.")
    var configurationFile = "/etc/sallyport/sallyport.yaml"

    @Option(help: "The Unix socket to serve, instead of the configured one.")
    var socket: String?

    @Option(
        name: .customLong("state-dir"),
        help: "The folder of the ledger, instead of the configured one."
    )
    var stateDirectory: String?

    @Flag(help: "Only check the configuration and its policies; exit with 0 if they are valid.")
    var check = false

    func run() throws {
        let options = DaemonOptions(
            configuration: configurationFile,
            socket: socket,
            stateDirectory: stateDirectory
        )
        if check {
            print("\(configurationFile) is valid: \(try Daemon.check(options))")
        } else {
            try Daemon.run(options, logger: Daemon.makeLogger())
        }
    }
}

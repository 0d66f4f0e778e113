import API
import Daemon
import ArgumentParser
import FoundationEssentials
import Policy

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

    @Option(
        name: .customLong("check-policies"),
        help: ArgumentHelp(
            "Only check a policy file (- for standard input); exit with 0 if it is valid, else 65.",
            valueName: "file"
        )
    )
    var policyFile: String?

    @Flag(help: "With --check-policies: print the policies as JSON.")
    var json = false

    /// For tests of what is done on kernels before 6.9.
    @Flag(help: .hidden)
    var unowned = false

    func validate() throws {
        guard !json || policyFile != nil else {
            throw ValidationError("--json goes with --check-policies")
        }
    }

    func run() throws {
        if let policyFile { return try check(policyFile: policyFile) }
        let options = DaemonOptions(
            configuration: configurationFile,
            socket: socket,
            stateDirectory: stateDirectory,
            ownsTable: !unowned
        )
        if check {
            let (policies, warnings) = try Daemon.check(options)
            Daemon.tell(warnings.map { "warning: \($0)" })
            sayValid(configurationFile, policies)
        } else {
            try Daemon.run(options, logger: Daemon.makeLogger())
        }
    }

    private func check(policyFile file: String) throws {
        let list: PolicyList
        do {
            list = try Daemon.check(policyFile: file)
        } catch {
            Daemon.tell(["\(error)"])
            // EX_DATAERR
            throw ExitCode(65)
        }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(list), as: UTF8.self))
        } else {
            sayValid(file, list.policies.count)
        }
    }

    private func sayValid(_ file: String, _ policies: Int) {
        print("\(file) is valid: \(counted(policies, "policy", "policies"))")
    }
}

import ArgumentParser
import Client
import Linux
import SystemPackage

extension PolicyCommands {
    /// The command `sallyport policy check FILE`.
    struct Check: AgentCommand {
        static let configuration = CommandConfiguration(
            commandName: "check",
            abstract: "Check a policy file without loading it.",
            discussion: """
                Names every fault with its line and column. It takes no agent, but its
                program, sallyportd, which reads the file.

                  sallyport policy check /etc/sallyport/policy.d/management.yaml
                  generate-policies | sallyport policy check -
                """
        )

        @Argument(
            help: ArgumentHelp("The file; - for standard input.", valueName: "file"),
            completion: .file(extensions: ["yaml"])
        )
        var file: String

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let program = try agentProgram(in: surroundings)
            // Behind an equals sign no name is taken for an option.
            let arguments = ["--check-policies=\(file)"] + (shared.json ? ["--json"] : [])
            try surroundings.become([program] + arguments)
            return Report()
        }
    }
}

/// The program of the agent: beside this one, in the `sbin` that goes with its `bin`, or in `$PATH`.
private func agentProgram(in surroundings: Surroundings) throws(CommandError) -> String {
    var folders: [String] = []
    if let own = surroundings.program, let end = own.lastIndex(of: "/") {
        folders = [String(own[..<end]), own[..<end] + "/../sbin"]
    }
    folders += (surroundings.environment("PATH") ?? "").split(separator: ":").map(String.init)
    for folder in folders {
        let path = folder + "/sallyportd"
        if let status = try? fileStatus(path), status.type == .regular { return path }
    }
    throw CommandError(
        message: "cannot find the program sallyportd, which reads policy files, in "
            + folders.joined(separator: ", "),
        status: .unreachable
    )
}

import ArgumentParser
import Client

/// Parses and carries out one command line, and answers the status to exit with.
///
/// `tell` prints lines on standard error, at once; `write` prints text on standard output.
func status(
    of arguments: [String],
    in surroundings: Surroundings,
    tell: @escaping ([String]) -> Void,
    write: @escaping (String) throws -> Void
) -> ExitStatus {
    do {
        var command = try RootCommand.parseAsRoot(arguments)
        if let command = command as? any AgentCommand {
            let output = Output(
                json: command.shared.json,
                screen: surroundings.screen,
                write: write,
                tell: tell
            )
            return status(of: command, in: surroundings, to: output)
        }
        // Help comes as a command that throws its text.
        try command.run()
        return .done
    } catch {
        let text = RootCommand.fullMessage(for: error)
        guard RootCommand.exitCode(for: error).isSuccess else {
            // The text of an error quotes the arguments; help and completion scripts do not.
            tell(advice(on: text, for: arguments))
            return .usage
        }
        do {
            try write(text + "\n")
            return .done
        } catch {
            return status(of: [error], json: false, tell: tell)
        }
    }
}

private func status(
    of command: any AgentCommand,
    in surroundings: Surroundings,
    to output: Output
) -> ExitStatus {
    let socket = SharedOptions.socketPath(option: command.shared.socket, surroundings.environment)
    let agent = Client(socket: socket)
    if command is any GuardedCommand { agent.session = surroundings.ownSession }
    do {
        let report = try command.report(from: agent, in: surroundings, to: output)
        output.tell(report.notes)
        guard !report.failures.isEmpty else { return report.status }
        return status(of: report.failures, json: output.json, tell: output.tell)
    } catch {
        return status(of: [error], json: output.json, tell: output.tell)
    }
}

/// Tells the errors, with `json` the agent's problems as its documents; the first that is no mere
/// notice sets the status.
private func status(
    of errors: [any Error],
    json: Bool,
    tell: ([String]) -> Void
) -> ExitStatus {
    let failures = errors.map(Failure.init)
    for failure in failures {
        if json, let problem = failure.problem, let text = try? jsonText(problem) {
            tell(text.split(separator: "\n").map(String.init))
        } else {
            tell(failure.lines)
        }
    }
    return failures.map(\.status).first { $0 != .done } ?? .done
}

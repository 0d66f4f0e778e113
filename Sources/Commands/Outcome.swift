import ArgumentParser
import Client

/// What a command line comes to, besides its output.
struct Outcome {
    /// The text for standard error.
    var errors = ""
    var status = ExitStatus.done
    /// A program and its arguments that does the rest in this one's place.
    var continuation: [String]?
}

/// Parses and carries out one command line; `write` prints on standard output.
func outcome(
    of arguments: [String],
    in surroundings: Surroundings,
    write: @escaping (String) throws -> Void
) -> Outcome {
    do {
        var command = try RootCommand.parseAsRoot(arguments)
        if let command = command as? any AgentCommand {
            let output = Output(json: command.shared.json, write: write)
            return outcome(of: command, in: surroundings, to: output)
        }
        // Help comes as a command that throws its text.
        try command.run()
        return Outcome()
    } catch {
        let text = RootCommand.fullMessage(for: error)
        guard RootCommand.exitCode(for: error).isSuccess else {
            // The text of an error quotes the arguments; help and completion scripts do not.
            let lines = text.split(separator: "\n").map(String.init)
            return Outcome(errors: printed(lines), status: .usage)
        }
        do {
            try write(text + "\n")
            return Outcome()
        } catch {
            return Outcome(failures: [error], json: false)
        }
    }
}

private func outcome(
    of command: any AgentCommand,
    in surroundings: Surroundings,
    to output: Output
) -> Outcome {
    let socket = SharedOptions.socketPath(option: command.shared.socket, surroundings.environment)
    do {
        let report = try command.report(
            from: Client(socket: socket),
            in: surroundings,
            to: output
        )
        var outcome = Outcome(failures: report.failures, json: output.json)
        outcome.errors = printed(report.notes) + outcome.errors
        if report.failures.isEmpty { outcome.status = report.status }
        outcome.continuation = report.continuation
        return outcome
    } catch {
        return Outcome(failures: [error], json: output.json)
    }
}

extension Outcome {
    /// The errors, with `json` the agent's problems as its documents; the first that is no mere
    /// notice sets the status.
    init(failures: [any Error], json: Bool) {
        for failure in failures.map(Failure.init) {
            if json, let problem = failure.problem, let text = try? jsonText(problem) {
                errors += text + "\n"
            } else {
                errors += printed(failure.lines)
            }
        }
        status = failures.map { Failure($0).status }.first { $0 != .done } ?? .done
    }
}

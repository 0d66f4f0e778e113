import API
import ArgumentParser
import Client
import FoundationEssentials

/// What a command line comes to: both outputs and the exit status.
struct Outcome: Hashable, Sendable {
    var output = ""
    var errors = ""
    var status = ExitStatus.done.rawValue
}

/// Parses and carries out one command line; prints nothing itself.
func outcome(of arguments: [String], in surroundings: Surroundings) -> Outcome {
    do {
        var command = try RootCommand.parseAsRoot(arguments)
        guard let command = command as? any AgentCommand else {
            // Help comes as a command that throws its text.
            try command.run()
            return Outcome()
        }
        return outcome(of: command, in: surroundings)
    } catch {
        let text = RootCommand.fullMessage(for: error)
        // The text of an error quotes the arguments; help and completion scripts do not.
        return RootCommand.exitCode(for: error).isSuccess
            ? Outcome(output: text + "\n")
            : Outcome(
                errors: printed(text.split(separator: "\n").map(String.init)),
                status: ExitStatus.usage.rawValue
            )
    }
}

private func outcome(
    of command: any AgentCommand,
    in surroundings: Surroundings
) -> Outcome {
    let options = command.shared
    let socket = SharedOptions.socketPath(option: options.socket, surroundings.environment)
    let agent = Client(socket: socket)
    do {
        let report = try command.report(from: agent, in: surroundings)
        return try Outcome(report, json: options.json)
    } catch {
        return Outcome(failures: [error], json: options.json)
    }
}

extension Outcome {
    init(_ report: Report, json: Bool) throws {
        self.init(failures: report.failures, json: json)
        output = json ? try jsonText(report.document) : printed(report.lines)
        errors = printed(report.notes) + errors
        if report.failures.isEmpty { status = report.status.rawValue }
    }

    /// The errors, with `json` the agent's problems as its documents; the first sets the status.
    init(failures: [any Error], json: Bool) {
        for failure in failures.map(Failure.init) {
            if json, let problem = failure.problem, let text = try? jsonText(problem) {
                errors += text
            } else {
                errors += printed(failure.lines)
            }
        }
        status = (failures.first.map { Failure($0).status } ?? .done).rawValue
    }
}

/// Lines for a terminal: whatever others wrote into them cannot steer it.
private func printed(_ lines: [String]) -> String {
    lines.map { visible($0) + "\n" }.joined()
}

/// An API document as JSON text.
private func jsonText(_ document: any Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let text = String(decoding: try encoder.encode(document), as: UTF8.self)
    // JSON leaves some controls (U+009B) as they are, and it, too, ends up on terminals. Outside
    // strings there is none but the line feeds of the formatting.
    return text.unicodeScalars.reduce(into: "") { escaped, scalar in
        if scalar == "\n" || !scalar.isObeyed {
            escaped.unicodeScalars.append(scalar)
        } else {
            for unit in String(scalar).utf16 {
                let digits = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
    } + "\n"
}

import API
import Client
import Policy

/// An error as it is told: lines for standard error, and the status the process exits with.
struct Failure {
    var lines: [String]
    var status: ExitStatus
    /// What is wrong, a line for every limit that was exceeded.
    var details: [String]
    /// The problem that was met, for `--json`; nil where there is none to show.
    var problem: Problem?

    init(_ error: any Error) {
        switch error {
        case let problem as Problem: self.init(problem)
        case ClientError.problem(let problem): self.init(problem)
        case let error as CommandError: self.init(error.message, error.status)
        case ClientError.answerUnreadable: self.init("\(error)", .done)
        case ClientError.forbidden: self.init("\(error)", .notPermitted)
        case ClientError.unreachable: self.init("\(error)", .unreachable)
        default: self.init("\(error)", .internalError)
        }
    }

    private init(_ message: String, _ status: ExitStatus) {
        lines = ["sallyport: \(message)"]
        details = [message]
        self.status = status
    }

    init(_ problem: Problem) {
        // The detail of a problem with one violation says what the violation says.
        let violations = violations(problem)
        lines =
            violations.count == 1
            ? violations.map { "sallyport: \($0)" }
            : ["sallyport: \(problem.detail)"] + violations.map { "  " + $0 }
        details = violations.isEmpty ? [problem.detail] : violations
        status =
            switch problem.code {
            case .badRequest, .outsidePolicy, .notFound, .wrongState, .changeUnconfirmed,
                .wouldLockOut, .gateDisarmed, .idempotencyConflict, .bodyTooLarge,
                .changedMeanwhile, .configurationInvalid, .rateLimited:
                .invalid
            case .notAuthenticated, .notPermitted: .notPermitted
            case .methodNotAllowed, .unsupportedMediaType, .configurationNotWritten,
                .ledgerUnavailable, .kernelRefused,
                .internalError:
                .internalError
            }
        self.problem = problem
    }
}

/// A line for every limit that was exceeded, with what would be allowed.
private func violations(_ problem: Problem) -> [String] {
    (problem.violations ?? []).map { violation in
        // A configuration's fields are places in a file, a request's are options of `open`.
        let name =
            problem.code == .configurationInvalid ? violation.field : option(violation.field)
        // Most messages name both already.
        let (message, value, allowed) = (violation.message, violation.value, violation.allowed)
        let asked = value.isEmpty || message.contains(value) ? "" : " \(clipped(value, to: 60))"
        let limit =
            allowed.isEmpty || message.contains(allowed) ? "" : " (allowed: \(allowed))"
        return "\(name)\(asked): \(message)\(limit)"
    }
}

/// How a field of a request is written on the command line.
private func option(_ field: String) -> String {
    switch field.prefix(while: { $0 != "[" }) {
    case "targets": "target"
    case "sources": "--from"
    case "duration": "--for"
    case "until": "--until"
    case "at": "--at"
    case "reason": "--reason"
    case "ticket": "--ticket"
    default: field
    }
}

import API
import Client
import FoundationEssentials
import Linux
import Policy

/// Waits until a request opens or is decided otherwise, also while the agent is started anew.
///
/// Answers what became of it, or nil where Ctrl-C was pressed.
func decision(
    on id: String,
    from agent: Client,
    _ output: Output
) throws -> RequestDocument? {
    try catchingInterrupts { try decision(on: id, from: agent, interruptedBy: $0, output) }
}

private func decision(
    on id: String,
    from agent: Client,
    interruptedBy interrupt: CInt,
    _ output: Output
) throws -> RequestDocument? {
    var absence = Absence()
    while true {
        do throws(ClientError) {
            // First the events, then the state: so that no change falls in between.
            let events = try agent.events()
            return try decision(on: id, from: agent, events, interruptedBy: interrupt) {
                absence.isOver(output)
            }
        } catch {
            if try absence.bear(error, output, interruptedBy: interrupt) == .interrupted {
                return nil
            }
        }
    }
}

/// The same as long as the agent is there.
private func decision(
    on id: String,
    from agent: Client,
    _ events: EventStream,
    interruptedBy interrupt: CInt,
    whenAnswered: () -> Void
) throws(ClientError) -> RequestDocument? {
    repeat {
        let request = try agent.request(id: id)
        whenAnswered()
        guard request.state.isWaiting else { return request }
    } while try waitForChange(of: id, events, interrupt)
    return nil
}

/// Waits for an event of the request; false where Ctrl-C came first.
private func waitForChange(
    of id: String,
    _ events: EventStream,
    _ interrupt: CInt
) throws(ClientError) -> Bool {
    while true {
        // Looked after now and then, lest an event that never comes is waited for.
        switch try events.next(within: .seconds(15), or: interrupt) {
        case .other: return false
        case .silence: return true
        case .event(let event):
            let subject = try? JSONDecoder().decode(EventSubject.self, from: Data(event.data.utf8))
            if subject?.request == id { return true }
        }
    }
}

/// What an event is about.
private struct EventSubject: Decodable {
    var request: String?
}

/// Bears with an agent that is away for a while, as for an update.
struct Absence {
    enum Outcome { case tryAgain, interrupted }

    private static let longest = Duration.seconds(120)

    private var start: ContinuousClock.Instant?

    /// Takes note that the agent is there.
    mutating func isOver(_ output: Output) {
        if start != nil { output.tell(["the agent is back"]) }
        start = nil
    }

    /// Waits a moment before the next try; throws an error that does not pass, or lasts too long.
    @discardableResult
    mutating func bear(
        _ error: ClientError,
        _ output: Output,
        interruptedBy interrupt: CInt = -1
    ) throws -> Outcome {
        if start == nil, error.mayPass { output.tell([error.patience]) }
        let start = self.start ?? .now
        self.start = start
        guard error.mayPass, start.duration(to: .now) < Self.longest else { throw error }
        let ready = try wait(for: [(interrupt, .input)], atMost: 500)
        return ready == [[]] ? .tryAgain : .interrupted
    }
}

extension ClientError {
    /// What is told while it is waited for.
    fileprivate var patience: String {
        if case .problem(let problem) = self { return "\(problem.detail); trying again" }
        return "the agent is away; waiting for it"
    }

    /// Whether it may be otherwise in a while.
    fileprivate var mayPass: Bool {
        switch self {
        case .unreachable: true
        case .problem(let problem):
            [.ledgerUnavailable, .rateLimited, .internalError].contains(problem.code)
        case .forbidden, .answerUnreadable, .protocolError: false
        }
    }
}

import API
import Client
import FoundationEssentials
import Linux
import Policy

/// How long an agent may be away, as for an update, before nobody waits for it any more.
private let longestAbsence = Duration.seconds(120)

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
    var lost: ContinuousClock.Instant?
    while true {
        do throws(ClientError) {
            // First the events, then the state: so that no change falls in between.
            let events = try agent.events()
            if lost != nil { output.tell(["the agent is back; request \(id) is followed"]) }
            lost = nil
            return try decision(on: id, from: agent, events, interruptedBy: interrupt)
        } catch {
            guard error.mayPass else { throw error }
            if lost == nil { output.tell(["sallyport: \(error); waiting for it"]) }
            let since = lost ?? .now
            lost = since
            guard since.duration(to: .now) < longestAbsence else { throw error }
            let ready = try wait(for: [(interrupt, .input)], atMost: 500)
            if ready != [[]] { return nil }
        }
    }
}

/// The same as long as the agent is there.
private func decision(
    on id: String,
    from agent: Client,
    _ events: EventStream,
    interruptedBy interrupt: CInt
) throws(ClientError) -> RequestDocument? {
    repeat {
        let request = try agent.request(id: id)
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

extension ClientError {
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

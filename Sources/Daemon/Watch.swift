import Agent
import Gate
import Linux
import Policy

/// Wakes the agent when there is something to do.
///
/// That is when a grant ends, when the wall clock is set or the machine resumes, and when the gate
/// refuses or lets in somebody. Sleeps in `poll(2)` on a thread of its own otherwise.
final class Watch: Sendable {
    enum Event: Sendable { case grantEnds, clockStepped, attemptsRefused, connections, stopped }

    private let ends: DeadlineTimer
    private let steps: ClockStepAlarm
    private let stop: Signpost
    /// Tells of what the gate refuses, which is noted at once; absent where it cannot.
    private let refusals: RefusalMonitor?
    private let noted: Refusals
    /// Tells of connections to managed ports, which are noted at once; absent where it cannot.
    private let connections: ConnectionMonitor?
    private let heard: Connections
    private let clocks: any Clocks

    init(
        refusals: RefusalMonitor?,
        noting noted: Refusals,
        connections: ConnectionMonitor?,
        hearing heard: Connections,
        clocks: any Clocks
    ) throws(SystemError) {
        ends = try DeadlineTimer.make()
        steps = try ClockStepAlarm.make()
        stop = try Signpost.make()
        self.refusals = refusals
        self.noted = noted
        self.connections = connections
        self.heard = heard
        self.clocks = clocks
    }

    /// Sets when the next grant ends, in milliseconds of `CLOCK_BOOTTIME`; nil: none does.
    func setNextEnd(_ deadline: Int64?) throws(SystemError) { try ends.set(deadline) }

    /// Ends what `start` began.
    func cancel() { stop.raise() }

    /// Calls `handler` for each event until `cancel`, on a thread of its own.
    func start(_ handler: @escaping @Sendable (Event) -> Void) throws(SystemError) {
        try OwnThread.start { [self] in
            while true {
                let event = next()
                handler(event)
                if event == .stopped { return }
            }
        }
    }

    private func next() -> Event {
        var watched: [(descriptor: CInt, Readiness)] = [
            (stop.descriptor, .input), (steps.descriptor, .input), (ends.descriptor, .input),
        ]
        for descriptor in [refusals?.descriptor, connections?.descriptor] {
            watched.append((descriptor ?? -1, .input))
        }
        while true {
            guard let ready = try? wait(for: watched) else { continue }
            if !ready[0].isEmpty { return .stopped }
            if !ready[1].isEmpty {
                // A timer that cannot be set again would tell of this step for ever; then the step
                // is told again, which costs time but no truth.
                try? steps.rearm()
                return .clockStepped
            }
            if let refusals, !ready[3].isEmpty,
                noted.note(refusals.drain(), at: clocks.now())
            {
                return .attemptsRefused
            }
            if let connections, !ready[4].isEmpty, heard.note(connections.drain()) {
                return .connections
            }
            if !ready[2].isEmpty {
                ends.clear()
                return .grantEnds
            }
        }
    }
}

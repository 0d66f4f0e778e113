import Linux

/// Wakes the agent when there is something to do.
///
/// That is when a grant ends, and when the wall clock is set or the machine resumes. Sleeps in
/// `poll(2)` on a thread of its own otherwise.
final class Watch: Sendable {
    enum Event: Sendable { case grantEnds, clockStepped, stopped }

    private let ends: DeadlineTimer
    private let steps: ClockStepAlarm
    private let stop: Signpost

    init() throws(SystemError) {
        ends = try DeadlineTimer.make()
        steps = try ClockStepAlarm.make()
        stop = try Signpost.make()
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
        let watched: [(descriptor: CInt, Readiness)] = [
            (stop.descriptor, .input), (steps.descriptor, .input), (ends.descriptor, .input),
        ]
        while true {
            guard let ready = try? wait(for: watched) else { continue }
            if !ready[0].isEmpty { return .stopped }
            if !ready[1].isEmpty {
                // A timer that cannot be set again would tell of this step for ever; then the step
                // is told again, which costs time but no truth.
                try? steps.rearm()
                return .clockStepped
            }
            if !ready[2].isEmpty {
                ends.clear()
                return .grantEnds
            }
        }
    }
}

import CLinux
import Gate
import Glibc
import Synchronization

/// Wakes the agent when there is something to do.
///
/// That is when a grant ends, when the wall clock is set or the machine resumes, and when somebody
/// else changes the ruleset. Sleeps in `poll(2)` on a thread of its own otherwise.
final class Watch: Sendable {
    enum Event: Sendable { case grantEnds, clockStepped, rulesetChanged, stopped }

    /// Expires at the next end of a grant, on `CLOCK_BOOTTIME`.
    private let ends: Int32
    /// Never expires: the kernel cancels it when `CLOCK_REALTIME` is set and on resume.
    private let steps: Int32
    private let stop: Int32
    /// Tells of others' changes; absent where the kernel itself keeps them from the table.
    private let ruleset: RulesetMonitor?

    init(ruleset: RulesetMonitor?) throws(AgentError) {
        self.ruleset = ruleset
        ends = timerfd_create(CLOCK_BOOTTIME, Int32(TFD_CLOEXEC) | Int32(TFD_NONBLOCK))
        steps = timerfd_create(CLOCK_REALTIME, Int32(TFD_CLOEXEC) | Int32(TFD_NONBLOCK))
        stop = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard ends >= 0, steps >= 0, stop >= 0, watchSteps() else {
            throw AgentError("cannot set up timers: \(unsafe String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(ends)
        close(steps)
        close(stop)
    }

    /// Sets when the next grant ends, in milliseconds of `CLOCK_BOOTTIME`; nil: none does.
    func setNextEnd(_ deadline: Int64?) {
        // One millisecond is the resolution of a deadline; 0 would disarm the timer.
        let at = deadline.map { max($0, 1) } ?? 0
        var spec = itimerspec()
        spec.it_value = timespec(tv_sec: Int(at / 1000), tv_nsec: Int(at % 1000) * 1_000_000)
        unsafe timerfd_settime(ends, Int32(TFD_TIMER_ABSTIME), &spec, nil)
    }

    /// Ends `run`.
    func cancel() {
        eventfd_write(stop, 1)
    }

    /// Calls `handler` for each event until `cancel`, on a thread of its own.
    func start(_ handler: @escaping @Sendable (Event) -> Void) throws(AgentError) {
        let body = Box { [self] in
            while true {
                let event = next()
                handler(event)
                if event == .stopped { return }
            }
        }
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
                }
                return nil
            },
            Unmanaged.passRetained(body).toOpaque()
        )
        guard code == 0 else {
            throw AgentError("cannot start a thread: \(unsafe String(cString: strerror(code)))")
        }
        pthread_detach(thread)
    }

    private func next() -> Event {
        var watched = [ends, steps, stop, ruleset?.descriptor ?? -1].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        while true {
            guard unsafe poll(&watched, nfds_t(watched.count), -1) > 0 else { continue }
            if watched[2].revents != 0 { return .stopped }
            if watched[1].revents != 0 {
                _ = watchSteps()
                return .clockStepped
            }
            if watched[3].revents != 0, ruleset?.sawChange() == true { return .rulesetChanged }
            if watched[0].revents != 0 {
                var expirations: UInt64 = 0
                unsafe read(ends, &expirations, 8)
                return .grantEnds
            }
        }
    }

    /// Arms the timer whose cancellation tells of a step; also forgets the last one.
    private func watchSteps() -> Bool {
        var spec = itimerspec()
        spec.it_value = timespec(tv_sec: Int(Int32.max) * 1000, tv_nsec: 0)
        return unsafe timerfd_settime(
            steps,
            Int32(TFD_TIMER_ABSTIME) | Int32(TFD_TIMER_CANCEL_ON_SET),
            &spec,
            nil
        ) == 0
    }
}

/// A closure behind a pointer, for pthread_create.
private final class Box: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

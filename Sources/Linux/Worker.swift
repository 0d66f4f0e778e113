internal import Dispatch
internal import Synchronization

/// A thread of its own that does what it is handed, one after the other.
///
/// Not one of a pool, of which another would go on each time: it is woken where it ran last, and
/// finds there what it needs in the caches. It ends once nobody holds this object and all is done.
public final class Worker: Sendable {
    private let line: Line

    /// Starts the thread.
    ///
    /// - Throws: ``SystemError``, `EAGAIN` where the process may have no more threads.
    public init() throws(SystemError) {
        let line = Line()
        try OwnThread.start { line.serve() }
        self.line = line
    }

    deinit { line.add(nil) }

    /// Hands over what is to be done, and does not wait for it; may be called by any thread.
    public func enqueue(_ job: @escaping @Sendable () -> Void) { line.add(job) }
}

/// What waits for a worker's thread.
private final class Line: Sendable {
    private let jobs = Mutex<[(@Sendable () -> Void)?]>([])
    /// Signalled for each of them.
    private let arrivals = DispatchSemaphore(value: 0)

    /// Adds a job; nil ends the thread behind those before.
    func add(_ job: (@Sendable () -> Void)?) {
        jobs.withLock { $0.append(job) }
        arrivals.signal()
    }

    /// Does what there is, until it is told to end.
    func serve() {
        while true {
            arrivals.wait()
            guard let job = jobs.withLock({ $0.removeFirst() }) else { return }
            job()
        }
    }
}

internal import Glibc
internal import Synchronization

/// A thread of its own that does what it is handed, one after the other.
///
/// Not one of a pool, of which another would go on each time: it is woken where it ran last, and
/// finds there what it needs in the caches. It ends once nobody holds this object and all is done.
public final class Worker: Sendable {
    private let line: Line

    /// Starts the thread.
    public init() throws(SystemError) {
        let line = Line()
        try OwnThread.start { line.serve() }
        self.line = line
    }

    deinit { line.add(nil) }

    /// Hands over what is to be done.
    public func enqueue(_ job: @escaping @Sendable () -> Void) { line.add(job) }
}

/// What waits for a worker's thread.
private final class Line: Sendable {
    private let jobs = Mutex<[(@Sendable () -> Void)?]>([])
    /// Signalled for each of them.
    private let arrivals = Semaphore()

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

/// What threads wait for, as often as it was signalled (sem_overview(7)).
@safe
private final class Semaphore: @unchecked Sendable {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { unsafe sem_init(semaphore, 0, 0) }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    func signal() { unsafe sem_post(semaphore) }

    func wait() {
        // Fails where a signal interrupts it only, and then it is waited on.
        _ = try? systemCall("sem_wait") { unsafe sem_wait(semaphore) }
    }
}

import Dispatch
import Synchronization

/// The result of a task, waited for by a thread that is not Swift's.
final class Outcome: Sendable {
    private let result = Mutex<Result<Void, any Error>?>(nil)
    private let isThere = DispatchSemaphore(value: 0)

    func set(_ outcome: Result<Void, any Error>) {
        result.withLock { $0 = outcome }
        isThere.signal()
    }

    func wait() throws {
        isThere.wait()
        try result.withLock { $0 }?.get()
    }
}

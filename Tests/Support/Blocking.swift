import Glibc
import Linux
import Synchronization
public import Testing

extension Trait where Self == Blocking {
    /// Lets a test, or each test of a suite, block the thread it runs on: in a system call, in
    /// ``shell(_:input:)``, in ``inNetworkNamespace(_:)``.
    ///
    /// Swift's own threads are as many as the machine has processors. A test that blocks one of
    /// them keeps it from the servers and clients of other tests, which then are late or stand
    /// still. With this trait the test and all its child tasks run on threads made for them.
    ///
    /// Not beside `.timeLimit`, which counts the time until it is the test's turn.
    public static var blocking: Self { Self(turns: .common) }

    /// The same for tests that load the machine: no more than `limit` of the suite at once.
    public static func blocking(atOnce limit: Int) -> Self { Self(turns: Turns(limit)) }
}

/// The trait ``Testing/Trait/blocking``.
public struct Blocking: TestTrait, SuiteTrait, TestScoping {
    fileprivate let turns: Turns

    /// A suite hands it on to its tests.
    public var isRecursive: Bool { true }

    /// Waits for the test's turn and runs it on threads of its own.
    @concurrent
    public func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        await turns.take()
        defer { turns.giveBack() }
        try await withTaskExecutorPreference(OwnThreads.executor) { try await function() }
    }
}

/// Refuses to block one of Swift's own threads, which would not be noticed until it hurts.
public func expectMayBlock() throws {
    let isOnPool = withUnsafeCurrentTask { $0.map { $0.unownedTaskExecutor == nil } ?? false }
    if isOnPool { throw BlocksPool() }
}

/// A test that would block one of Swift's own threads.
public struct BlocksPool: Error, CustomStringConvertible {
    /// What the test lacks.
    public var description: String {
        "cannot block one of Swift's own threads: the test, or its suite, needs the trait .blocking"
    }
}

/// Runs each job of a task on a new thread, so that none waits for another.
private final class OwnThreads: TaskExecutor {
    static let executor = OwnThreads()

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        do {
            try OwnThread.start {
                job.runSynchronously(on: OwnThreads.executor.asUnownedTaskExecutor())
            }
        } catch {
            // No thread to be had: late is better than never.
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}

/// Lets so many in at a time, in the order in which they came.
private final class Turns: Sendable {
    /// As many as keep two processors busy while most of them wait for the kernel.
    static let common = Turns(8)

    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state: Mutex<State>

    init(_ limit: Int) { state = Mutex(State(free: limit)) }

    func take() async {
        await withCheckedContinuation { turn in
            let isFree = state.withLock { state in
                guard state.free > 0 else {
                    state.waiting.append(turn)
                    return false
                }
                state.free -= 1
                return true
            }
            if isFree { turn.resume() }
        }
    }

    func giveBack() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.free += 1
            return nil
        }
        next?.resume()
    }
}

public import NIOCore
import NIOPosix

/// Runs Swift tasks on the thread of one event loop.
///
/// A request that is read, decided and answered on one thread costs no hand-over between threads,
/// which is most of what a short request would cost otherwise.
public final class LoopExecutor: TaskExecutor {
    /// The loop whose thread runs the tasks.
    public let eventLoop: any EventLoop

    /// Runs an actor on the same thread.
    public let serial: any SerialExecutor

    /// Makes an executor for a loop.
    public init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        serial = eventLoop.executor
    }

    /// Makes an executor with a loop and thread of its own, which last as long as the process.
    public static func makeWithOwnThread() -> LoopExecutor {
        LoopExecutor(MultiThreadedEventLoopGroup(numberOfThreads: 1).next())
    }

    /// Runs a job soon.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        // The closure keeps the executor alive while the job refers to it.
        eventLoop.execute { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

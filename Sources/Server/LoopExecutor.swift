public import NIOCore
import NIOPosix

/// Runs Swift tasks and actors on the thread of one event loop.
///
/// A request that is read, decided and answered on one thread costs no hand-over between threads,
/// which is most of what a short request would cost otherwise. Actors that share an executor call
/// each other without leaving the thread or waiting in its queue.
public final class LoopExecutor: TaskExecutor, SerialExecutor {
    /// The loop whose thread runs the tasks.
    public let eventLoop: any EventLoop

    /// Makes an executor for a loop.
    public init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Makes an executor with a loop and thread of its own, which last as long as the process.
    public static func makeWithOwnThread() -> LoopExecutor {
        LoopExecutor(MultiThreadedEventLoopGroup(numberOfThreads: 1).next())
    }

    /// Runs a job soon.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        // The closure keeps the executor alive while the job refers to it.
        eventLoop.execute {
            unsafe job.runSynchronously(
                isolatedTo: self.asUnownedSerialExecutor(),
                taskExecutor: self.asUnownedTaskExecutor()
            )
        }
    }

    /// Whether the caller runs on the loop's thread, in a task or not.
    public func isIsolatingCurrentContext() -> Bool? { eventLoop.inEventLoop }

    /// Stops the process where the caller does not run on the loop's thread.
    public func checkIsolated() { eventLoop.preconditionInEventLoop() }
}

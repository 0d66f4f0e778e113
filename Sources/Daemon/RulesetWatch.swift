import Agent
import Dispatch
import Gate
import Linux
import ServiceLifecycle

/// Tells the agent of what others do to the table, where the kernel does not keep them from it.
///
/// What comes while the agent mends the table, and for a moment after that, waits in the socket and is
/// told together: a storm costs no more than a part of the processor.
struct RulesetWatchService: Service {
    /// How long the table is left alone between two mendings at least, and so how late the second
    /// begins at most.
    private static let pause = Duration.milliseconds(5)

    let agent: Agent
    /// Nil where nobody else can change the table.
    let monitor: RulesetMonitor?

    func run() async throws {
        guard let monitor else { return try await gracefulShutdown() }
        let stop = try Stop()
        let isMended = DispatchSemaphore(value: 0)
        let (changes, feed) = AsyncStream.makeStream(of: Tampering.self)
        try OwnThread.start {
            while true {
                let watched = [
                    (stop.signpost.descriptor, Readiness.input), (monitor.descriptor, .input),
                ]
                guard let ready = try? wait(for: watched) else { continue }
                guard ready[0].isEmpty else { return feed.finish() }
                guard let tampering = monitor.tampering() else { continue }
                feed.yield(tampering)
                isMended.wait()
            }
        }
        await withGracefulShutdownHandler {
            for await tampering in changes {
                let time = await ContinuousClock().measure { await agent.rulesetChanged(tampering) }
                // Where it takes long, half of the time is others'.
                try? await Task.sleep(for: max(time, Self.pause))
                isMended.signal()
            }
        } onGracefulShutdown: {
            stop.signpost.raise()
        }
    }

    private final class Stop: Sendable {
        let signpost: Signpost

        init() throws(SystemError) { signpost = try Signpost.make() }
    }
}

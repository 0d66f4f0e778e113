import Agent
import ServiceLifecycle
import UnixSignals

/// Hands events of the watch to the agent.
struct WatchService: Service {
    let agent: Agent
    let watch: Watch

    func run() async throws {
        let (events, feed) = AsyncStream.makeStream(of: Watch.Event.self)
        try watch.start { event in
            if event == .stopped { feed.finish() } else { feed.yield(event) }
        }
        await withGracefulShutdownHandler {
            for await event in events {
                switch event {
                case .grantEnds: await agent.grantsEnded()
                case .clockStepped: await agent.clockStepped()
                case .rulesetChanged: await agent.rulesetChanged()
                case .stopped: break
                }
            }
        } onGracefulShutdown: { [watch] in
            watch.cancel()
        }
    }
}

/// Reloads the configuration on SIGHUP.
struct ReloadService: Service {
    let agent: Agent

    func run() async throws {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            // A refusal is logged and shown by `status`; the running policies stay.
            try? await agent.reload(by: nil)
        }
    }
}

/// Tells the service manager that the agent still answers.
struct WatchdogService: Service {
    let agent: Agent

    func run() async throws {
        guard let interval = ServiceManager.watchdogInterval else {
            return try await gracefulShutdown()
        }
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await agent.beat()
                ServiceManager.notify("WATCHDOG=1")
                try? await Task.sleep(for: interval / 2)
            }
        }
    }
}

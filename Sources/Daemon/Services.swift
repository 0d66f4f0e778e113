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
                case .connections: await agent.connectionsHeard()
                case .attemptsRefused: await agent.refusalsHeard()
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

/// Looks after the gate now and then, and tells the service manager that the agent answers and the
/// gate is what it should be: an agent that cannot arm it is started anew.
struct WatchdogService: Service {
    /// How often it looks where no watchdog wants to hear from it.
    private static let interval = Duration.seconds(60)

    let agent: Agent

    func run() async throws {
        let watchdog = ServiceManager.watchdogInterval.map { $0 / 2 }
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                let isArmed = await agent.beat()
                ServiceManager.notify("STATUS=\(await agent.gateLine())")
                if watchdog != nil, isArmed { ServiceManager.notify("WATCHDOG=1") }
                try? await Task.sleep(for: watchdog ?? Self.interval)
            }
        }
    }
}

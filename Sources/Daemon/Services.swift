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

/// Has the agent look after the gate now and then, and tells the service manager that it answers.
struct WatchdogService: Service {
    let agent: Agent

    func run() async throws {
        // Where nobody waits for it, what grants let in is looked at once a minute all the same.
        let interval = ServiceManager.watchdogInterval ?? .seconds(120)
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await agent.beat()
                ServiceManager.notify("WATCHDOG=1")
                try? await Task.sleep(for: interval / 2)
            }
        }
    }
}

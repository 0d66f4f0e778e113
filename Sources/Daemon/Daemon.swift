import CLinux
import Gate
import Glibc
import Ledger
public import Logging
import Policy
import Server
import ServiceLifecycle
import Settings
import UnixSignals

/// What `sallyportd` was started with.
public struct DaemonOptions: Sendable {
    /// The configuration file.
    public var configuration: String
    /// The socket; nil for the one of the configuration.
    public var socket: String?
    /// The state directory; nil for the one of the configuration.
    public var stateDirectory: String?

    /// Names the files the agent works with.
    public init(configuration: String, socket: String?, stateDirectory: String?) {
        self.configuration = configuration
        self.socket = socket
        self.stateDirectory = stateDirectory
    }
}

/// The agent as a process: the one place where its parts are put together.
public enum Daemon {
    /// The group whose members may connect to the socket.
    static let socketGroup = "sallyport"

    /// Reads the configuration and says what is wrong with it.
    ///
    /// - Returns: How many policies it has.
    /// - Throws: An error whose text names file, line, column and key of each fault.
    public static func check(_ options: DaemonOptions) throws -> Int {
        try AgentConfiguration.load(file: options.configuration).policies.count
    }

    /// Runs the agent in the calling thread's network namespace until SIGTERM or SIGINT.
    ///
    /// - Throws: An error for the administrator. A gate that is armed by then stays armed.
    public static func run(_ options: DaemonOptions, logger: Logger) throws {
        signal(SIGPIPE, SIG_IGN)
        // A reload that is asked for too early is nothing to die of.
        signal(SIGHUP, SIG_IGN)
        raiseDescriptorLimit()
        let load = { @Sendable () throws(ConfigurationError) in
            try AgentConfiguration.load(file: options.configuration)
        }
        let configuration = try load()
        let clocks = try SystemClocks()
        // Closed first, whatever becomes of the rest: what is open already stays as it is.
        let gate = try Gate()
        try gate.arm(
            managed: configuration.policySet.managedPorts,
            breakGlass: configuration.breakGlass,
            plan: nil,
            now: { clocks.now().boot }
        )
        logger.info("gate armed: \(configuration.policySet.managedPorts.count) managed ports")

        let ledger = try Ledger(
            directory: options.stateDirectory ?? configuration.stateDirectory,
            bootID: clocks.bootID
        )
        let watch = try Watch(ruleset: gate.isOwned ? nil : RulesetMonitor(besides: gate))
        let executor = LoopExecutor.makeWithOwnThread()
        let outcome = Outcome()
        Task(executorPreference: executor) {
            do {
                let agent = try await Agent(
                    configuration: configuration,
                    loadConfiguration: load,
                    gate: gate,
                    ledger: ledger,
                    clocks: clocks,
                    watch: watch,
                    executor: executor,
                    logger: logger
                )
                try await serve(agent, options, configuration, logger)
                outcome.set(.success(()))
            } catch {
                outcome.set(.failure(error))
            }
        }
        try outcome.wait()
    }

    private static func serve(
        _ agent: Agent,
        _ options: DaemonOptions,
        _ configuration: AgentConfiguration,
        _ logger: Logger
    ) async throws {
        let listener =
            if let descriptor = ServiceManager.listeningDescriptor {
                try ListeningSocket.adopt(descriptor: descriptor)
            } else {
                try ListeningSocket.make(
                    path: options.socket ?? configuration.socket,
                    group: socketGroup
                )
            }
        let server = SocketServer(
            service: agent,
            listener: listener,
            executor: agent.executor,
            logger: logger
        )
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: WatchService(agent: agent)),
                    .init(service: ReloadService(agent: agent)),
                    .init(service: WatchdogService(agent: agent)),
                    .init(service: server),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        ServiceManager.notify("READY=1")
        try await group.run()
        ServiceManager.notify("STOPPING=1")
    }

    /// Connections are limited by the server; the process' own limit must not come first.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        unsafe setrlimit(resource, &limit)
    }
}

/// Hands events of the watch to the agent.
private struct WatchService: Service {
    let agent: Agent

    func run() async throws {
        let (events, feed) = AsyncStream.makeStream(of: Watch.Event.self)
        try agent.watch.start { event in
            if event == .stopped { feed.finish() } else { feed.yield(event) }
        }
        await withGracefulShutdownHandler {
            for await event in events { await agent.handle(event) }
        } onGracefulShutdown: { [watch = agent.watch] in
            watch.cancel()
        }
    }
}

/// Reloads the configuration on SIGHUP.
private struct ReloadService: Service {
    let agent: Agent

    func run() async throws {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            // A refusal is logged and shown by `status`; the running policies stay.
            try? await agent.reload()
        }
    }
}

/// Tells the service manager that the agent still answers.
private struct WatchdogService: Service {
    let agent: Agent

    func run() async throws {
        guard let interval = ServiceManager.watchdogInterval else {
            return try await gracefulShutdown()
        }
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await agent.beat()
                try? await Task.sleep(for: interval / 2)
            }
        }
    }
}

extension Agent {
    func handle(_ event: Watch.Event) async {
        switch event {
        case .grantEnds: await reap()
        case .clockStepped: await clockStepped()
        case .rulesetChanged: rulesetChanged()
        case .stopped: break
        }
    }

    fileprivate func beat() { ServiceManager.notify("WATCHDOG=1") }
}

public import API
import Agent
import Gate
import Ledger
import Linux
public import Logging
import Policy
import Server
import ServiceLifecycle
import Settings
import SystemPackage
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
    /// Reads the configuration and says what is wrong with it.
    ///
    /// - Returns: How many policies it has, and what is valid in it but means nothing on this host.
    /// - Throws: An error whose text names file, line, column and key of each fault.
    public static func check(
        _ options: DaemonOptions
    ) throws -> (policies: Int, warnings: [String]) {
        let configuration = try AgentConfiguration.load(file: options.configuration)
        return (configuration.policies.count, configuration.warnings().map(\.description))
    }

    /// Reads a policy file and says what is wrong with it.
    ///
    /// - Parameter file: The path; `-` is standard input.
    /// - Returns: The policies of the file.
    /// - Throws: An error whose text names file, line, column and key of each fault.
    public static func check(policyFile file: String) throws -> PolicyList {
        let path = file == "-" ? "/dev/stdin" : file
        let bytes: [UInt8]
        do throws(SystemError) {
            // Far more than is read, which has a limit of its own; /dev/zero ends here.
            bytes = try Descriptor.open(path, .readOnly).readAll(atMost: 1 << 20)
        } catch {
            throw UnreadableFile(description: "\(file): cannot read the file: \(error.errno.text)")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw UnreadableFile(description: "\(file): it is not UTF-8 text")
        }
        let policies = try AgentConfiguration.checkPolicies(text: text, named: file)
        return PolicyList(policies: policies.map(PolicyDocument.init))
    }

    /// Prints lines for people on standard error, where it can be written.
    public static func tell(_ lines: [String]) {
        let text = lines.map { $0 + "\n" }.joined()
        try? writeAll(Array(text.utf8), to: FileDescriptor.standardError.rawValue)
    }

    /// Runs the agent in the calling thread's network namespace until SIGTERM or SIGINT.
    ///
    /// - Throws: An error for the administrator. A gate that is armed by then stays armed.
    public static func run(_ options: DaemonOptions, logger: Logger) throws {
        ThisProcess.onBrokenPipe(.ignore)
        // A reload that is asked for too early is nothing to die of.
        ThisProcess.onHangUp(.ignore)
        try ThisProcess.raiseOpenFileLimit()
        let clocks = try SystemClocks()
        let start = try ConfigurationStart.read(
            file: options.configuration,
            stateDirectory: options.stateDirectory
        )
        start.log(to: logger)
        // Closed first, whatever becomes of the rest: what is open already stays as it is.
        let gate = try Gate()
        let managed = start.configuration.policySet.managedPorts
        try gate.arm(
            managed: managed,
            breakGlass: start.configuration.breakGlass,
            holding: .whatIsThere,
            now: { clocks.now().boot }
        )
        let ports = managed.map(\.range.portCount).reduce(0, +)
        logger.info("gate armed: \(counted(ports, "managed port", "managed ports"))")
        let ledger: Ledger
        do throws(LedgerError) {
            ledger = try Ledger(directory: start.stateDirectory, bootID: clocks.bootID)
        } catch {
            throw ClosedWithoutLedger(reason: error)
        }
        let files = ConfigurationFiles(
            file: options.configuration,
            stateDirectory: start.stateDirectory,
            logger: logger
        )
        let watch = try Watch(ruleset: gate.isOwned ? nil : RulesetMonitor(besides: gate))
        let executor = LoopExecutor.makeWithOwnThread()
        let trail = TrailLog(ledger, logger: logger, isWhole: leadsToJournal)
        let outcome = Outcome()
        Task(executorPreference: executor) {
            do {
                let agent = try await Agent(
                    configuration: start.configuration,
                    origin: start.origin,
                    fault: start.fault,
                    source: files,
                    gate: gate,
                    ledger: ledger,
                    clocks: clocks,
                    executor: executor,
                    logger: logger,
                    wake: { end in
                        do throws(SystemError) {
                            try watch.setNextEnd(end?.milliseconds)
                        } catch {
                            logger.error("cannot wait for the next end of a grant: \(error)")
                        }
                    }
                )
                try await serve(
                    agent,
                    watch,
                    trail,
                    options.socket,
                    start,
                    executor,
                    logger
                )
                outcome.set(.success(()))
            } catch {
                outcome.set(.failure(error))
            }
        }
        try outcome.wait()
    }

    private static func serve(
        _ agent: Agent,
        _ watch: Watch,
        _ trail: TrailLog,
        _ socket: String?,
        _ start: ConfigurationStart,
        _ executor: LoopExecutor,
        _ logger: Logger
    ) async throws {
        let listener =
            if let descriptor = ServiceManager.listeningDescriptor {
                try ListeningSocket.adopt(descriptor: descriptor)
            } else {
                try ListeningSocket.make(path: socket ?? start.configuration.socket)
            }
        let server = SocketServer(
            service: agent,
            listener: listener,
            executor: executor,
            logger: logger
        )
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: WatchService(agent: agent, watch: watch)),
                    .init(service: ReloadService(agent: agent)),
                    .init(service: WatchdogService(agent: agent)),
                    .init(service: TrailLogService(agent: agent, log: trail)),
                    .init(service: server),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        await agent.note(.started)
        await agent.noteStart(after: start.previous)
        await trail.catchUp()
        await trail.tellHead()
        ServiceManager.notify("READY=1")
        // Nobody waits for a directory server.
        Task(executorPreference: executor) { await agent.checkNames() }
        try await group.run()
        ServiceManager.notify("STOPPING=1")
        await agent.beat(isLast: true)
        await agent.note(.stopped)
        await trail.catchUp()
        await trail.tellHead()
    }
}

/// A file that is no text.
private struct UnreadableFile: Error, CustomStringConvertible {
    var description: String
}

/// The agent ends because it has no ledger.
private struct ClosedWithoutLedger: Error, CustomStringConvertible {
    let reason: LedgerError

    var description: String {
        "\(reason); the gate is armed and stays: managed ports are closed, what is open closes in "
            + "time, and nothing can be opened until the agent runs"
    }
}

import API
import CLinux
import Gate
import Ledger
import Logging
import Policy
import Server
import Settings

/// The long-running part of Sallyport: turns requests into grants, keeps ledger and kernel in step,
/// and books what has ended.
///
/// All state is here; what changes it goes through ``commit(closesOnly:_:)``.
actor Agent {
    let gate: Gate
    let ledger: Ledger
    let clocks: any Clocks
    let watch: Watch
    let executor: LoopExecutor
    /// The thread of the server, so that a request changes threads only for the disk.
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        // It lives as long as `executor`, and so as long as the actor.
        unsafe executor.serial.asUnownedSerialExecutor()
    }
    let logger: Logger
    let loadConfiguration: @Sendable () throws(ConfigurationError) -> AgentConfiguration
    let startedAt: Timestamp

    var configuration: AgentConfiguration
    var configuredAt: Timestamp
    /// Why the last reload was refused.
    var configurationError: String?

    /// The live grants.
    var plan = Plan()
    var nextRequestID: Int64
    /// What waits for the next commit.
    var waiting: [@Sendable (isolated Agent, Moment) -> Prepared?] = []
    var isCommitting = false
    /// What undoes in the plan the changes that are on their way into the ledger.
    var inFlight: [[GrantChange]] = []
    /// Whether a clock was stepped since the plan was last held against it.
    var isClockStepped = false
    /// Whether the kernel may differ from the plan in more than the next commit changes.
    var isKernelBehind = false
    /// Idempotency keys of requests that are on their way into the ledger, by requester.
    var keysInCommit: Set<IdempotencyKey> = []
    /// Ends that are in force but that the ledger did not take yet.
    var unrecorded: [LedgerChange] = []
    var isHealing = false

    struct IdempotencyKey: Hashable {
        let uid: UInt32
        let key: String
    }

    /// Takes over from the ledger what is live, and puts it into the kernel.
    ///
    /// What has ended meanwhile is recorded later where the ledger cannot be written now: only with
    /// an agent can access be taken away.
    ///
    /// - Throws: `GateError` or `LedgerError`.
    init(
        configuration: AgentConfiguration,
        loadConfiguration: @escaping @Sendable () throws(ConfigurationError) -> AgentConfiguration,
        gate: Gate,
        ledger: Ledger,
        clocks: any Clocks,
        watch: Watch,
        executor: LoopExecutor,
        logger: Logger
    ) async throws {
        self.gate = gate
        self.ledger = ledger
        self.clocks = clocks
        self.watch = watch
        self.executor = executor
        self.logger = logger
        self.configuration = configuration
        self.loadConfiguration = loadConfiguration
        startedAt = clocks.now().wall
        configuredAt = startedAt
        let recovered = try ledger.recover()
        nextRequestID = recovered.nextRequestID
        let (live, changes) = recovered.settled(at: clocks.now())
        _ = plan.apply(live.map(GrantChange.open))
        try reassert()
        do throws(LedgerError) {
            try await ledger.commit(changes, at: startedAt)
        } catch {
            logger.error("\(error)")
            unrecorded = changes
            healLater()
        }
        watch.setNextEnd(plan.nextDeadline)
    }
}

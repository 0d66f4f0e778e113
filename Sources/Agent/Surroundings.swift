public import Gate
public import Ledger
public import Policy
public import Settings

/// Where events are written: the ledger.
public protocol EventStore: Sendable {
    /// Writes events in one durable transaction.
    ///
    /// - Parameters:
    ///   - events: What happened, in this order.
    ///   - at: The time of the audit rows.
    ///   - meanwhile: Called while the disk is at work, or before.
    ///   - afterwards: Called by any thread once all is durable, before this returns or while it
    ///     does; or never.
    /// - Throws: `LedgerError`; then nothing of it is recorded.
    func commit(
        _ events: [Event],
        at: Timestamp,
        meanwhile: () -> Void,
        afterwards: @escaping @Sendable () -> Void
    ) async throws(LedgerError)

    /// Takes over events that are in force but that `commit` could not record.
    ///
    /// The next commit that succeeds writes them first.
    ///
    /// - Throws: Where a crash could undo ends of grants among them.
    func secure(_ events: [Event]) async throws(LedgerError)

    /// Whether the next commit has something to write that `secure` took.
    var isBehind: Bool { get }
}

/// What opens and closes: the kernel's table on this host.
public protocol GateControl: Sendable {
    /// Whether nobody else can change it.
    var isOwned: Bool { get }

    /// Makes it what it should be, whatever is there now; answers whether it was made from nothing.
    func arm(
        managed: [ManagedPort],
        breakGlass: [CIDR],
        holding: Holding,
        now: () -> BootTime
    ) throws(GateError) -> Bool

    /// Makes changes ready, so that `apply` takes less time.
    func prepare(_ changes: [ElementChange], now: BootTime)

    /// Begins to make changes that are prepared; `apply` has to follow, and tells how it went.
    ///
    /// May be called by any thread, and need not do anything.
    func begin(_ changes: [ElementChange], now: BootTime)

    /// Makes changes, all of them or none.
    func apply(_ changes: [ElementChange], now: BootTime) throws(GateError)

    /// Compares what is there with what it should be.
    func inspect() throws(GateError) -> GateReport

    /// What an element let in; nil where it is not there.
    func traffic(of key: ElementKey) throws(GateError) -> Traffic?

    /// Forgets the sessions earlier than the gate that have ended.
    func forgetEndedSessions() throws(GateError)
}

/// Where the configuration comes from: the files.
public protocol ConfigurationSource: Sendable {
    /// Reads it anew.
    func read() throws(ConfigurationError) -> AgentConfiguration

    /// Keeps what is now in force, to start from where the files cannot be used.
    func remember(_ configuration: AgentConfiguration)
}

extension Ledger: EventStore {}
extension Gate: GateControl {}

import API
import Gate
import Ledger
import Linux
import Logging
import Policy
import Settings
import Synchronization

/// Carries every change through the one path there is: decide, write durably, commit to the kernel,
/// answer.
///
/// Here is all that changes while the agent runs: what is live, the configuration in force, and how
/// far ledger and kernel have followed. Whoever wants to know reads it; whoever wants a change
/// submits it. All that waits while a commit is under way shares the next durable write and the next
/// kernel transaction.
actor Committer {
    /// The thread of the server, so that a request changes threads only for the disk.
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        // It lives as long as `executor`, and so as long as the actor.
        unsafe executor.asUnownedSerialExecutor()
    }
    nonisolated let executor: any SerialExecutor & TaskExecutor
    nonisolated let clocks: any Clocks
    private let store: any EventStore
    /// What lists sessions, and ends them.
    let gate: any GateControl
    let logger: Logger
    /// Is told when the next grant ends, or a request that waits starts or lapses.
    private let wake: @Sendable (BootTime?) -> Void
    /// Is told that something was recorded.
    private let recorded: @Sendable () -> Void

    /// The live grants, with what is on its way into the ledger.
    var plan: Plan
    /// How the live grants were used.
    var book = UseBook()
    /// The connections that grants let in.
    var connectionBook = ConnectionBook()
    /// Whether what is known of their use will be recorded soon.
    private var isRecordingUses = false
    /// Grants that have ended, of whose use more is known than is recorded.
    private var unrecordedEnds: [Grant.ID] = []
    /// The requests that wait for approvals or their start, with what is on its way into the ledger.
    private(set) var waitingRequests: WaitingRequests
    /// The configuration in force, by which requests are decided.
    private(set) var configuration: AgentConfiguration {
        didSet { roles.withLock { $0 = configuration.policySet.roles } }
    }
    /// Who holds which role by that configuration, for whoever asks on any thread.
    nonisolated let roles: Mutex<RoleTable>
    /// The change that is undone unless somebody confirms it in time.
    var trial: Trial?
    /// That the gate was taken away; nil where it is to be armed.
    private(set) var disarmed: Disarmament? { didSet { kernel.isDisarmed = disarmed != nil } }
    private var configuredAt: Timestamp
    private var configurationOrigin: ConfigurationOrigin
    /// Why the files, as they were last read, are not what is in force.
    private var configurationFault: ConfigurationError?
    /// What of the configuration in force means nothing on this host.
    private var warnings: [String] = []
    /// How much was opened in the last seven days, since the start or of what is known of before.
    private var usage = Usage()
    private var nextRequestID: Int64
    /// What waits for the next commit.
    private(set) var waiting: [any Pending] = []
    private var phase = Phase.idle
    private var kernel: FollowingKernel
    private var throttle = NoticeThrottle()
    /// What the metrics tell.
    private(set) var tally = Tally()
    /// Whether a configuration was put in force since what waits was last held against it.
    private var isReconfigured = false
    /// Whether a clock was stepped since the plan was last held against it.
    private var isClockStepped = false
    /// How many changes of the configuration are not in the audit trail yet.
    private var unrecordedChanges = 0
    private var isHealing = false
    /// Whether a rollback that failed is about to be tried again.
    var isRollingBackLater = false
    /// Elements that were closed, whose sessions are to end.
    var endedElements: Set<ElementKey> = []
    var isEndingSessions = false
    /// The sessions whose ends the audit trail was told of lately, and when.
    var toldEnds: [String: BootTime] = [:]
    /// When which fault was logged that lasts.
    private var loggedFaults: [String: BootTime] = [:]
    private var nextEnd: BootTime?
    private var prunedAt: BootTime?
    /// Who is told of delegates: the server, as long as the agent runs.
    private var delegateFeeds: [AsyncStream<[String]>.Continuation] = []
    /// What of tampering the audit trail has to be told.
    private(set) var tampering = TamperingStorm()
    /// Whether the gate was tampered with and could not be mended yet.
    private var isTampered = false

    /// Where the commit under way is.
    private enum Phase {
        case idle
        /// What waited is decided, one after the other.
        case deciding(keys: Set<IdempotencyKey>)
        /// On its way into the ledger; what brings the plan back, should it not get there.
        case recording([Plan.Undo])
        /// In the ledger, and on its way into the kernel.
        case opening
    }

    /// What keeps a request from being made twice.
    struct IdempotencyKey: Hashable {
        var subject: Subject
        var key: String
    }

    /// Takes over what is live; it is in the kernel after ``begin(recording:)``.
    init(
        plan: Plan,
        waitingRequests: WaitingRequests,
        configuration: AgentConfiguration,
        origin: ConfigurationOrigin,
        fault: ConfigurationError?,
        trial: Trial?,
        disarmed: Disarmament?,
        nextRequestID: Int64,
        store: any EventStore,
        gate: any GateControl,
        clocks: any Clocks,
        executor: any SerialExecutor & TaskExecutor,
        logger: Logger,
        recorded: @escaping @Sendable () -> Void,
        wake: @escaping @Sendable (BootTime?) -> Void
    ) {
        self.plan = plan
        self.waitingRequests = waitingRequests
        self.configuration = configuration
        roles = Mutex(configuration.policySet.roles)
        configurationOrigin = origin
        configurationFault = fault
        self.trial = trial
        self.trial?.follow(clocks.now(), bootID: clocks.bootID)
        self.disarmed = disarmed
        configuredAt = clocks.now().wall
        self.nextRequestID = nextRequestID
        self.store = store
        self.gate = gate
        kernel = FollowingKernel(gate, clocks: clocks, logger: logger)
        kernel.isDisarmed = disarmed != nil
        self.clocks = clocks
        self.executor = executor
        self.logger = logger
        self.recorded = recorded
        self.wake = wake
    }

    /// Puts what was taken over into the kernel, and records how it differs from what the ledger has.
    ///
    /// What cannot be recorded now is so later: only with an agent can access be taken away.
    ///
    /// - Throws: Where the kernel refuses.
    func begin(recording events: [Event], uses: [Grant.ID: GrantUse] = [:]) async throws {
        let past = takeOver(uses)
        if disarmed == nil { try reassert() } else { try gate.disarm() }
        let events = events + past + book.takeNews(of: plan)
        do throws(LedgerError) {
            try await record(events, at: clocks.now().wall)
        } catch {
            _ = await secure(events, because: error)
        }
        wakeAtNextEnd()
        // The files may have been changed since the requests were made.
        judgeWaitingRequestsAnew()
    }

    /// Why the ledger does not take what is in force; nil where it has all of it.
    private(set) var ledgerFault: String?

    /// What of all this the status tells.
    struct Summary: Sendable {
        var configuredAt: Timestamp
        var origin: ConfigurationOrigin
        var configurationError: String?
        var warnings: [String]
        var policies: [AccessPolicy]
        var liveGrants: Int
        var ledgerFault: String?
        var trial: Trial?
        var disarmed: Disarmament?
    }

    /// What of all this the status tells.
    var summary: Summary {
        Summary(
            configuredAt: configuredAt,
            origin: configurationOrigin,
            configurationError: configurationFault.map { "\($0)" },
            warnings: warnings,
            policies: configuration.policies,
            liveGrants: plan.count,
            ledgerFault: ledgerFault,
            trial: trial,
            disarmed: disarmed
        )
    }

    /// How much policies were used, and are.
    ///
    /// - Parameters:
    ///   - policies: Their names.
    ///   - subject: By whom; nil for everybody.
    /// - Returns: Of each, the live grants, and the figures of seven days where there are some.
    func figures(
        of policies: [String],
        by subject: Subject?
    ) -> [String: (liveGrants: Int, used: Usage.Figures?)] {
        let now = clocks.now().wall
        let live = subject == nil ? plan.activeCounts : [:]
        return policies.reduce(into: [:]) { figures, policy in
            figures[policy] = (
                subject.map { plan.activeCount(policy: policy, of: $0) } ?? live[policy] ?? 0,
                usage.figures(of: policy, by: subject, at: now)
            )
        }
    }

    /// Takes over what was opened before the agent started.
    func add(earlier: Usage) { usage.add(earlier: earlier) }

    // MARK: Submitting

    /// Makes a change.
    ///
    /// - Parameter decide: Works out what happens and the answer, against the plan as it is when its
    ///   turn comes.
    /// - Returns: The answer, once all is durable and in the kernel.
    /// - Throws: What `decide` throws or answers; `Problem` of kind `ledgerUnavailable` or
    ///   `kernelRefused`.
    func submit<Answer: Sendable>(
        _ decide:
            @escaping @Sendable (isolated Committer, Moment) throws(Problem)
            -> Submission<Answer>
    ) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            submit(decide) { continuation.resume(with: $0) }
        }
    }

    /// Makes a change; `reply` is called on the actor.
    func submit<Answer: Sendable>(
        _ decide:
            @escaping @Sendable (isolated Committer, Moment) throws(Problem)
            -> Submission<Answer>,
        reply: @escaping @Sendable (Result<Answer, any Error>) -> Void
    ) {
        waiting.append(
            Waiter { committer, now throws(Problem) in
                let submission = try decide(committer, now)
                return (submission.events, submission.giving(reply))
            } refuse: {
                reply(.failure($0))
            }
        )
        guard case .idle = phase else { return }
        phase = .deciding(keys: [])
        // Preferred, too: else the disk hands over to a thread of the pool, and that to the loop.
        Task(executorPreference: executor) { await self.commitWaiting() }
    }

    /// Does something on the actor's thread.
    func run(_ body: @Sendable () -> Void) { body() }

    /// Books what time has ended, and records what could not be recorded until now.
    func settle() async throws {
        try await submit { _, _ throws(Problem) in Submission(events: []) {} }
    }

    /// Shortens what a step of the wall clock shortens, and sets the kernel's timeouts again: they
    /// stand still in suspend.
    func clockStepped() async throws {
        isClockStepped = true
        trial?.follow(clocks.now(), bootID: clocks.bootID)
        try await settle()
    }

    /// Before when events of the audit trail may go; nil where all are kept, or it was asked for in
    /// the last minute.
    func takeTurnToPrune() -> Timestamp? {
        let now = clocks.now()
        guard let keep = configuration.auditKeep,
            prunedAt.map({ now.boot - $0 >= .seconds(60) }) ?? true
        else { return nil }
        prunedAt = now.boot
        return now.wall + (.zero - keep)
    }

    /// A number that no request has had.
    func takeRequestID() -> Int64 {
        defer { nextRequestID += 1 }
        return nextRequestID
    }

    /// Whether a request with this key is decided already in the commit under way.
    func isOnItsWay(_ key: IdempotencyKey) -> Bool {
        if case .deciding(let keys) = phase { keys.contains(key) } else { false }
    }

    /// How many packets of a break-glass source the audit trail has to be told of; nil for none.
    func breakGlassPackets(of source: CIDR, are packets: UInt64, isLast: Bool) -> UInt64? {
        kernel.breakGlassPackets(of: source, are: packets, isLast: isLast)
    }

    /// What a break-glass source has let in since the agent started, with what the gate counts now.
    func allBreakGlassPackets(of source: CIDR, with packets: UInt64) -> UInt64 {
        kernel.breakGlassPackets(of: source, with: packets)
    }

    /// Notes that the gate was tampered with; answers what of it is to be told at once, and of the
    /// mending also what earlier tampering was waiting for.
    func note(
        tampering text: String,
        _ commits: Int,
        isMended: Bool
    ) -> (tampering: Bool, mending: Bool) {
        let wasTampered = isTampered
        isTampered = !isMended
        let isFirst = tampering.note(text, commits: commits, at: clocks.now().boot)
        return (isFirst, isMended && (isFirst || wasTampered))
    }

    /// What is to be told of tampering that was not told at once.
    func takeTamperingSummary() -> String? { tampering.summary(at: clocks.now().boot) }

    /// Whether the kernel has what the plan says.
    var isInStep: Bool { !kernel.isBehind }

    /// A notice as an event; none where there have been too many like it.
    func noting(_ notice: Notice, at now: Moment) -> [Event] {
        tally.note(notice)
        return throttle.admit(notice, at: now.boot).map { [.noted($0)] } ?? []
    }

    /// Records that a caller was refused with the next commit; nobody waits for it.
    ///
    /// - Parameters:
    ///   - notice: What is to be known.
    ///   - crowd: By whose count there may be too many like it.
    func note(_ notice: Notice, of crowd: NoticeThrottle.Crowd) {
        tally.noteRefusedCaller()
        guard let notice = throttle.admit(notice, of: crowd, at: clocks.now().boot) else { return }
        submit(
            { _, _ throws(Problem) in Submission(events: [.noted(notice)]) {} },
            reply: { _ in }
        )
    }

    // MARK: Committing

    private func commitWaiting() async {
        while !waiting.isEmpty {
            let batch = waiting
            waiting = []
            await commit(batch)
        }
        phase = .idle
        wakeAtNextEnd()
    }

    func wakeAtNextEnd() {
        // Earlier where there is something to be read before.
        var next = plan.nextDeadline
        if let untold = plan.nextUntoldDeadline {
            next = min(next ?? untold, untold + (.zero - Self.readAhead))
        }
        // Also one that has passed: it may not have been heard of yet.
        if let trial { next = min(next ?? trial.end, trial.end) }
        if let due = waitingRequests.nextDue {
            let now = clocks.now()
            // What is due and could not be recorded is tried again with the rest.
            // So does what is to open once the gate is armed.
            if due > now.wall || !isHealing && disarmed == nil {
                // Both clocks are rounded down: not a moment too early.
                let due = now.boot + (max(due, now.wall) - now.wall) + .milliseconds(1)
                next = min(next ?? due, due)
            }
        }
        guard nextEnd != next else { return }
        nextEnd = next
        wake(nextEnd)
    }

    /// What is decided in a commit, and by whom.
    private struct Decided {
        var pending: (any Pending)?
        var events: [Event]
        var undo: Plan.Undo
        var waitingUndo: WaitingRequests.Undo

        var onlyTakesAway: Bool { events.allSatisfy(\.onlyTakesAway) }
        /// Whether the kernel can fail it: whoever only asks or notes is answered all the same.
        var changesGrants: Bool { events.contains(where: \.changesGrants) }
    }

    private func commit(_ batch: [any Pending]) async {
        let now = clocks.now()
        phase = .deciding(keys: [])
        var decided: [Decided] = []
        var elements: [ElementChange] = []
        var readings: [LastReading] = []
        func take(_ events: [Event], of pending: (any Pending)?) {
            guard pending != nil || !events.isEmpty else { return }
            let old = lastReadings(before: events)
            let (changes, undo) = plan.apply(events)
            elements += changes
            readings += old + lastReadings(of: changes, besides: old, opening: events)
            decided.append(
                Decided(
                    pending: pending,
                    events: events,
                    undo: undo,
                    waitingUndo: waitingRequests.apply(events)
                )
            )
        }
        if isClockStepped {
            isClockStepped = false
            kernel.fallBehind()
            take(plan.shortened(at: now), of: nil)
        }
        // The kernel has closed them already.
        let ended = plan.takeEnded(at: now.boot)
        take(
            ended.map { .ended($0, .expired, at: now.wall, by: nil) } + book.takeFinal(ended),
            of: nil
        )
        // Whatever the disk says: nothing can make them live again.
        endSessions(of: elements)
        let booked = elements.count
        for request in waitingRequests.due(at: now.wall)
        where disarmed == nil || request.wait.state != .scheduled {
            take(eventsOfDue(request, at: now), of: nil)
        }
        // What is tried denies nobody: that could not be rolled back.
        if isReconfigured, disarmed == nil, trial?.policies == nil {
            isReconfigured = false
            for request in waitingRequests.all {
                take(eventsOfReconfiguration(of: request, at: now), of: nil)
            }
        }
        // Refused by what may come to nothing yet, as who wants to close what makes room for an open.
        var refused: [any Pending] = []
        for pending in batch {
            switch pending.decide(in: self, at: now) {
            case .happens(let events) where disarmed != nil && events.contains(where: \.opens):
                refused.append(RefusedWhileDisarmed(pending: pending))
            case .happens(let events):
                take(events, of: pending)
                noteKeys(of: events)
            case .postponed: waiting.append(pending)
            case .refused where decided.allSatisfy(\.onlyTakesAway): pending.finish(nil)
            case .refused: refused.append(pending)
            }
        }
        for events in endsOfExtensions(after: decided.lazy.flatMap(\.events), at: now) {
            take(events, of: nil)
        }
        phase = .recording(decided.map(\.undo))
        defer {
            book.release()
            forgetSoon(ended)
            recordUses(of: readings)
        }
        do throws(LedgerError) {
            // So that the least is left to do once the disk is done, and that begins before this
            // thread is awake.
            try await record(
                decided.flatMap(\.events),
                at: now.wall,
                meanwhile: {
                    // Before what is prepared can be begun: then it counts from 0 again.
                    read(readings)
                    kernel.prepare(elements)
                    for decided in decided { decided.pending?.render() }
                },
                afterwards: kernel.begin(elements)
            )
        } catch {
            await closeUnrecorded(decided, because: error)
            // Decided first, they are decided by what is in force.
            waiting.insert(contentsOf: refused, at: 0)
            return
        }
        for pending in refused { pending.finish(nil) }
        phase = .opening
        endSessions(of: elements.dropFirst(booked))
        do {
            try bringKernel(to: elements)
        } catch {
            await takeBack(decided, because: error)
            return
        }
        for decided in decided { decided.pending?.finish(nil) }
        let finished = ContinuousClock.now
        for decided in decided {
            usage.note(decided.events)
            tally.note(decided.events)
            if let pending = decided.pending, decided.events.contains(where: \.opensAtOnce) {
                tally.noteOpening(within: finished - pending.since)
            }
        }
    }

    /// Records with a commit of its own, soon, what was read of elements that began anew or went.
    private func recordUses(of readings: [LastReading]) {
        guard !readings.isEmpty else { return }
        unrecordedEnds += Set(readings.flatMap(\.holders)).filter { plan[$0] == nil }
        guard !isRecordingUses else { return }
        isRecordingUses = true
        Task { [weak self] in
            // Others that end meanwhile share it.
            try? await Task.sleep(for: .milliseconds(10))
            try? await self?.recordUses()
        }
    }

    /// Records how grants were used that have ended, and what else is known and not recorded.
    func recordUses() async throws {
        isRecordingUses = false
        let ended = unrecordedEnds
        unrecordedEnds = []
        defer { forgetSoon(ended) }
        try await record(book.takeFinal(ended) + book.takeNews(of: plan))
    }

    /// Forgets how grants were used that have ended, once nobody can still have read the ledger
    /// before that was recorded there.
    private func forgetSoon(_ ended: [Grant.ID]) {
        guard !ended.isEmpty, book.hasFinals else { return }
        Task { [weak self] in
            try? await Task.sleep(for: .seconds(1))
            await self?.forget(ended)
        }
    }

    private func forget(_ ended: [Grant.ID]) { book.forget(ended) }

    /// Counts a request for access that policy refused.
    func countRefusal() { tally.noteRefusal() }

    private func noteKeys(of events: [Event]) {
        guard case .deciding(var keys) = phase else { return }
        for event in events {
            let (subject, key): (Subject, String?)
            switch event {
            case .asked(let request):
                (subject, key) = (request.requester.subject, request.idempotencyKey)
            case .opened(let request):
                (subject, key) = (request.requester.subject, request.idempotencyKey)
            default: continue
            }
            guard let key else { continue }
            keys.insert(IdempotencyKey(subject: subject, key: key))
            phase = .deciding(keys: keys)
        }
    }

    /// Writes to the ledger what happened.
    ///
    /// What the ledger has no live grant for, as when somebody has edited it, is left out: nothing
    /// else could be recorded ever again.
    private func record(
        _ events: [Event],
        at time: Timestamp,
        meanwhile: () -> Void = {},
        afterwards: @escaping @Sendable () -> Void = {}
    ) async throws(LedgerError) {
        guard !events.isEmpty || store.isBehind else { return meanwhile() }
        var pending = events
        do throws(LedgerError) {
            try await store.commit(
                pending,
                at: time,
                meanwhile: meanwhile,
                afterwards: afterwards
            )
        } catch {
            var error = error
            while true {
                let rest = pending.filter { $0.grant == nil || $0.grant != error.grant }
                guard rest.count < pending.count else { throw error }
                logger.error("\(error)")
                pending = rest
                do throws(LedgerError) {
                    try await store.commit(pending, at: time, meanwhile: {}, afterwards: {})
                    break
                } catch let next {
                    error = next
                }
            }
        }
        recorded()
        guard let fault = ledgerFault else { return }
        ledgerFault = nil
        loggedFaults = [:]
        submit { committer, now throws(Problem) in
            let detail = "all that is in force is recorded again; before: \(fault)"
            return Submission(
                events: committer.noting(Notice(.ledgerRepaired, detail: detail), at: now)
            ) {}
        } reply: { _ in
        }
    }

    /// Logs a fault; what lasts, and is tried every second, at once and then every ten minutes.
    func log(_ fault: String) {
        let now = clocks.now().boot
        loggedFaults = loggedFaults.filter { now - $0.value < .seconds(600) }
        guard loggedFaults[fault] == nil else { return }
        loggedFaults[fault] = now
        logger.error("\(fault)")
    }

    /// Hands over to the ledger what is in force but cannot be recorded now.
    ///
    /// - Returns: Whether it is durable even so.
    private func secure(_ events: [Event], because error: LedgerError) async -> Bool {
        log("\(error)")
        ledgerFault = "\(error)"
        healLater()
        do throws(LedgerError) {
            try await store.secure(events)
            return true
        } catch {
            log("\(error)")
            return false
        }
    }

    /// Refuses what opens, and closes in the kernel what closes.
    ///
    /// A full disk must not keep a port open, nor open it again: ends are secured apart from the
    /// ledger, which has them as soon as it can be written.
    private func closeUnrecorded(_ decided: [Decided], because error: LedgerError) async {
        for decided in decided.reversed() {
            plan.undo(decided.undo)
            waitingRequests.undo(decided.waitingUndo)
        }
        let closing = decided.filter(\.onlyTakesAway)
        // Not those of grants that were to be opened in the same commit: nothing has opened.
        let events = closing.flatMap(\.events).filter { $0.grant.map { plan[$0] != nil } ?? true }
        phase = .opening
        let (elements, _) = plan.apply(events)
        var failure: String?
        do {
            try bringKernel(to: elements)
        } catch {
            failure = "cannot close in the kernel: \(error)"
        }
        endSessions(of: elements)
        if await !secure(events, because: error) {
            failure =
                (failure.map { $0 + "; and " } ?? "access is closed, but ")
                + "that is not recorded yet: \(error)"
        }
        for decided in decided {
            if !decided.onlyTakesAway { tally.note(decided.events, cameTo: .unrecorded) }
            decided.pending?.finish(
                !decided.onlyTakesAway
                    ? Problem(.ledgerUnavailable, "nothing was changed: \(error)")
                    : decided.changesGrants
                        ? failure.map { Problem(.ledgerUnavailable, $0) } : nil
            )
        }
    }

    /// Undoes what opened or lengthened: the kernel did not take it.
    private func takeBack(_ decided: [Decided], because error: any Error) async {
        log("\(error)")
        let now = clocks.now()
        var undoing: [Event] = []
        for decided in decided.reversed() where !decided.onlyTakesAway {
            tally.note(decided.events, cameTo: .failed)
            // What was closed since, or to make room for it, stays closed.
            let events = decided.events.reversed().flatMap { $0.takenBack(in: plan, at: now.wall) }
            _ = plan.apply(events)
            undoing += events
        }
        do throws(LedgerError) {
            try await record(undoing, at: now.wall)
        } catch {
            _ = await secure(undoing, because: error)
        }
        for decided in decided {
            decided.pending?.finish(
                !decided.changesGrants
                    ? nil
                    : Problem(
                        .kernelRefused,
                        decided.onlyTakesAway
                            ? "the grant is ended, but the kernel did not take it: \(error); it "
                                + "closes by itself at the end of its time, and the agent tries again"
                            : "nothing was opened or extended: \(error)"
                    )
            )
        }
        healLater()
    }

    // MARK: The kernel

    private func bringKernel(to changes: [ElementChange]) throws {
        do {
            let remakes = kernel.remakes
            defer { if kernel.remakes != remakes { book.restartAll() } }
            try kernel.bring(to: changes, or: plan, of: configuration)
            book.restart(changes)
        } catch {
            healLater()
            throw error
        }
    }

    /// Makes the table in the kernel what configuration and plan say it should be, without what is
    /// still on its way into the ledger.
    func reassert() throws {
        guard disarmed == nil else { return }
        var recorded = plan
        if case .recording(let undos) = phase {
            for undo in undos.reversed() { recorded.undo(undo) }
        }
        defer { book.restartAll() }
        do {
            try kernel.make(configuration, holding: recorded)
        } catch {
            healLater()
            throw error
        }
    }

    /// Puts a configuration in force, with all of the table made anew but what is open, which stays
    /// as it is.
    ///
    /// - Throws: Where the kernel refuses; then the old one stays.
    func adopt(_ configuration: AgentConfiguration) throws {
        let remakes = kernel.remakes
        defer { if kernel.remakes != remakes { book.restartAll() } }
        do {
            try kernel.adopt(configuration)
        } catch {
            // Nobody knows what of it the kernel took.
            try? reassert()
            throw error
        }
        self.configuration = configuration
        warnings = []
        configurationOrigin = .files
        configurationFault = nil
        configuredAt = clocks.now().wall
        for feed in delegateFeeds { feed.yield(configuration.delegates.map(\.user)) }
        do {
            if kernel.isBehind { try reassert() }
        } catch {
            // It is in force; what is open follows.
            logger.error("\(error)")
        }
        unrecordedChanges += 1
        judgeWaitingRequestsAnew()
    }

    /// Holds what waits against the configuration in force, with the next commit.
    func judgeWaitingRequestsAnew() {
        guard waitingRequests.count > 0 else { return }
        isReconfigured = true
        submit({ _, _ throws(Problem) in Submission(events: []) {} }, reply: { _ in })
    }

    /// Takes the gate away, or arms it again with the configuration and the plan as they are.
    ///
    /// - Parameters:
    ///   - disarmed: That it is taken away, and by whom; nil to arm it.
    ///   - keep: Keeps that durably.
    /// - Throws: Where it cannot be kept, or the kernel refuses; then all is as it was.
    func set(
        disarmed: Disarmament?,
        keep: (Disarmament?) throws(SystemError) -> Void
    ) throws {
        let old = self.disarmed
        if let disarmed {
            // First, so that no start arms what is about to be taken away.
            try keep(disarmed)
            do {
                try gate.disarm()
            } catch {
                try? keep(old)
                throw error
            }
            self.disarmed = disarmed
        } else {
            self.disarmed = nil
            do {
                try reassert()
                try keep(nil)
            } catch {
                if let old {
                    try? gate.disarm()
                    self.disarmed = old
                }
                throw error
            }
        }
        if disarmed == nil { return wakeAtNextEnd() }
        kernel.fallBehind()
    }

    /// Keeps what is in force for a start, now that the change that led to it has its row: what the
    /// process dies before, the next start finds to differ from what was kept, and records.
    func keepConfiguration(in source: any ConfigurationSource) {
        // Where the ledger took nothing, that start has to tell.
        guard ledgerFault == nil else { return }
        unrecordedChanges = max(0, unrecordedChanges - 1)
        if unrecordedChanges == 0, trial?.policies == nil { source.remember(configuration) }
    }

    /// The users that delegates run as: now, and again whenever a configuration is put in force.
    func delegateUsers() -> AsyncStream<[String]> {
        let (users, feed) = AsyncStream.makeStream(
            of: [String].self,
            bufferingPolicy: .bufferingNewest(1)
        )
        feed.yield(configuration.delegates.map(\.user))
        delegateFeeds.append(feed)
        return users
    }

    /// Notes what of a configuration means nothing on this host, where it still is in force.
    func warn(_ warnings: [String], about configuration: AgentConfiguration) {
        if self.configuration == configuration { self.warnings = warnings }
    }

    /// Notes that the files cannot be put in force as they are.
    func refuse(_ fault: ConfigurationError) { configurationFault = fault }

    /// Tries again in a while what the ledger or the kernel did not take.
    private func healLater() {
        guard !isHealing else { return }
        isHealing = true
        Task { [weak self] in
            try? await Task.sleep(for: .seconds(1))
            await self?.heal()
        }
    }

    private func heal() async {
        isHealing = false
        do {
            if kernel.isBehind {
                try reassert()
                if isTampered, disarmed == nil {
                    isTampered = false
                    note(Notice(.gateRearmed), of: .agent)
                }
            }
            let isDue = waitingRequests.nextDue.map { $0 <= clocks.now().wall } ?? false
            if store.isBehind || isDue { try await settle() }
        } catch {
            log("\(error)")
        }
    }
}

/// Somebody who is refused because nothing is opened while the gate is taken away.
private struct RefusedWhileDisarmed: Pending {
    let pending: any Pending

    var since: ContinuousClock.Instant { pending.since }

    func decide(in committer: isolated Committer, at now: Moment) -> Verdict { .refused }

    func render() {}

    func finish(_ failure: Problem?) { pending.finish(.disarmed) }
}

extension Problem {
    static let disarmed = Problem(
        .gateDisarmed,
        "nothing is opened: the gate is disarmed, and managed ports are open to everybody; an admin "
            + "arms it: sallyport arm"
    )
}

extension Event {
    /// Whether somebody wants to be let in by it, now or later.
    fileprivate var opens: Bool {
        switch self {
        case .asked, .approved, .opened, .extended: true
        case .concluded, .ended, .takenBack, .shortened, .used, .carriedOver, .noted: false
        }
    }

    /// Whether a request opens that did not wait.
    fileprivate var opensAtOnce: Bool {
        if case .opened(let request) = self { request.wait == nil } else { false }
    }

    /// The live grant that this is about, which must be in the ledger.
    fileprivate var grant: Grant.ID? {
        switch self {
        case .ended(let id, _, _, _, _), .extended(let id, _, _, _, _), .takenBack(let id, _),
            .shortened(let id, _), .carriedOver(let id, _):
            id
        case .asked, .approved, .concluded, .opened, .used, .noted: nil
        }
    }

    /// What happens where the kernel did not take this.
    fileprivate func takenBack(in plan: Plan, at now: Timestamp) -> [Event] {
        switch self {
        case .opened(let request) where request.wait?.extends != nil:
            [.concluded(request.id, .failed, at: now, by: nil, reason: nil)]
        case .opened(let request):
            request.grants.filter { plan[$0.id] != nil }
                .map { .ended($0.id, .kernelRefused, at: now, by: nil) }
        case .extended(let id, let old, _, _, _):
            plan[id] == nil ? [] : [.takenBack(id, until: old)]
        case .asked, .approved, .concluded, .ended, .takenBack, .shortened, .used, .carriedOver,
            .noted:
            []
        }
    }
}

import API
import Access
import Gate
public import Ledger
public import Logging
public import Policy
public import Settings

/// The use cases of Sallyport: turns requests into grants, and answers who asks about them.
///
/// It has no state of its own: what changes while it runs is the ``Committer``'s.
public final class Agent: Sendable {
    let committer: Committer
    let feed: EventFeed
    let ledger: Ledger
    let gate: any GateControl
    let clocks: any Clocks
    let logger: Logger
    let source: any ConfigurationSource
    let host: any HostReading
    let discoveries = Shared<Result<DiscoverDocument, Problem>>()
    let examinations = Shared<Result<DoctorDocument, Problem>>()
    let startedAt: Timestamp
    /// What the start found wrong with the audit trail.
    let auditFault: String?
    /// Says that something was recorded; for one who follows.
    public let recordings: AsyncStream<Void>
    let recorded: @Sendable () -> Void
    /// Reads what was opened in the days before; why it could not be read.
    let history: Task<LedgerError?, Never>

    /// Takes over from the ledger what is live, and puts it into the kernel.
    ///
    /// What has ended meanwhile is recorded later where the ledger cannot be written now: only with
    /// an agent can access be taken away.
    ///
    /// - Parameters:
    ///   - configuration: What is in force from the beginning.
    ///   - origin: Where it comes from.
    ///   - fault: Why the files are not what is in force.
    ///   - source: Where the configuration is read anew, for a reload.
    ///   - gate: What opens and closes.
    ///   - ledger: What is read of requests and grants.
    ///   - store: Where events are written; nil for the ledger itself.
    ///   - host: Where it is read what else is on the host.
    ///   - clocks: What time it is.
    ///   - executor: The thread that everything runs on: the server's.
    ///   - logger: Takes faults and what an administrator should know.
    ///   - wake: Is told when the next grant ends, or a request that waits starts or lapses; nil: none
    ///     does.
    /// - Throws: `GateError` or `LedgerError`.
    public init(
        configuration: AgentConfiguration,
        origin: ConfigurationOrigin = .files,
        fault: ConfigurationError? = nil,
        source: any ConfigurationSource,
        gate: any GateControl,
        ledger: Ledger,
        store: (any EventStore)? = nil,
        host: any HostReading = ThisHost(),
        clocks: any Clocks,
        executor: any SerialExecutor & TaskExecutor,
        logger: Logger,
        wake: @escaping @Sendable (BootTime?) -> Void
    ) async throws {
        self.ledger = ledger
        self.gate = gate
        self.clocks = clocks
        self.logger = logger
        self.source = source
        self.host = host
        let now = clocks.now()
        startedAt = now.wall
        let recovered = try ledger.recover()
        let (live, events) = recovered.settled(at: now)
        let feed = EventFeed(ledger: ledger, clocks: clocks, executor: executor, logger: logger)
        self.feed = feed
        let (recordings, signal) = AsyncStream.makeStream(
            of: Void.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        self.recordings = recordings
        let recorded: @Sendable () -> Void = {
            feed.recorded()
            signal.yield()
        }
        self.recorded = recorded
        committer = Committer(
            plan: Plan(live: live),
            waitingRequests: WaitingRequests(recovered.waiting),
            configuration: configuration,
            origin: origin,
            fault: fault,
            nextRequestID: recovered.nextRequestID,
            store: store ?? ledger,
            gate: gate,
            clocks: clocks,
            executor: executor,
            logger: logger,
            recorded: recorded,
            wake: wake
        )
        var damage: [String] = []
        if recovered.lacksMarks {
            damage.append(
                "the reserve beside the ledger was missing or damaged: it cannot be told whether "
                    + "the audit trail was cut off, or ends of grants are lost"
            )
        }
        if let rows = recovered.lost {
            damage.append(
                "the ledger lacks what an earlier run recorded: rows \(rows.lowerBound) to "
                    + "\(rows.upperBound) of the audit trail, with the requests and ends they tell of"
            )
        }
        if let row = recovered.replaced {
            damage.append(
                "row \(row) of the audit trail is not the one that an earlier run recorded last"
            )
        }
        auditFault = damage.isEmpty ? nil : damage.joined(separator: "; ")
        var found = damage.map { Event.noted(Notice(.ledgerRowsLost, detail: $0)) }
        if !live.isEmpty {
            let detail = "\(live.count) grants of before the start are open"
            found.append(.noted(Notice(.restored, detail: detail)))
        }
        try await committer.begin(recording: events + found)
        // Read beside everything else: with a million requests it takes seconds.
        let past = Result { () throws(LedgerError) in
            try ledger.pastUsage(since: Usage.start(at: now.wall))
        }
        history = Task { [committer] in
            do throws(LedgerError) {
                await committer.add(earlier: try await past.get().read())
                return nil
            } catch {
                logger.error("cannot tell what was opened in the last seven days: \(error)")
                return error
            }
        }
    }

    /// Books the grants whose time is over, which the kernel has closed by itself, and opens or lets
    /// lapse the requests whose time has come.
    public func grantsEnded() async {
        await logged("book ended grants") { try await committer.settle() }
        await prune()
    }

    /// Takes away the events that the configuration no longer keeps, looking once a minute at most.
    private func prune() async {
        guard let moment = await committer.takeTurnToPrune() else { return }
        await logged("prune the audit trail") {
            while try await ledger.prune(before: moment, at: clocks.now().wall) {
                recorded()
                // Requests have their turn.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    /// Shortens what a step of the wall clock shortens.
    public func clockStepped() async {
        await logged("follow the clock") { try await committer.clockStepped() }
    }

    /// Puts back what another process has changed in the table, elements of grants included.
    public func rulesetChanged() async {
        await logged("make the gate anew") {
            var fault: String?
            do {
                fault = try gate.inspect().fault
            } catch {
                fault = "\(error)"
            }
            guard let fault else { return try await committer.reassert() }
            var failure: (any Error)?
            do {
                try await committer.reassert()
            } catch {
                failure = error
            }
            try await note(Notice(.gateTampered, detail: fault))
            if let failure { throw failure }
            try await note(Notice(.gateRearmed))
        }
    }

    /// What is looked at now and then: whether somebody used a break-glass source, and which of the
    /// sessions earlier than the gate have ended.
    ///
    /// - Parameter isLast: Whether the agent ends: then nothing is kept to be told later.
    public func beat(isLast: Bool = false) async {
        await logged("look after the gate") {
            try gate.forgetEndedSessions()
            try await noteBreakGlass(gate.inspect().breakGlass, isLast: isLast)
        }
        await prune()
    }

    /// Tells the audit trail of connections from break-glass sources since it was last told.
    private func noteBreakGlass(
        _ used: [(source: CIDR, packets: UInt64)],
        isLast: Bool
    ) async throws {
        for (source, packets) in used {
            let more = await committer.breakGlassPackets(
                of: source,
                are: packets,
                isLast: isLast
            )
            guard let more else { continue }
            try await note(
                Notice(
                    .breakGlassUsed,
                    source: source.description,
                    detail: "\(more) packets that opened connections"
                )
            )
        }
    }

    /// Tells the audit trail that the agent begins to serve, or ends.
    public func note(_ kind: AuditKind) async {
        await logged("record \(kind.rawValue)") { try await note(Notice(kind)) }
    }

    func note(_ notice: Notice) async throws {
        try await committer.submit { committer, now throws(Problem) in
            Submission(events: committer.noting(notice, at: now)) {}
        }
    }

    private func logged(_ what: String, _ body: () async throws -> Void) async {
        do {
            try await body()
        } catch {
            logger.error("cannot \(what): \(error)")
        }
    }
}

import API
import Ledger
import Logging
import Policy
import Synchronization

/// Tells whoever listens what is recorded, as soon as it is.
///
/// Without listeners it costs a commit nothing. With them the new events are read from the ledger
/// once for all, and each listener is told from there; one that falls behind reads the ledger by
/// itself, so that nothing piles up for it.
actor EventFeed {
    /// Listeners of one person other than root.
    private static let mostOfOnePerson = 32
    /// Events that are kept for all; whoever is further behind reads the ledger.
    private static let mostRecent = 1_024
    /// How often listeners hear that the agent is there, and grants are looked through.
    private static let beat = Duration.seconds(15)
    /// Listeners that are told in one go, before the server's other work has a turn.
    private static let atOnce = 4
    /// Events that one listener is sent at a time, some 30 KB: what waits for one that does not read.
    private static let mostSent = 64
    /// How long before its end a grant is told of; a tenth of its time where that is less.
    private static let warning = Duration.seconds(300)

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        // It lives as long as `executor`, and so as long as the actor.
        unsafe executor.asUnownedSerialExecutor()
    }
    private nonisolated let executor: any SerialExecutor & TaskExecutor
    private let ledger: Ledger
    private let clocks: any Clocks
    private let logger: Logger
    private nonisolated let signal = Mutex(Signal())

    private struct Signal {
        var isHeard = false
        /// Whether what is recorded now will be told without another signal.
        var isComing = false
    }

    private struct Listener {
        let scope: AuditScope
        let person: Subject
        /// The newest event it was told of, or need not be.
        var position: Int64
        /// The newest warning it was told of.
        var warning = 0
        var isBeatDue = false
        /// Its task, where it waits for news.
        var waiting: CheckedContinuation<Void, Never>?
    }

    private struct Warning {
        let number: Int
        let grant: Grant
        let event: StreamedEvent
    }

    private var listeners: [Int: Listener] = [:]
    private var lastID = 0
    /// The newest event that listeners can be told of; the recent ones end with it.
    private var head: Int64 = 0
    private var recent: [(row: AuditRow, event: StreamedEvent)] = []
    private var warnings: [Warning] = []
    private var lastWarning = 0
    private var lastRound = ContinuousClock.now
    private var isBeating = false

    init(
        ledger: Ledger,
        clocks: any Clocks,
        executor: any SerialExecutor & TaskExecutor,
        logger: Logger
    ) {
        self.ledger = ledger
        self.clocks = clocks
        self.executor = executor
        self.logger = logger
    }

    /// Something was recorded.
    nonisolated func recorded() {
        let isNews = signal.withLock { signal in
            guard signal.isHeard, !signal.isComing else { return false }
            signal.isComing = true
            return true
        }
        if isNews { Task(executorPreference: executor) { await self.tellNews() } }
    }

    /// How many listen.
    var listenerCount: Int { listeners.count }

    // MARK: Listening

    /// Takes a listener in, who hears what is recorded after an event, or from now on.
    func listen(
        after event: Int64?,
        scope: AuditScope,
        person: Subject
    ) throws(Problem) -> Listening {
        guard
            person == .local(uid: 0)
                || listeners.values.count(where: { $0.person == person }) < Self.mostOfOnePerson
        else {
            throw Problem(
                .rateLimited,
                "cannot send events: this person listens \(Self.mostOfOnePerson) times already; "
                    + "end one of them"
            )
        }
        let newest = ledger.newestEvent
        if listeners.isEmpty {
            (head, recent) = (newest, [])
            signal.withLock { $0.isHeard = true }
        }
        lastID += 1
        listeners[lastID] = Listener(
            scope: scope,
            person: person,
            position: min(event ?? newest, newest)
        )
        if !isBeating {
            isBeating = true
            Task(executorPreference: executor) { await self.keepBeating() }
        }
        return Listening(feed: self, id: lastID)
    }

    fileprivate nonisolated func leave(_ id: Int) {
        Task(executorPreference: executor) { await self.remove(id) }
    }

    private func remove(_ id: Int) {
        listeners.removeValue(forKey: id)?.waiting?.resume()
        guard listeners.isEmpty else { return }
        signal.withLock { $0.isHeard = false }
        (recent, warnings) = ([], [])
    }

    /// What a listener has to be told next; nil where it has left.
    fileprivate func next(for id: Int) async throws -> [StreamedEvent]? {
        while listeners[id] != nil, !Task.isCancelled {
            let events = try await news(for: id)
            if !events.isEmpty {
                listeners[id]?.isBeatDue = false
                return events
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { waiting in
                    // What came while it was told of the rest woke nobody.
                    if let listener = listeners[id], !hasNews(listener) {
                        listeners[id]?.waiting = waiting
                    } else {
                        waiting.resume()
                    }
                }
            } onCancel: {
                leave(id)
            }
        }
        return nil
    }

    private func news(for id: Int) async throws -> [StreamedEvent] {
        guard let listener = listeners[id] else { return [] }
        var events: [StreamedEvent] = []
        for warning in warnings where warning.number > listener.warning {
            if listener.scope.includes(warning.grant) { events.append(warning.event) }
        }
        listeners[id]?.warning = lastWarning
        if listener.position >= head {
        } else if let first = recent.first?.row.sequence, first <= listener.position + 1 {
            let new = recent[(recent.firstIndex { $0.row.sequence > listener.position } ?? 0)...]
                .prefix(Self.mostSent)
            events += new.filter { listener.scope.includes($0.row) }.map(\.event)
            listeners[id]?.position = new.last?.row.sequence ?? head
        } else {
            let behind = ledger.allAudit(
                AuditFilter(scope: listener.scope),
                after: listener.position
            )
            var rows = behind.makeAsyncIterator()
            while events.isEmpty, let some = try await rows.next() {
                events += some.map(StreamedEvent.init)
                listeners[id]?.position = rows.position
            }
        }
        return events.isEmpty && listener.isBeatDue ? [.stillThere] : events
    }

    // MARK: Telling

    private func tellNews() async {
        repeat {
            // The more listeners, the less often: telling all of them must leave time for the rest.
            let pause = min(.milliseconds(1) * listeners.count, .seconds(1))
            let due = lastRound + pause
            if due > .now { try? await Task.sleep(until: due, clock: .continuous) }
            lastRound = .now
            do {
                for try await rows in ledger.allAudit(AuditFilter(), after: head) {
                    recent += rows.map { ($0, StreamedEvent($0)) }
                    head = rows.last?.sequence ?? head
                }
                recent.removeFirst(max(0, recent.count - Self.mostRecent))
            } catch {
                logger.error("cannot tell of events: \(error)")
            }
            await wakeListeners()
            signal.withLock { $0.isComing = false }
        } while ledger.newestEvent > head
            && signal.withLock { signal in
                guard signal.isHeard, !signal.isComing else { return false }
                signal.isComing = true
                return true
            }
    }

    /// Wakes whoever has something to hear, some at a time.
    private func wakeListeners() async {
        var woken = 0
        for id in Array(listeners.keys) {
            guard let listener = listeners[id], let waiting = listener.waiting else { continue }
            guard hasNews(listener) else {
                // Nothing up to here is for it to see.
                listeners[id]?.position = max(listener.position, head)
                continue
            }
            listeners[id]?.waiting = nil
            waiting.resume()
            woken += 1
            if woken % Self.atOnce == 0 { try? await Task.sleep(for: .milliseconds(2)) }
        }
    }

    private func hasNews(_ listener: Listener) -> Bool {
        if listener.isBeatDue || listener.warning < lastWarning { return true }
        guard let first = recent.first?.row.sequence, first <= listener.position + 1 else {
            return listener.position < head
        }
        return recent.reversed().lazy.prefix { $0.row.sequence > listener.position }
            .contains { listener.scope.includes($0.row) }
    }

    private func keepBeating() async {
        while !listeners.isEmpty {
            await warn()
            await wakeListeners()
            try? await Task.sleep(for: Self.beat)
            for id in listeners.keys { listeners[id]?.isBeatDue = true }
        }
        isBeating = false
    }

    /// Notes the grants that end soon; each is told of once, unless its end is moved.
    private func warn() async {
        let now = clocks.now()
        warnings.removeAll { $0.grant.end.expiresAt <= now.wall }
        let grants: [Grant]
        do {
            grants = try await ledger.grants(
                endingIn: now.wall...now.wall + Self.warning + Self.beat
            )
        } catch {
            return logger.error("cannot look for grants that end soon: \(error)")
        }
        for grant in grants {
            let time = grant.end.expiresAt - grant.startsAt
            let isDue = grant.end.expiresAt - now.wall <= min(Self.warning, time / 10) + Self.beat
            let isTold = warnings.contains {
                $0.grant.id == grant.id && $0.grant.end.expiresAt == grant.end.expiresAt
            }
            guard isDue, !isTold else { continue }
            lastWarning += 1
            let remaining = (grant.end.expiresAt - now.wall).components.seconds
            let ending = EndingDocument(grant, remainingSeconds: remaining)
            warnings.append(
                Warning(number: lastWarning, grant: grant, event: StreamedEvent(ending))
            )
        }
    }
}

/// What a listener hears: it listens as long as this is kept.
struct Listening: AsyncSequence, Sendable {
    private let place: Place

    fileprivate init(feed: EventFeed, id: Int) { place = Place(feed: feed, id: id) }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(place: place) }

    struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let place: Place

        func next() async throws -> [StreamedEvent]? { try await place.feed.next(for: place.id) }
    }

    fileprivate final class Place: Sendable {
        let feed: EventFeed
        let id: Int

        init(feed: EventFeed, id: Int) {
            self.feed = feed
            self.id = id
        }

        deinit { feed.leave(id) }
    }
}

extension AuditScope {
    fileprivate func includes(_ grant: Grant) -> Bool {
        (subject.map { $0 == grant.requester.subject } ?? true)
            && (policies?.contains(grant.policy) ?? true)
    }
}

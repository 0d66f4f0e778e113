/// One person's yes to a request that waits.
public struct Approval: Hashable, Sendable {
    /// Who agreed.
    public var by: Person
    /// When.
    public var at: Timestamp
    /// The time that the request was shortened to; nil where it was left as it was.
    public var duration: Duration?
    /// The policies whose requests the person may answer: those the yes counts under.
    public var policies: Set<String>

    /// Takes the parts.
    public init(by: Person, at: Timestamp, duration: Duration?, policies: Set<String>) {
        self.by = by
        self.at = at
        self.duration = duration
        self.policies = policies
    }
}

/// How a request waits, or waited: for others to agree, or for its start.
public struct Wait: Hashable, Sendable {
    /// Where the request stands: `pending` or `scheduled` as long as it waits.
    public var state: RequestState
    /// What it is to open.
    public var openings: [Opening]
    /// How long it is to be open: as asked, or as the shortest of the approvals has it.
    public var duration: Duration
    /// The start that was asked for; nil for as soon as enough people agree.
    public var startsAt: Timestamp?
    /// When it lapses, as long as it is pending.
    public var pendingUntil: Timestamp
    /// The request whose grants it is to lengthen; nil where it opens grants of its own.
    public var extends: Int64?
    /// The groups of the requester when it was asked, by which it is judged again.
    public var groups: Set<String>
    /// Who agreed so far, each person once.
    public var approvals: [Approval] = []
    /// Counts what became of it while it waits, from 1: what somebody approves is a revision.
    public var revision = 1

    /// Takes how a request begins to wait.
    public init(
        state: RequestState,
        openings: [Opening],
        duration: Duration,
        startsAt: Timestamp?,
        pendingUntil: Timestamp,
        extends: Int64? = nil,
        groups: Set<String>
    ) {
        self.state = state
        self.openings = openings
        self.duration = duration
        self.startsAt = startsAt
        self.pendingUntil = pendingUntil
        self.extends = extends
        self.groups = groups
    }

    /// The names of the policies that have to allow it, in the order of the openings.
    public var policies: [String] { Self.policies(of: openings) }

    /// The names of the policies that allow something, each once.
    public static func policies(of openings: [Opening]) -> [String] {
        var seen: Set<String> = []
        return openings.map(\.policy).filter { seen.insert($0).inserted }
    }

    /// Makes an approval part of it; nil where none is needed any more.
    public mutating func add(_ approval: Approval?, then state: RequestState) {
        self.state = state
        revision += 1
        guard let approval else { return }
        approvals.append(approval)
        duration = min(duration, approval.duration ?? duration)
    }
}

/// A request that has opened nothing yet.
public struct WaitingRequest: Hashable, Sendable, Identifiable {
    /// The number, from 1.
    public let id: Int64
    /// Who asked.
    public var requester: Person
    /// What was asked, in the requester's words.
    public var ask: Ask
    /// When it was asked.
    public var createdAt: Timestamp
    /// The key under which a repetition of the request is recognised.
    public var idempotencyKey: String?
    /// How it waits.
    public var wait: Wait

    /// Takes the parts.
    public init(
        id: Int64,
        requester: Person,
        ask: Ask,
        createdAt: Timestamp,
        idempotencyKey: String? = nil,
        wait: Wait
    ) {
        self.id = id
        self.requester = requester
        self.ask = ask
        self.createdAt = createdAt
        self.idempotencyKey = idempotencyKey
        self.wait = wait
    }

    /// When something becomes of it by itself: it lapses, or it starts.
    public var due: Timestamp {
        wait.state == .scheduled ? wait.startsAt ?? createdAt : wait.pendingUntil
    }

    /// The instant at which access ends at the latest, whenever it opens; nil where the request
    /// names neither a start nor an end.
    public var endsBy: Timestamp? {
        let named = ask.until.flatMap { try? Timestamp(parsing: $0) }
        return [named, wait.startsAt.map { $0 + wait.duration }].compactMap(\.self).min()
    }

    /// How long it may open at an instant; not more than zero where its time is over.
    public func duration(at now: Timestamp) -> Duration {
        endsBy.map { min(wait.duration, $0 - now) } ?? wait.duration
    }

    /// The request as it opens.
    public func opened(_ grants: [Grant]) -> AccessRequest {
        var request = AccessRequest(
            id: id,
            requester: requester,
            ask: ask,
            createdAt: createdAt,
            idempotencyKey: idempotencyKey,
            grants: grants
        )
        request.wait = wait
        request.wait?.state = .active
        return request
    }
}

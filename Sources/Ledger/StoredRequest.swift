public import Policy

/// One grant as the ledger has it, live or ended.
public struct StoredGrant: Hashable, Sendable, Identifiable {
    /// The grant with the end it was last given.
    ///
    /// Its deadline means something only while it is live, and in the boot it was recorded in.
    public var grant: Grant
    /// Who asked, as recorded then.
    public var requester: Person
    /// Why it was asked for.
    public var reason: String?
    /// `active` as long as the grant is live.
    public var state: GrantState
    /// When it ended; nil while it is live.
    public var endedAt: Timestamp?
    /// Why it ended; nil while it is live.
    public var endReason: EndReason?

    /// The grant's id.
    public var id: Grant.ID { grant.id }

    /// Takes the parts.
    public init(
        grant: Grant,
        requester: Person,
        reason: String?,
        state: GrantState,
        endedAt: Timestamp? = nil,
        endReason: EndReason? = nil
    ) {
        self.grant = grant
        self.requester = requester
        self.reason = reason
        self.state = state
        self.endedAt = endedAt
        self.endReason = endReason
    }
}

/// One request as the ledger has it.
public struct StoredRequest: Hashable, Sendable, Identifiable {
    /// The number, from 1.
    public var id: Int64
    /// Where it waits; `active` while any grant is live, then the state of the grant that ended
    /// last.
    public var state: RequestState
    /// Who asked, as recorded then.
    public var requester: Person
    /// What was asked.
    public var ask: Ask
    /// When it was asked.
    public var createdAt: Timestamp
    /// When it was decided; nil while nobody has.
    public var decidedAt: Timestamp?
    /// The key under which a repetition of the request is recognised.
    public var idempotencyKey: String?
    /// What it opened, in the order of the ids; of an extension what it is to lengthen.
    public var grants: [StoredGrant]
    /// How it waits, or waited; nil where it opened as soon as it was asked.
    public var wait: Wait?
    /// Why it came to nothing or was ended, in the words of who did it.
    public var decision: String?
    /// Who decided that it comes to nothing; nil for the agent.
    public var decidedBy: Person?

    /// Takes the parts.
    public init(
        id: Int64,
        state: RequestState,
        requester: Person,
        ask: Ask,
        createdAt: Timestamp,
        decidedAt: Timestamp?,
        idempotencyKey: String? = nil,
        grants: [StoredGrant]
    ) {
        self.id = id
        self.state = state
        self.requester = requester
        self.ask = ask
        self.createdAt = createdAt
        self.decidedAt = decidedAt
        self.idempotencyKey = idempotencyKey
        self.grants = grants
    }
}

extension StoredRequest {
    /// The request as what waits; nil where it does not.
    var waiting: WaitingRequest? {
        wait.map {
            WaitingRequest(
                id: id,
                requester: requester,
                ask: ask,
                createdAt: createdAt,
                idempotencyKey: idempotencyKey,
                wait: $0
            )
        }
    }
}

/// Which requests or grants to read; all conditions must hold.
public struct LedgerFilter: Hashable, Sendable {
    /// Only grants of this policy, and requests with such a grant.
    public var policy: String?
    /// Only grants of these policies, and requests that have grants of these alone; nil for all.
    public var policies: Set<String>?
    /// Only those of this person.
    public var subject: Subject?
    /// Only those of users of this host who went by this name.
    public var name: String?
    /// Only requests with a smaller number, and their grants.
    public var before: Int64?
    /// Only requests with a larger number, and their grants: no more of them are looked at.
    public var after: Int64?
    /// How many at the most.
    public var limit: Int

    /// Takes the conditions.
    public init(
        policy: String? = nil,
        policies: Set<String>? = nil,
        subject: Subject? = nil,
        name: String? = nil,
        before: Int64? = nil,
        limit: Int = 100
    ) {
        self.policy = policy
        self.policies = policies
        self.subject = subject
        self.name = name
        self.before = before
        self.limit = limit
    }
}

/// An earlier request that carried the same idempotency key.
public struct KeyedRequest: Hashable, Sendable {
    /// The request's number.
    public var id: Int64
    /// What it asked for.
    public var ask: Ask
}

public import Policy

/// One grant as the ledger has it, live or ended.
public struct StoredGrant: Hashable, Sendable, Identifiable {
    /// The grant with the end it was last given.
    ///
    /// `deadline` means something only in the boot it was
    /// recorded in.
    public var grant: Grant
    /// The process that asked.
    public var pid: Int32
    /// Why it was asked for.
    public var reason: String?
    /// `active` as long as the grant is live.
    public var state: GrantState
    /// When it ended; absent while it is live.
    public var endedAt: Timestamp?
    /// Why it ended; absent while it is live.
    public var endReason: EndReason?

    /// The grant's id.
    public var id: Grant.ID { grant.id }
}

/// One request as the ledger has it.
public struct StoredRequest: Hashable, Sendable, Identifiable {
    /// The number, from 1.
    public var id: Int64
    /// Who asked.
    public var requester: Requester
    /// The process that asked.
    public var pid: Int32
    /// Why.
    public var reason: String?
    /// The ticket the work belongs to.
    public var ticket: String?
    /// When it was asked.
    public var createdAt: Timestamp
    /// The key under which a repetition of the request is recognised.
    public var idempotencyKey: String?
    /// What it opened, in the order of the ids.
    public var grants: [StoredGrant]

    /// `active` while any grant is live, then the state of the grant that ended last.
    public var state: GrantState {
        if grants.contains(where: { $0.state == .active }) { return .active }
        let last = grants.max {
            ($0.endedAt?.milliseconds ?? 0, $0.id) < ($1.endedAt?.milliseconds ?? 0, $1.id)
        }
        return last?.state ?? .failed
    }
}

/// Which requests or grants to read.
public struct LedgerFilter: Hashable, Sendable {
    /// Only those in this state.
    public var state: GrantState?
    /// Only grants of this policy, and requests with such a grant.
    public var policy: String?
    /// Only those of this user name.
    public var user: String?
    /// Only those of this user id.
    public var uid: UInt32?
    /// Only requests with a smaller number, and their grants.
    public var before: Int64?
    /// How many at the most.
    public var limit: Int

    /// Takes the conditions, which must all hold.
    public init(
        state: GrantState? = nil,
        policy: String? = nil,
        user: String? = nil,
        uid: UInt32? = nil,
        before: Int64? = nil,
        limit: Int = 100
    ) {
        self.state = state
        self.policy = policy
        self.user = user
        self.uid = uid
        self.before = before
        self.limit = limit
    }
}

/// How much a policy was used in a period.
public struct PolicyFigures: Hashable, Sendable {
    /// The policy's name.
    public var policy: String
    /// Requests with a grant of this policy that opened.
    public var requests: Int
    /// When the newest of them opened.
    public var lastAt: Timestamp
    /// Who asked for it.
    public var lastUser: String
}

/// An earlier request that carried the same idempotency key.
public struct KeyedRequest: Hashable, Sendable {
    /// The request's number.
    public var id: Int64
    /// What it asked for, as it was given to ``LedgerChange/record(_:ask:)``.
    public var ask: String?
}

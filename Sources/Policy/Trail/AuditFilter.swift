/// Which events of the audit trail to read; all conditions must hold.
public struct AuditFilter: Hashable, Sendable {
    /// Only events recorded at this moment or later.
    public var since: Timestamp?
    /// Only events recorded before this moment.
    public var until: Timestamp?
    /// Only events about this policy, alone or among others.
    public var policy: String?
    /// Only what somebody did, and what became of their requests; their subject or their name.
    public var user: String?
    /// Only events of this kind.
    public var event: AuditKind?
    /// Only events about this source, alone or among others: an address or a range.
    public var source: String?
    /// Only events about this request and its grants.
    public var request: Int64?
    /// Only events with a smaller sequence number.
    public var before: Int64?
    /// How many at the most.
    public var limit: Int
    /// What may be seen of them.
    public var scope: AuditScope

    /// Takes the conditions.
    public init(
        since: Timestamp? = nil,
        until: Timestamp? = nil,
        policy: String? = nil,
        user: String? = nil,
        event: AuditKind? = nil,
        source: String? = nil,
        request: Int64? = nil,
        before: Int64? = nil,
        limit: Int = 100,
        scope: AuditScope = AuditScope()
    ) {
        self.since = since
        self.until = until
        self.policy = policy
        self.user = user
        self.event = event
        self.source = source
        self.request = request
        self.before = before
        self.limit = limit
        self.scope = scope
    }
}

/// What somebody may see of the audit trail.
public struct AuditScope: Hashable, Sendable {
    /// Only what this person did, and what became of their requests; nil for everybody's.
    public var subject: Subject?
    /// Only events about one of these policies; nil for all events.
    public var policies: Set<String>?

    /// Takes the conditions; without any, all may be seen.
    public init(subject: Subject? = nil, policies: Set<String>? = nil) {
        self.subject = subject
        self.policies = policies
    }

    /// Whether an event may be seen.
    public func includes(_ row: AuditRow) -> Bool {
        if let subject = subject?.description,
            row.subject != subject, row.requester != subject
        {
            return false
        }
        guard let policies else { return true }
        return row.policy.map(policies.contains) ?? false
    }
}

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
    /// Only events about this source, alone or among others; as it was written, or in CIDR form.
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

/// What verifying the audit trail came to.
public struct AuditVerification: Codable, Hashable, Sendable {
    /// What is wrong with one event.
    public struct Fault: Codable, Hashable, Sendable {
        /// The kinds of fault.
        public enum Code: String, Codable, Hashable, Sendable, CaseIterable {
            /// An event is not what follows from the one before: it was changed, put there or moved.
            case changed
            /// Events that were recorded are missing in the middle.
            case removed
            /// Events that were recorded are missing at the end, or are not those.
            case truncated
            /// There are events at the end that were never recorded.
            case added
            /// What stands for pruned events is not what was pruned.
            case anchor
            /// The head that was given is of no event.
            case unknownHead = "unknown-head"
        }

        /// The event, or the first that is missing.
        public var sequence: Int64
        /// What is wrong.
        public var code: Code
        /// The same, for people.
        public var message: String

        /// Takes the parts.
        public init(sequence: Int64, code: Code, message: String) {
            self.sequence = sequence
            self.code = code
            self.message = message
        }
    }

    /// Whether nothing is wrong.
    public var intact: Bool
    /// How many events were looked at.
    public var events: Int64
    /// The sequence number of the newest event; 0 where there is none.
    public var last: Int64
    /// The hash of the newest event.
    public var head: String
    /// The newest of the events that were pruned; absent where none were.
    public var prunedThrough: Int64?
    /// The event of the head that was given; absent where there is none.
    public var given: Int64?
    /// How many faults there are.
    public var faultCount: Int
    /// The first of them, 100 at the most.
    public var faults: [Fault]

    /// Takes the parts.
    public init(
        events: Int64,
        last: Int64,
        head: String,
        prunedThrough: Int64?,
        given: Int64?,
        faultCount: Int,
        faults: [Fault]
    ) {
        intact = faultCount == 0
        self.events = events
        self.last = last
        self.head = head
        self.prunedThrough = prunedThrough
        self.given = given
        self.faultCount = faultCount
        self.faults = faults
    }
}

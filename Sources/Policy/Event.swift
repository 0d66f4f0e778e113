/// One thing that happened: what the ledger records, what becomes of the plan, and what the audit
/// trail says all follow from it.
public enum Event: Hashable, Sendable {
    /// A request was granted: all its grants are live.
    case opened(AccessRequest)
    /// A live grant ended; `by` is nil where nobody asked for it.
    case ended(Grant.ID, EndReason, at: Timestamp, by: Person?)
    /// The end of a live grant was moved.
    case extended(Grant.ID, from: GrantEnd, until: GrantEnd, by: Person)
    /// The kernel did not take an extension: a live grant ends as it did before.
    case takenBack(Grant.ID, until: GrantEnd)
    /// The wall clock was set forward: a live grant ends sooner by the clock since boot.
    case shortened(Grant.ID, deadline: BootTime)
    /// A live grant of an earlier boot goes on in this one; nothing for the audit trail.
    case carriedOver(Grant.ID, deadline: BootTime)
    /// Something to be known that changes no grant.
    case noted(Notice)

    /// Whether it only takes access away, or nothing: then it takes effect even where it cannot be
    /// recorded.
    public var onlyTakesAway: Bool {
        switch self {
        case .ended, .takenBack, .shortened, .noted: true
        case .opened, .extended, .carriedOver: false
        }
    }
}

/// Something the audit trail tells that is no change of a grant.
public struct Notice: Hashable, Sendable {
    /// What happened.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// The agent has armed the gate and begins to serve, or ends.
        case started = "agent-started"
        case stopped = "agent-stopped"
        /// Policies and roles were read and are in force, or were refused.
        case configurationLoaded = "configuration-loaded"
        case configurationRefused = "configuration-refused"
        /// Somebody was refused: by policy, or for want of a role.
        case refused
        /// A delegate was refused: who it may not speak for, or a login that is too old.
        case delegateRefused = "delegate-refused"
        /// A break-glass source opened connections.
        case breakGlassUsed = "break-glass-used"
        /// Another process changed the gate, which was then made anew.
        case gateTampered = "gate-tampered"
        /// What was recorded before is no longer in the ledger.
        case ledgerRowsLost = "ledger-rows-lost"
    }

    /// What happened.
    public var kind: Kind
    /// Who did it; nil for the agent.
    public var by: Person?
    /// The policies it is about, as they were named.
    public var policy: String?
    /// The sources it is about, as they were named.
    public var source: String?
    /// Why, in the words of who did it.
    public var reason: String?
    /// What else there is to know, for people.
    public var detail: String?

    /// Takes the parts.
    public init(
        _ kind: Kind,
        by: Person? = nil,
        policy: String? = nil,
        source: String? = nil,
        reason: String? = nil,
        detail: String? = nil
    ) {
        self.kind = kind
        self.by = by
        self.policy = policy
        self.source = source
        self.reason = reason
        self.detail = detail
    }
}

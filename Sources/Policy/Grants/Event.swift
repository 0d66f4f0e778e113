/// One thing that happened: what the ledger records, what becomes of the plan, and what the audit
/// trail says all follow from it.
public enum Event: Hashable, Sendable {
    /// A request was made that waits: for others to agree, or for its start.
    case asked(WaitingRequest)
    /// Somebody agreed to a waiting request, which is then pending, scheduled or about to open;
    /// nobody where a policy that was changed asks for no more approvals.
    case approved(Int64, Approval?, then: RequestState)
    /// A waiting request came to nothing: denied, cancelled, lapsed or failed; `by` is nil for the
    /// agent.
    case concluded(Int64, RequestState, at: Timestamp, by: Person?, reason: String?)
    /// A request was granted: all its grants are live.
    case opened(AccessRequest)
    /// A live grant ended; `by` is nil where nobody asked for it.
    case ended(Grant.ID, EndReason, at: Timestamp, by: Person?, Grounds = Grounds())
    /// The end of a live grant was moved.
    case extended(Grant.ID, from: GrantEnd, until: GrantEnd, by: Person, Grounds = Grounds())
    /// The kernel did not take an extension: a live grant ends as it did before.
    case takenBack(Grant.ID, until: GrantEnd)
    /// The wall clock was set forward: a live grant ends sooner by the clock since boot.
    case shortened(Grant.ID, deadline: BootTime)
    /// So much is known of how a grant was used; of one that has ended, it is all there is to know.
    /// Nothing for the audit trail.
    case used(Grant.ID, GrantUse, isFinal: Bool)
    /// A live grant of an earlier boot goes on in this one; nothing for the audit trail.
    case carriedOver(Grant.ID, deadline: BootTime)
    /// Something to be known that changes neither request nor grant.
    case noted(Notice)

    /// Whether it only takes access away, or nothing: then it takes effect even where it cannot be
    /// recorded.
    public var onlyTakesAway: Bool {
        switch self {
        case .ended, .takenBack, .shortened, .used, .noted: true
        case .asked, .approved, .concluded, .opened, .extended, .carriedOver: false
        }
    }

    /// Whether it changes what is open, and so concerns the kernel.
    public var changesGrants: Bool {
        switch self {
        case .asked, .approved, .concluded, .used, .noted: false
        case .opened, .ended, .extended, .takenBack, .shortened, .carriedOver: true
        }
    }
}

/// Something the audit trail tells that is no change of a grant.
public struct Notice: Hashable, Sendable {
    /// What happened.
    public var kind: AuditKind
    /// Who did it; nil for the agent.
    public var by: Person?
    /// The grant it is about.
    public var grant: Grant?
    /// The policies it is about, as they were named.
    public var policy: String?
    /// The ports it is about.
    public var port: String?
    /// The host behind this machine that they are of; that of the grant where there is one.
    public var host: IPAddress?
    /// The sources it is about, as they were named.
    public var source: String?
    /// Why, in the words of who did it.
    public var reason: String?
    /// What else there is to know, for people.
    public var detail: String?

    /// Takes the parts.
    public init(
        _ kind: AuditKind,
        by: Person? = nil,
        about grant: Grant? = nil,
        policy: String? = nil,
        port: String? = nil,
        host: IPAddress? = nil,
        source: String? = nil,
        reason: String? = nil,
        detail: String? = nil
    ) {
        self.kind = kind
        self.by = by
        self.grant = grant
        self.policy = policy
        self.port = port
        self.host = host ?? grant?.host
        self.source = source
        self.reason = reason
        self.detail = detail
    }
}

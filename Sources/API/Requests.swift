public import Policy

/// Somebody, as the audit trail knows them.
public struct WhoDocument: Codable, Hashable, Sendable {
    /// Who it is, for good: `unix:1000`, or `oidc:ISSUER:ID`.
    public var subject: Subject
    /// What people call them.
    public var name: String
    /// The user id; absent for a remote person.
    public var uid: UInt32?
    /// The process that asked; absent for a remote person, and where it is not recorded.
    public var pid: Int32?
    /// Who began the session that the process belongs to, where it was somebody else: who called
    /// `sudo`.
    public var login: String?
    /// The delegate that speaks for a remote person.
    public var via: String?
    /// The address that a remote person comes from.
    public var address: IPAddress?
    /// The session of a remote person at the delegate.
    public var session: String?

    /// Somebody as recorded.
    public init(_ person: Person) {
        subject = person.subject
        name = person.name
        uid = person.subject.uid
        via = person.via
        switch person.origin {
        case .process(let process):
            pid = process.pid
            login = process.login.flatMap { $0.uid == uid ? nil : $0.name }
        case .client(let address, let session):
            self.address = address
            self.session = session
        }
    }
}

/// One request, as `GET /v1/requests/{id}` shows it.
public struct RequestDocument: Codable, Hashable, Sendable {
    /// The id, a number.
    public var id: String
    /// What has become of it.
    public var state: RequestState
    /// Who asked.
    public var requester: WhoDocument
    /// Why, in the requester's words; absent where none was given.
    public var reason: String?
    /// The ticket it is for; absent where none was given.
    public var ticket: String?
    /// How long it is open, or is to be: `45m`; as asked, shortened by who approved it, and
    /// lengthened by extensions.
    public var duration: String
    /// Counts what became of it while it waited, from 1.
    public var revision: Int
    /// When it was asked.
    public var createdAt: Timestamp
    /// The start that was asked for; absent where none was.
    public var startsAt: Timestamp?
    /// When it lapses if too few agree; absent where it is not pending.
    public var pendingUntil: Timestamp?
    /// When policy decided, or people did; absent as long as it is pending.
    public var decidedAt: Timestamp?
    /// Who decided last; absent where nobody was asked.
    public var decidedBy: WhoDocument?
    /// Why it was denied, or ended, in the words of who did it; absent where nothing was said.
    public var decision: String?
    /// Who agreed, in this order.
    public var approvals: [ApprovalDocument]
    /// How many must agree under each policy that asks for it; absent where none does, and where
    /// the request waits no more.
    public var needs: [NeedDocument]?
    /// The request whose grants it lengthens; absent where it has grants of its own.
    public var extends: String?
    /// The grants, in the order of their ids; of an extension those that it lengthens.
    public var grants: [GrantDocument]
    /// The requester's grants for the same ports and sources that it ended, which it may have
    /// shortened; absent but in the answer to the request itself.
    public var superseded: [SupersededDocument]?

    /// Makes it of its parts.
    public init(
        id: String,
        state: RequestState,
        requester: WhoDocument,
        reason: String?,
        ticket: String?,
        duration: String,
        revision: Int = 1,
        createdAt: Timestamp,
        startsAt: Timestamp? = nil,
        pendingUntil: Timestamp? = nil,
        decidedAt: Timestamp?,
        decidedBy: WhoDocument? = nil,
        decision: String? = nil,
        approvals: [ApprovalDocument] = [],
        needs: [NeedDocument]? = nil,
        extends: String? = nil,
        grants: [GrantDocument],
        superseded: [SupersededDocument]? = nil
    ) {
        self.id = id
        self.state = state
        self.requester = requester
        self.reason = reason
        self.ticket = ticket
        self.duration = duration
        self.revision = revision
        self.createdAt = createdAt
        self.startsAt = startsAt
        self.pendingUntil = pendingUntil
        self.decidedAt = decidedAt
        self.decidedBy = decidedBy
        self.decision = decision
        self.approvals = approvals
        self.needs = needs
        self.extends = extends
        self.grants = grants
        self.superseded = superseded
    }
}

/// A grant that made room for a newer one of the same requester, port and source.
public struct SupersededDocument: Codable, Hashable, Sendable {
    /// The id of the grant that ended.
    public var id: String
    /// When it would have ended.
    public var expiresAt: Timestamp

    /// Makes it of its parts.
    public init(id: String, expiresAt: Timestamp) {
        self.id = id
        self.expiresAt = expiresAt
    }
}

/// One opening, as `GET /v1/grants` shows it.
public struct GrantDocument: Codable, Hashable, Sendable {
    /// The id; a grant's is that of its request, a point and a number.
    public var id: String
    /// The request this grant belongs to.
    public var request: String
    /// Who asked.
    public var requester: WhoDocument
    /// Why, in the requester's words; absent where none was given.
    public var reason: String?
    /// The name of the policy.
    public var policy: String
    /// The ports that are opened.
    public var port: PortRange
    /// The host behind this machine that they are open on; absent for this machine itself.
    public var host: IPAddress?
    /// The addresses that are let in.
    public var source: CIDR
    /// What has become of it.
    public var state: GrantState
    /// When it was opened; absent where it was not.
    public var startsAt: Timestamp?
    /// When it ends, or would have ended; absent where it did not open.
    public var expiresAt: Timestamp?
    /// When it ended; absent while it is live.
    public var endedAt: Timestamp?
    /// Why it ended; absent while it is live.
    public var endReason: EndReason?
    /// Whole seconds left, rounded down; absent once the grant has ended.
    public var remainingSeconds: Int64?
    /// Packets let in by the grant since it was opened.
    ///
    /// With `sessions: keep` those that opened a connection. Absent where it is not known.
    public var packets: UInt64?
    /// The bytes of those packets.
    public var bytes: UInt64?
    /// When it was first seen to have been used; absent where it was not.
    public var firstUsedAt: Timestamp?
    /// When it was last seen to have been used.
    public var lastUsedAt: Timestamp?
    /// The ids of the sessions that were ended with it; absent where that was not asked for.
    public var cutSessions: [String]?

    /// Makes it of its parts.
    public init(
        id: String,
        request: String,
        requester: WhoDocument,
        reason: String?,
        policy: String,
        port: PortRange,
        host: IPAddress? = nil,
        source: CIDR,
        state: GrantState,
        startsAt: Timestamp?,
        expiresAt: Timestamp?,
        endedAt: Timestamp?,
        endReason: EndReason?,
        remainingSeconds: Int64?,
        packets: UInt64?,
        bytes: UInt64?,
        firstUsedAt: Timestamp? = nil,
        lastUsedAt: Timestamp? = nil,
        cutSessions: [String]? = nil
    ) {
        self.id = id
        self.request = request
        self.requester = requester
        self.reason = reason
        self.policy = policy
        self.port = port
        self.host = host
        self.source = source
        self.state = state
        self.startsAt = startsAt
        self.expiresAt = expiresAt
        self.endedAt = endedAt
        self.endReason = endReason
        self.remainingSeconds = remainingSeconds
        self.packets = packets
        self.bytes = bytes
        self.firstUsedAt = firstUsedAt
        self.lastUsedAt = lastUsedAt
        self.cutSessions = cutSessions
    }
}

/// The answer of `GET /v1/grants`.
public struct GrantList: Codable, Hashable, Sendable {
    /// The grants, those of the newest request first.
    public var grants: [GrantDocument]
    /// The `before` parameter that reads the next page; absent on the last one.
    public var next: String?

    /// Makes an answer.
    public init(grants: [GrantDocument], next: String? = nil) {
        self.grants = grants
        self.next = next
    }
}

/// The answer of `GET /v1/requests`, newest first.
public struct RequestList: Codable, Hashable, Sendable {
    /// The requests of this page.
    public var requests: [RequestDocument]
    /// The `before` parameter that reads the next page; absent on the last one.
    public var next: String?

    /// Makes it of its parts.
    public init(requests: [RequestDocument], next: String?) {
        self.requests = requests
        self.next = next
    }
}

/// Which requests `GET /v1/requests` shows, or which grants `GET /v1/grants` does.
public struct RequestFilter: Hashable, Sendable {
    /// What has become of it.
    public var state: RequestState?
    /// The name of the policy.
    public var policy: String?
    /// A user name.
    public var requester: String?
    /// Only requests older than this id.
    public var before: Int64?
    /// How many at the most: one to 1,000.
    public var limit: Int

    /// Makes it of its parts.
    public init(
        state: RequestState? = nil,
        policy: String? = nil,
        requester: String? = nil,
        before: Int64? = nil,
        limit: Int = 100
    ) {
        self.state = state
        self.policy = policy
        self.requester = requester
        self.before = before
        self.limit = limit
    }
}

/// The body of `POST /v1/requests/{id}/extend`.
public struct ExtendBody: Encodable, Hashable, Sendable {
    /// How much later the grants end: `30m`, `PT30M`.
    public var duration: String
    /// Why.
    public var reason: String?
    /// The ticket the work belongs to.
    public var ticket: String?

    /// Makes it of its parts.
    public init(duration: String, reason: String? = nil, ticket: String? = nil) {
        self.duration = duration
        self.reason = reason
        self.ticket = ticket
    }
}

extension Ask: Encodable {
    private enum CodingKeys: String, CodingKey {
        case targets, sources, duration, until, at, reason, ticket
    }

    /// Writes the body of `POST /v1/requests`.
    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(targets, forKey: .targets)
        try fields.encode(sources, forKey: .sources)
        try fields.encodeIfPresent(duration, forKey: .duration)
        try fields.encodeIfPresent(until, forKey: .until)
        try fields.encodeIfPresent(at, forKey: .at)
        try fields.encodeIfPresent(reason, forKey: .reason)
        try fields.encodeIfPresent(ticket, forKey: .ticket)
    }
}

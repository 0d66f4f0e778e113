/// Where a request or grant stands.
public enum GrantState: String, Codable, Hashable, Sendable, CaseIterable {
    case active, expired, revoked, superseded, failed
}

/// Why a grant ended.
public enum EndReason: String, Codable, Hashable, Sendable, CaseIterable {
    /// Its time was over.
    case expired
    /// Its requester closed it.
    case closedByRequester = "closed-by-requester"
    /// An admin closed it.
    case closedByAdmin = "closed-by-admin"
    /// The same requester asked for the same port and source again.
    case newerRequest = "newer-request"
    /// After a restart it could not be told whether its time was over.
    case clockUntrusted = "clock-untrusted"
    /// The kernel did not take it.
    case kernelRefused = "kernel-refused"
}

/// Who holds a grant.
public struct Requester: Hashable, Sendable {
    /// The user id.
    public var uid: UInt32
    /// The user's name when the request was made.
    public var user: String

    /// Takes an id and its name.
    public init(uid: UInt32, user: String) {
        self.uid = uid
        self.user = user
    }
}

/// A live grant: one opening, by whom and until when.
public struct Grant: Hashable, Sendable, Identifiable {
    /// The number of the request and the place in it, from 1: `17.1`.
    public struct ID: TextForm, Comparable, LosslessStringConvertible {
        /// The number of the request, from 1.
        public var request: Int64
        /// The place in the request, from 1.
        public var ordinal: Int

        /// Takes the number of a request and a place in it.
        public init(request: Int64, ordinal: Int) {
            self.request = request
            self.ordinal = ordinal
        }

        /// Reads `17.1`.
        public init(parsing text: String) throws(ParseError) {
            let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            let canonical = parts.allSatisfy {
                (1...19).contains($0.utf8.count) && $0.first != "0" && $0.first != "+"
            }
            guard canonical, parts.count == 2, let request = Int64(parts[0]), request > 0,
                let ordinal = Int(parts[1]), ordinal > 0
            else { throw ParseError(text, "write the id of a grant like 17.1") }
            self.init(request: request, ordinal: ordinal)
        }

        /// Reads `17.1`; nil for anything else.
        public init?(_ description: String) {
            guard let id = try? Self(parsing: description) else { return nil }
            self = id
        }

        /// The text form.
        public var description: String { "\(request).\(ordinal)" }

        /// By request, then place.
        public static func < (a: Self, b: Self) -> Bool {
            (a.request, a.ordinal) < (b.request, b.ordinal)
        }
    }

    /// The id, unique for ever.
    public let id: ID
    /// The policy that allowed it.
    public var policy: String
    /// The ports that are open.
    public var port: PortRange
    /// The range that is let in.
    public var source: CIDR
    /// Who asked.
    public var requester: Requester
    /// When it opened.
    public var startsAt: Timestamp
    /// When it ends by the wall clock.
    public var expiresAt: Timestamp
    /// When it ends in milliseconds of `CLOCK_BOOTTIME`: it never outlives this either, so that
    /// setting the wall clock back does not lengthen it.
    public var deadline: Int64

    /// Takes the parts of a grant.
    public init(
        id: ID,
        policy: String,
        port: PortRange,
        source: CIDR,
        requester: Requester,
        startsAt: Timestamp,
        expiresAt: Timestamp,
        deadline: Int64
    ) {
        self.id = id
        self.policy = policy
        self.port = port
        self.source = source
        self.requester = requester
        self.startsAt = startsAt
        self.expiresAt = expiresAt
        self.deadline = deadline
    }
}

/// A request that was granted, with what it opens.
public struct AccessRequest: Hashable, Sendable, Identifiable {
    /// The number, from 1.
    public let id: Int64
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
    /// What it opens.
    public var grants: [Grant]

    /// Takes the parts of a request.
    public init(
        id: Int64,
        requester: Requester,
        pid: Int32,
        reason: String?,
        ticket: String?,
        createdAt: Timestamp,
        idempotencyKey: String?,
        grants: [Grant]
    ) {
        self.id = id
        self.requester = requester
        self.pid = pid
        self.reason = reason
        self.ticket = ticket
        self.createdAt = createdAt
        self.idempotencyKey = idempotencyKey
        self.grants = grants
    }
}

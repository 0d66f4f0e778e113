public import Policy

/// One person's yes to a request.
public struct ApprovalDocument: Codable, Hashable, Sendable {
    /// Who agreed.
    public var who: WhoDocument
    /// When.
    public var at: Timestamp
    /// The time the request was shortened to: `30m`; absent where it was left as it was.
    public var duration: String?

    /// Makes it of its parts.
    public init(who: WhoDocument, at: Timestamp, duration: String? = nil) {
        self.who = who
        self.at = at
        self.duration = duration
    }

    /// An approval as it is recorded.
    public init(_ approval: Approval) {
        self.init(
            who: WhoDocument(approval.by),
            at: approval.at,
            duration: approval.duration?.compactDescription
        )
    }
}

/// How many must agree to a request under one policy, and how many have.
public struct NeedDocument: Codable, Hashable, Sendable {
    /// The name of the policy.
    public var policy: String
    /// How many must agree.
    public var approvals: Int
    /// How many have.
    public var given: Int
    /// Who of the approvers may answer; absent where all may.
    public var approvers: [String]?

    /// Makes it of its parts.
    public init(policy: String, approvals: Int, given: Int, approvers: [String]? = nil) {
        self.policy = policy
        self.approvals = approvals
        self.given = given
        self.approvers = approvers
    }

    /// A need as policy tells it.
    public init(_ need: Need) {
        self.init(
            policy: need.policy,
            approvals: need.approvals,
            given: need.given,
            approvers: need.approvers?.map(\.description)
        )
    }
}

/// The body of `POST /v1/requests/{id}/approve`; it may be left out.
public struct ApproveBody: Encodable, Hashable, Sendable {
    /// The time to shorten the request to; nil to leave it as it is.
    public var duration: String?
    /// The `revision` that was read; nil to approve whatever the request is now.
    public var revision: Int?

    /// Makes it of its parts.
    public init(duration: String? = nil, revision: Int? = nil) {
        self.duration = duration
        self.revision = revision
    }
}

/// The body of `POST /v1/requests/{id}/revoke`; it may be left out.
public struct RevokeBody: Encodable, Hashable, Sendable {
    /// Why, for the requester; nil where nothing is said.
    public var reason: String?
    /// Whether the sessions end, too, that the grants let in.
    public var cut: Bool

    /// Makes it of its parts.
    public init(reason: String? = nil, cut: Bool = false) {
        self.reason = reason
        self.cut = cut
    }
}

/// The body of `POST /v1/requests/{id}/deny`.
public struct DenyBody: Encodable, Hashable, Sendable {
    /// Why, for the requester.
    public var reason: String

    /// Makes it of its parts.
    public init(reason: String) { self.reason = reason }
}

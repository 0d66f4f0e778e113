public import Policy

/// Something that `GET /v1/events` tells.
public enum StreamedEvent: Hashable, Sendable {
    /// An event of the audit trail; its number, its kind and its JSON form.
    case recorded(Int64, kind: String, json: [UInt8])
    /// A grant ends soon; the JSON form of an ``EndingDocument``.
    case endingSoon(json: [UInt8])
    /// Nothing happened for a while.
    case stillThere

    /// An event of the audit trail.
    public init(_ row: AuditRow) {
        self = .recorded(row.sequence, kind: row.event, json: JSONWriter.text(of: row))
    }

    /// A grant that ends soon.
    public init(_ ending: EndingDocument) { self = .endingSoon(json: JSONWriter.text(of: ending)) }
}

/// A grant that ends soon.
public struct EndingDocument: Codable, Hashable, Sendable {
    /// The id of the grant.
    public var grant: String
    /// The id of its request.
    public var request: String
    /// Who asked.
    public var requester: Subject
    /// What people call them.
    public var requesterName: String
    /// The name of the policy.
    public var policy: String
    /// The ports that are open.
    public var port: PortRange
    /// The addresses that are let in.
    public var source: CIDR
    /// When it ends.
    public var expiresAt: Timestamp
    /// Whole seconds until then, rounded down.
    public var remainingSeconds: Int64

    /// Tells of a grant.
    public init(_ grant: Grant, remainingSeconds: Int64) {
        self.grant = grant.id.description
        request = String(grant.id.request)
        requester = grant.requester.subject
        requesterName = grant.requester.name
        policy = grant.policy
        port = grant.port
        source = grant.source
        expiresAt = grant.end.expiresAt
        self.remainingSeconds = remainingSeconds
    }
}

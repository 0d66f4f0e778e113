public import Policy

/// Something that `GET /v1/events` tells, as it is sent: a server-sent event (WHATWG HTML, section
/// 9.2), made once for all who hear of it.
public struct StreamedEvent: Hashable, Sendable {
    /// The lines, with the empty one behind them.
    public let lines: [UInt8]

    /// Nothing happened for a while: a comment.
    public static let stillThere = StreamedEvent(lines: Array(":\n\n".utf8))

    private init(lines: [UInt8]) { self.lines = lines }

    /// An event of the audit trail.
    public init(_ row: AuditRow) {
        lines =
            Array("id: \(row.sequence)\nevent: \(row.event)\ndata: ".utf8)
            + JSONWriter.text(of: row) + Array("\n\n".utf8)
    }

    /// A grant that ends soon.
    public init(_ ending: EndingDocument) {
        lines =
            Array("event: ending-soon\ndata: ".utf8) + JSONWriter.text(of: ending)
            + Array("\n\n".utf8)
    }
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
    /// The host behind this machine that they are open on; absent for this machine itself.
    public var host: IPAddress?
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
        host = grant.host
        source = grant.source
        expiresAt = grant.end.expiresAt
        self.remainingSeconds = remainingSeconds
    }
}

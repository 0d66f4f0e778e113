public import Policy

/// Some events of the audit trail, newest first, as `GET /v1/audit` shows them.
public struct AuditPage: Codable, Hashable, Sendable {
    /// The events.
    public var events: [AuditRow]
    /// What `before` is for the next page; absent on the last.
    public var next: String?

    /// Takes a page, and where the next one begins.
    public init(events: [AuditRow], next: String?) {
        self.events = events
        self.next = next
    }
}

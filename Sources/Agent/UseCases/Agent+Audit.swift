public import API
public import Access
import Ledger
public import Policy

extension Agent {
    /// Events of the audit trail, newest first.
    public func audit(_ filter: AuditFilter, for caller: Caller) async throws -> AuditPage {
        var filter = filter
        filter.scope = caller.auditScope
        let events = try await reading { [filter] () throws(LedgerError) in
            try await ledger.audit(filter)
        }
        let isLast = events.count < filter.limit
        return AuditPage(events: events, next: isLast ? nil : events.last.map { "\($0.sequence)" })
    }

    /// All events of the audit trail that meet a filter, oldest first.
    public func allAudit(_ filter: AuditFilter, for caller: Caller) async throws -> AuditRows {
        var filter = filter
        filter.scope = caller.auditScope
        return ledger.allAudit(filter, isUnbroken: true)
    }

    /// Goes through the whole audit trail.
    public func verifyAudit(head: String?, for caller: Caller) async throws -> AuditVerification {
        try await reading { () throws(LedgerError) in try await ledger.verify(head: head) }
    }

    /// What is recorded from now on, or after an event, and which grants end soon.
    public func events(after: Int64?, for caller: Caller) async throws -> StreamedEvents {
        try await feed.listen(
            after: after,
            scope: caller.auditScope,
            person: caller.identity.subject
        )
    }
}

extension Caller {
    /// Who only is a requester sees what concerns them, and a delegate's people only what is under
    /// its policies.
    var auditScope: AuditScope {
        AuditScope(
            subject: maySeeAll ? nil : identity.subject,
            policies: identity.via?.policies
        )
    }
}

import API
import Ledger
import Policy

extension RequestDocument {
    /// A request that is about to open.
    init(_ request: AccessRequest, superseding older: [Grant], at now: Moment) {
        let requester = WhoDocument(request.requester)
        self.init(
            id: "\(request.id)",
            state: .active,
            requester: requester,
            reason: request.ask.reason,
            ticket: request.ask.ticket,
            createdAt: request.createdAt,
            decidedAt: request.createdAt,
            grants: request.grants.map { grant in
                GrantDocument(
                    of: grant,
                    by: requester,
                    reason: request.ask.reason,
                    state: .active,
                    remainingSeconds: grant.end.remainingSeconds(at: now),
                    packets: 0,
                    bytes: 0
                )
            },
            superseded: older.isEmpty
                ? nil
                : older.map {
                    SupersededDocument(id: "\($0.id)", expiresAt: $0.end.expiresAt)
                }
        )
    }

    /// A request as the ledger has it, without what only the kernel knows.
    init(_ stored: StoredRequest, at now: Moment) {
        self.init(
            id: "\(stored.id)",
            state: stored.state,
            requester: WhoDocument(stored.requester),
            reason: stored.ask.reason,
            ticket: stored.ask.ticket,
            createdAt: stored.createdAt,
            decidedAt: stored.decidedAt ?? stored.createdAt,
            grants: stored.grants.map { GrantDocument($0, at: now) }
        )
    }
}

extension GrantDocument {
    /// A grant as the ledger has it, without what only the kernel knows.
    init(_ stored: StoredGrant, at now: Moment) {
        self.init(
            of: stored.grant,
            by: WhoDocument(stored.requester),
            reason: stored.reason,
            state: stored.state,
            endedAt: stored.endedAt,
            endReason: stored.endReason,
            remainingSeconds: stored.state == .active
                ? stored.grant.end.remainingSeconds(at: now) : nil
        )
    }

    fileprivate init(
        of grant: Grant,
        by requester: WhoDocument,
        reason: String?,
        state: GrantState,
        endedAt: Timestamp? = nil,
        endReason: EndReason? = nil,
        remainingSeconds: Int64?,
        packets: UInt64? = nil,
        bytes: UInt64? = nil
    ) {
        self.init(
            id: "\(grant.id)",
            request: "\(grant.id.request)",
            requester: requester,
            reason: reason,
            policy: grant.policy,
            port: grant.port,
            source: grant.source,
            state: state,
            startsAt: grant.startsAt,
            expiresAt: grant.end.expiresAt,
            endedAt: endedAt,
            endReason: endReason,
            remainingSeconds: remainingSeconds,
            packets: packets,
            bytes: bytes
        )
    }
}

extension GrantEnd {
    /// Whole seconds until the earlier of both ends, rounded down.
    func remainingSeconds(at now: Moment) -> Int64 {
        max(.zero, min(deadline - now.boot, expiresAt - now.wall)).components.seconds
    }
}

import API
import Ledger
import Policy

extension RequestDocument {
    /// A request that has just opened.
    init(_ request: AccessRequest, at now: Moment) {
        let requester = RequesterDocument(
            uid: request.requester.uid,
            user: request.requester.user,
            pid: request.pid
        )
        self.init(
            id: "\(request.id)",
            state: .active,
            requester: requester,
            reason: request.reason,
            ticket: request.ticket,
            createdAt: request.createdAt,
            decidedAt: request.createdAt,
            grants: request.grants.map { grant in
                GrantDocument(
                    id: "\(grant.id)",
                    request: "\(request.id)",
                    requester: requester,
                    reason: request.reason,
                    policy: grant.policy,
                    port: grant.port,
                    source: grant.source,
                    state: .active,
                    startsAt: grant.startsAt,
                    expiresAt: grant.expiresAt,
                    endedAt: nil,
                    endReason: nil,
                    remainingSeconds: max(0, grant.deadline - now.boot) / 1000,
                    packets: 0,
                    bytes: 0
                )
            }
        )
    }
}

extension GrantDocument {
    /// A grant as the ledger has it, without what only the kernel knows.
    init(_ stored: StoredGrant) {
        let grant = stored.grant
        self.init(
            id: "\(grant.id)",
            request: "\(grant.id.request)",
            requester: RequesterDocument(
                uid: grant.requester.uid,
                user: grant.requester.user,
                pid: stored.pid
            ),
            reason: stored.reason,
            policy: grant.policy,
            port: grant.port,
            source: grant.source,
            state: stored.state,
            startsAt: grant.startsAt,
            expiresAt: grant.expiresAt,
            endedAt: stored.endedAt,
            endReason: stored.endReason,
            remainingSeconds: nil,
            packets: nil,
            bytes: nil
        )
    }
}

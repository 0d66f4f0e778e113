import API
import Ledger
import Policy

extension RequestDocument {
    /// A request that is about to open.
    init(_ request: AccessRequest, superseding older: [Grant], at now: Moment) {
        let requester = WhoDocument(request.requester)
        let wait = request.wait
        self.init(
            id: "\(request.id)",
            state: .active,
            requester: requester,
            reason: request.ask.reason,
            ticket: request.ask.ticket,
            duration: request.grants.duration.compactDescription,
            revision: wait?.revision ?? 1,
            createdAt: request.createdAt,
            startsAt: wait?.startsAt,
            decidedAt: wait == nil ? request.createdAt : now.wall,
            decidedBy: wait?.approvals.last.map { WhoDocument($0.by) },
            approvals: wait?.approvals.map(ApprovalDocument.init) ?? [],
            grants: request.grants.map { grant in
                GrantDocument(
                    of: grant,
                    by: requester,
                    reason: request.ask.reason,
                    state: .active,
                    remainingSeconds: grant.end.remainingSeconds(at: now),
                    use: GrantUse()
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
    init(_ stored: StoredRequest, needs: [Need] = [], at now: Moment) {
        let wait = stored.wait
        let decider =
            switch stored.state {
            case .pending: nil as Person?
            case .denied, .cancelled, .lapsed: stored.decidedBy
            default: wait?.approvals.last?.by
            }
        let isUnopened = wait.map { !$0.openings.isEmpty && $0.extends == nil } ?? false
        self.init(
            id: "\(stored.id)",
            state: stored.state,
            requester: WhoDocument(stored.requester),
            reason: stored.ask.reason,
            ticket: stored.ask.ticket,
            duration: (wait.flatMap { isUnopened || $0.extends != nil ? $0.duration : nil }
                ?? stored.grants.map(\.grant).duration).compactDescription,
            revision: wait?.revision ?? 1,
            createdAt: stored.createdAt,
            startsAt: wait?.startsAt,
            pendingUntil: stored.state == .pending ? wait?.pendingUntil : nil,
            decidedAt: wait == nil ? stored.decidedAt ?? stored.createdAt : stored.decidedAt,
            decidedBy: decider.map(WhoDocument.init),
            decision: stored.decision,
            approvals: wait?.approvals.map(ApprovalDocument.init) ?? [],
            needs: needs.isEmpty ? nil : needs.map(NeedDocument.init),
            extends: wait?.extends.map(String.init),
            grants: isUnopened
                ? GrantDocument.unopened(of: stored)
                : stored.grants.map { GrantDocument($0, at: now) }
        )
    }

    /// A request that waits.
    init(_ request: WaitingRequest, needs: [Need], at now: Moment) {
        self.init(StoredRequest(request), needs: needs, at: now)
    }

    /// A request that waits, as what becomes of it just now.
    ///
    /// - Parameters:
    ///   - request: The request with the approval that was given.
    ///   - extended: The request that it lengthens, as the ledger has it.
    ///   - needs: The approvals that it takes.
    ///   - outcome: What becomes of it.
    ///   - now: When.
    init(
        _ request: WaitingRequest,
        _ extended: StoredRequest?,
        needs: [Need],
        _ outcome: Outcome,
        at now: Moment
    ) {
        var stored = StoredRequest(request, lengthening: extended?.grants ?? [])
        switch outcome {
        case .waits: self.init(stored, needs: needs, at: now)
        case .scheduled:
            stored.decidedAt = now.wall
            self.init(stored, needs: needs, at: now)
        case .opened(let opened, let older): self.init(opened, superseding: older, at: now)
        case .extended:
            stored.state = .active
            stored.decidedAt = now.wall
            self.init(stored, at: now)
        case .concluded(let state, let reason):
            stored.conclude(state, by: nil, reason: reason, at: now.wall)
            self.init(stored, at: now)
        }
    }
}

extension StoredRequest {
    /// A request that waits, as the ledger will have it.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - grants: Those that it is to lengthen.
    init(_ request: WaitingRequest, lengthening grants: [StoredGrant] = []) {
        self.init(
            id: request.id,
            state: request.wait.state,
            requester: request.requester,
            ask: request.ask,
            createdAt: request.createdAt,
            decidedAt: request.wait.state == .scheduled
                ? request.wait.approvals.last?.at ?? request.createdAt : nil,
            idempotencyKey: request.idempotencyKey,
            grants: grants
        )
        wait = request.wait
    }

    /// Makes it a request that came to nothing.
    mutating func conclude(
        _ state: RequestState,
        by person: Person?,
        reason: String?,
        at now: Timestamp
    ) {
        self.state = state
        decidedAt = now
        decidedBy = person
        decision = reason
    }
}

extension [Grant] {
    /// How long the longest is from its beginning to its end.
    fileprivate var duration: Duration {
        map { $0.end.expiresAt - $0.startsAt }.max() ?? .zero
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
                ? stored.grant.end.remainingSeconds(at: now) : nil,
            use: stored.use
        )
    }

    /// What a request is to open, or was to.
    fileprivate static func unopened(of stored: StoredRequest) -> [GrantDocument] {
        let requester = WhoDocument(stored.requester)
        return (stored.wait?.openings ?? []).enumerated().map { index, opening in
            GrantDocument(
                id: "\(Grant.ID(request: stored.id, ordinal: index + 1))",
                request: "\(stored.id)",
                requester: requester,
                reason: stored.ask.reason,
                policy: opening.policy,
                port: opening.port,
                host: opening.host,
                source: opening.source,
                state: stored.state,
                startsAt: nil,
                expiresAt: nil,
                endedAt: nil,
                endReason: nil,
                remainingSeconds: nil,
                packets: nil,
                bytes: nil
            )
        }
    }

    fileprivate init(
        of grant: Grant,
        by requester: WhoDocument,
        reason: String?,
        state: GrantState,
        endedAt: Timestamp? = nil,
        endReason: EndReason? = nil,
        remainingSeconds: Int64?,
        use: GrantUse?
    ) {
        self.init(
            id: "\(grant.id)",
            request: "\(grant.id.request)",
            requester: requester,
            reason: reason,
            policy: grant.policy,
            port: grant.port,
            host: grant.host,
            source: grant.source,
            state: state,
            startsAt: grant.startsAt,
            expiresAt: grant.end.expiresAt,
            endedAt: endedAt,
            endReason: endReason,
            remainingSeconds: remainingSeconds,
            packets: use?.traffic.packets,
            bytes: use?.traffic.bytes,
            firstUsedAt: use?.firstAt,
            lastUsedAt: use?.lastAt
        )
    }
}

extension GrantEnd {
    /// Whole seconds until the earlier of both ends, rounded down.
    func remainingSeconds(at now: Moment) -> Int64 {
        max(.zero, min(deadline - now.boot, expiresAt - now.wall)).components.seconds
    }
}

import API
import Ledger
import Policy
import Settings
import Server

extension Agent {
    /// Opens what is asked for, all of it or nothing.
    func open(
        _ ask: Ask,
        idempotencyKey: String?,
        by caller: Caller
    ) async throws -> RequestDocument {
        let answer = try await commit(closesOnly: false) { agent, now throws(Problem) in
            try agent.open(ask, idempotencyKey: idempotencyKey, by: caller.identity, at: now)
        }
        switch answer {
        case .opened(let request):
            return RequestDocument(request, at: clocks.now())
        case .openedBefore(let id):
            let request = try await self.request(id: id, for: caller)
            guard request.state != .failed else {
                throw Problem(
                    .kernelRefused,
                    "request \(id), made with this Idempotency-Key, opened nothing: the kernel "
                        + "refused it; ask again with a new key"
                )
            }
            return request
        }
    }

    private enum Opened: Sendable {
        case opened(AccessRequest)
        /// The request was made before under the same key.
        case openedBefore(Int64)
    }

    private func open(
        _ ask: Ask,
        idempotencyKey: String?,
        by identity: Identity,
        at now: Moment
    ) throws(Problem) -> (Change, Opened) {
        let key = idempotencyKey.map { IdempotencyKey(uid: identity.uid, key: $0) }
        if let key, let id = try earlierRequest(ask, under: key) {
            return (Change(), .openedBefore(id))
        }
        let uid = identity.uid
        let decision = configuration.policySet.decide(
            ask,
            by: identity,
            at: now.wall,
            active: { plan.activeCount(policy: $0, uid: uid) },
            renews: { plan.live(port: $0.port, source: $0.source, uid: uid) != nil }
        )
        switch decision {
        case .notPermitted(let reason):
            throw Problem(.notPermitted, reason)
        case .refused(let violations):
            throw Problem(
                .outsidePolicy,
                Problem.summary(of: violations),
                violations: violations
            )
        case .open(let openings, for: let duration):
            let request = makeRequest(
                ask,
                openings,
                for: duration,
                key: idempotencyKey,
                by: identity,
                at: now
            )
            if let key { keysInCommit.insert(key) }
            return (change(opening: request, ask: ask, at: now.wall), .opened(request))
        }
    }

    private func makeRequest(
        _ ask: Ask,
        _ openings: [Opening],
        for duration: Duration,
        key: String?,
        by identity: Identity,
        at now: Moment
    ) -> AccessRequest {
        let id = nextRequestID
        nextRequestID += 1
        let requester = Requester(uid: identity.uid, user: identity.user)
        return AccessRequest(
            id: id,
            requester: requester,
            pid: identity.pid,
            reason: ask.reason,
            ticket: ask.ticket,
            createdAt: now.wall,
            idempotencyKey: key,
            grants: openings.enumerated().map { index, opening in
                Grant(
                    id: Grant.ID(request: id, ordinal: index + 1),
                    policy: opening.policy,
                    port: opening.port,
                    source: opening.source,
                    requester: requester,
                    startsAt: now.wall,
                    expiresAt: now.wall + duration,
                    deadline: now.boot + duration.wholeMilliseconds
                )
            }
        )
    }

    /// Opens a request's grants in place of those the requester holds for the same port and source.
    private func change(opening request: AccessRequest, ask: Ask, at now: Timestamp) -> Change {
        var change = Change()
        for grant in request.grants {
            guard
                let older = plan.live(
                    port: grant.port,
                    source: grant.source,
                    uid: grant.requester.uid
                )
            else { continue }
            change.ledger.append(.end(older, .superseded, .newerRequest, at: now, by: nil))
            change.grants.append(.close(older))
        }
        change.ledger.append(.record(request, ask: ask.canonicalText))
        change.grants += request.grants.map(GrantChange.open)
        return change
    }

    /// The number of the request this one repeats; nil where it repeats none.
    private func earlierRequest(
        _ ask: Ask,
        under key: IdempotencyKey
    ) throws(Problem) -> Int64? {
        guard (1...128).contains(key.key.utf8.count) else {
            throw Problem(.badRequest, "cannot use this Idempotency-Key: it must be 1 to 128 bytes")
        }
        guard !keysInCommit.contains(key) else {
            throw Problem(
                .idempotencyConflict,
                "a request with this Idempotency-Key is on its way; repeat it when it is answered"
            )
        }
        let earlier: KeyedRequest?
        do {
            earlier = try ledger.keyedRequest(uid: key.uid, idempotencyKey: key.key)
        } catch {
            throw Problem(.ledgerUnavailable, "nothing was opened: \(error)")
        }
        guard earlier == nil || earlier?.ask == ask.canonicalText else {
            throw Problem(
                .idempotencyConflict,
                "this Idempotency-Key was used for another request; use a new one for a new request"
            )
        }
        return earlier?.id
    }
}

extension Ask {
    /// What was asked, in a form in which two requests are the same if and only if they are.
    fileprivate var canonicalText: String {
        "\([targets, sources, [duration, until, reason, ticket].map { $0 ?? "\0" }])"
    }
}

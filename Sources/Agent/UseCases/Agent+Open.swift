import API
public import Access
import Ledger
public import Policy
import Settings

extension Agent {
    /// Opens what is asked for, all of it or nothing.
    public func open<Answer: Sendable>(
        _ ask: Ask,
        idempotencyKey: String?,
        by caller: Caller,
        render: @escaping @Sendable (Opened) throws -> Answer
    ) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            Task(executorPreference: committer.executor) {
                await self.committer.run {
                    self.open(ask, idempotencyKey: idempotencyKey, by: caller) { opened in
                        let answer = try render(opened)
                        return { continuation.resume(returning: answer) }
                    } fail: {
                        continuation.resume(throwing: $0)
                    }
                }
            }
        }
    }

    /// Opens what is asked for; to be called on the committer's thread.
    ///
    /// Nothing here is generic: types that are made while the program runs took a tenth of the time
    /// of a request.
    public func open(
        _ ask: Ask,
        idempotencyKey: String?,
        by caller: Caller,
        render: @escaping @Sendable (Opened) throws -> @Sendable () -> Void,
        fail: @escaping @Sendable (any Error) -> Void
    ) {
        committer.assumeIsolated { committer in
            committer.submit { [self] committer, now throws(Problem) in
                try decide(ask, idempotencyKey, caller.identity, committer, now, render)
            } reply: { [self] (result: Result<Reply, any Error>) in
                switch result {
                case .success(.opened(let give)): give()
                case .failure(let error): fail(error)
                case .success(.openedBefore(let id)):
                    Task(executorPreference: committer.executor) {
                        do {
                            try await self.answered(id, for: caller, render)()
                        } catch {
                            fail(error)
                        }
                    }
                }
            }
        }
    }

    private enum Reply: Sendable {
        /// Gives the answer.
        case opened(@Sendable () -> Void)
        /// The request was made before under the same key.
        case openedBefore(Int64)
    }

    /// The answer to the earlier request that this one repeats.
    private func answered(
        _ id: Int64,
        for caller: Caller,
        _ render: (Opened) throws -> @Sendable () -> Void
    ) async throws -> @Sendable () -> Void {
        let request = try await self.request(id: id, for: caller)
        guard request.state != .failed else {
            throw Problem(
                .kernelRefused,
                "request \(id), made with this Idempotency-Key, opened nothing: the kernel "
                    + "refused it; ask again with a new key"
            )
        }
        return try render(Opened(request: request, isNew: false))
    }

    private func decide(
        _ ask: Ask,
        _ idempotencyKey: String?,
        _ identity: Identity,
        _ committer: isolated Committer,
        _ now: Moment,
        _ render: @escaping @Sendable (Opened) throws -> @Sendable () -> Void
    ) throws(Problem) -> Submission<Reply> {
        let subject = identity.subject
        if let idempotencyKey {
            let key = Committer.IdempotencyKey(subject: subject, key: idempotencyKey)
            guard !committer.isOnItsWay(key) else { return .postponed }
            if let id = try earlierRequest(ask, under: key) {
                return Submission(events: []) { .openedBefore(id) }
            }
        }
        switch committer.decision(on: ask, by: identity, at: now) {
        case .notPermitted(let reason):
            let problem = Problem(.notPermitted, reason)
            return refusal(of: ask, by: identity, problem, committer, now)
        case .refused(let violations):
            let problem = Problem(outside: violations)
            return refusal(of: ask, by: identity, problem, committer, now)
        case .open(let openings, let duration, let start):
            guard start == nil, !committer.configuration.policySet.takeApprovals(openings) else {
                if let problem = committer.refusalToWait(for: identity) {
                    return refusal(of: ask, by: identity, problem, committer, now)
                }
                let (waiting, needs) = committer.waiting(
                    ask,
                    openings,
                    for: duration,
                    from: start,
                    by: identity,
                    at: now,
                    idempotencyKey: idempotencyKey
                )
                return Submission(events: [.asked(waiting)]) {
                    let document = RequestDocument(waiting, needs: needs, at: now)
                    return .opened(try render(Opened(request: document, isNew: true)))
                }
            }
            let request = AccessRequest(
                id: committer.takeRequestID(),
                requester: identity.person,
                ask: ask,
                createdAt: now.wall,
                idempotencyKey: idempotencyKey,
                grants: []
            )
            let (opened, older) = committer.opened(request, openings, for: duration, at: now)
            return Submission(events: .opening(opened, superseding: older, at: now)) {
                let document = RequestDocument(opened, superseding: older, at: now)
                return .opened(try render(Opened(request: document, isNew: true)))
            }
        }
    }

    /// Nothing opens, and the audit trail says so.
    private func refusal(
        of ask: Ask,
        by identity: Identity,
        _ problem: Problem,
        _ committer: isolated Committer,
        _ now: Moment
    ) -> Submission<Reply> {
        committer.countRefusal()
        let notice = Notice(
            .refused,
            by: identity.person,
            policy: printable(ask.targets.joined(separator: " ")),
            source: printable(ask.sources.joined(separator: " ")),
            reason: ask.reason.map(printable),
            detail: problem.violations?.text ?? problem.detail
        )
        return Submission(events: committer.noting(notice, at: now)) { throw problem }
    }

    /// The number of the request this one repeats; nil where it repeats none.
    private func earlierRequest(
        _ ask: Ask,
        under key: Committer.IdempotencyKey
    ) throws(Problem) -> Int64? {
        let earlier: KeyedRequest?
        do {
            earlier = try ledger.keyedRequest(subject: key.subject, idempotencyKey: key.key)
        } catch {
            throw Problem(.ledgerUnavailable, "nothing was opened: \(error)")
        }
        guard earlier == nil || earlier?.ask == ask else {
            throw Problem(
                .idempotencyConflict,
                "this Idempotency-Key was used for another request; use a new one for a new request"
            )
        }
        return earlier?.id
    }
}

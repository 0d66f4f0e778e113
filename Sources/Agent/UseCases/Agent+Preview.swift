public import API
public import Access
public import Policy
import Settings

extension Agent {
    /// What would be opened if it was asked for now; nothing changes, and nothing is recorded.
    public func preview(_ ask: Ask, for caller: Caller) async throws -> PreviewDocument {
        try await committer.preview(ask, by: caller.identity)
    }
}

extension Committer {
    /// What policy says to a request, with what is live now.
    func decision(on ask: Ask, by identity: Identity, at now: Moment) -> PolicySet.Decision {
        let subject = identity.subject
        return configuration.policySet.decide(
            ask,
            by: identity,
            at: now.wall,
            active: { plan.activeCount(policy: $0, of: subject) },
            activeOfDelegate: identity.via.map { plan.activeCount(via: $0.name) } ?? 0,
            renews: { plan.renewed(by: $0, of: subject) != nil }
        )
    }

    fileprivate func preview(
        _ ask: Ask,
        by identity: Identity
    ) throws(Problem) -> PreviewDocument {
        guard disarmed == nil else { throw .disarmed }
        switch decision(on: ask, by: identity, at: clocks.now()) {
        case .notPermitted(let reason): throw Problem(.notPermitted, reason)
        case .refused(let violations): throw Problem(outside: violations)
        case .open(let openings, let duration, let start):
            let needs = configuration.policySet.needs(under: openings.map(\.policy).eachOnce)
            if start != nil || !needs.isEmpty, let problem = refusalToWait(for: identity) {
                throw problem
            }
            let older = openings.compactMap { plan.renewed(by: $0, of: identity.subject) }
            return PreviewDocument(
                duration: duration,
                startsAt: start,
                needs: needs.isEmpty ? nil : needs.map(NeedDocument.init),
                grants: openings,
                superseded: older.isEmpty
                    ? nil
                    : older.map { SupersededDocument(id: "\($0.id)", expiresAt: $0.end.expiresAt) }
            )
        }
    }
}

extension [String] {
    /// The same without repetitions.
    fileprivate var eachOnce: [String] {
        var seen: Set<String> = []
        return filter { seen.insert($0).inserted }
    }
}

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
        switch decision(on: ask, by: identity, at: clocks.now()) {
        case .notPermitted(let reason): throw Problem(.notPermitted, reason)
        case .refused(let violations): throw Problem(outside: violations)
        case .open(let openings, for: let duration):
            let names = Set(openings.map(\.policy))
            let needs = configuration.policies
                .filter { names.contains($0.name) && $0.approvals > 0 }
                .map {
                    NeedDocument(
                        policy: $0.name,
                        approvals: $0.approvals,
                        given: 0,
                        approvers: $0.approvers?.map(\.description)
                    )
                }
            let older = openings.compactMap { plan.renewed(by: $0, of: identity.subject) }
            return PreviewDocument(
                duration: duration,
                needs: needs.isEmpty ? nil : needs,
                grants: openings,
                superseded: older.isEmpty
                    ? nil
                    : older.map { SupersededDocument(id: "\($0.id)", expiresAt: $0.end.expiresAt) }
            )
        }
    }
}

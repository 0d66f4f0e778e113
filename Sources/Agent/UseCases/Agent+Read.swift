public import API
public import Access
import Ledger
import Policy
import Settings

extension Agent {
    /// One request.
    public func request(id: Int64, for caller: Caller) async throws -> RequestDocument {
        let stored = try await reading { () throws(LedgerError) in
            try await ledger.request(id)
        }
        guard let stored, caller.maySee(stored) else { throw Problem.noSuch("request \(id)") }
        return await documents(of: [stored])[0]
    }

    /// Requests, newest first.
    public func requests(
        _ filter: RequestFilter,
        for caller: Caller
    ) async throws -> RequestList {
        let isPast = filter.state.map { $0 != .active && !$0.isWaiting } ?? true
        let (stored, rest) = try await matching(filter, inPast: isPast, for: caller) {
            wanted throws(LedgerError) in
            try await ledger.requests(wanted, state: filter.state)
        }
        let next = stored.count < filter.limit ? rest : stored.last?.id
        return RequestList(
            requests: await documents(of: stored),
            next: next.map { "\($0)" }
        )
    }

    /// Grants, those of the newest request first.
    public func grants(
        _ filter: RequestFilter,
        includeEnded: Bool,
        for caller: Caller
    ) async throws -> GrantList {
        var filter = filter
        // A page holds whole requests, and so at least the largest there can be.
        filter.limit = RequestLimits.grants + 1
        let found = try await matching(filter, inPast: includeEnded, for: caller) {
            wanted throws(LedgerError) in
            try await ledger.grants(wanted, state: includeEnded ? nil : .active)
        }
        var stored = found.0
        var next = found.rest.map { "\($0)" }
        if stored.count == filter.limit, let cut = stored.last?.id.request {
            stored.removeAll { $0.id.request == cut }
            next = stored.last.map { "\($0.id.request)" }
        }
        return GrantList(grants: await documents(of: stored), next: next)
    }

    private func documents(of requests: [StoredRequest]) async -> [RequestDocument] {
        let (now, known) = await look(at: requests.lazy.flatMap(\.grants))
        let policies = await committer.configuration.policySet
        return requests.map { request in
            var document = RequestDocument(request, needs: request.needs(by: policies), at: now)
            for (place, grant) in request.grants.enumerated() {
                document.grants[place] = self.document(of: grant, known[grant.id], now)
            }
            return document
        }
    }

    private func documents(of grants: [StoredGrant]) async -> [GrantDocument] {
        let (now, known) = await look(at: grants)
        return grants.map { document(of: $0, known[$0.id], now) }
    }

    /// What is known of grants beyond what the ledger has of them.
    private func look(
        at stored: some Sequence<StoredGrant>
    ) async -> (Moment, [Grant.ID: (grant: Grant?, use: GrantUse?)]) {
        // Of one that ended just now, how it was used may not be recorded yet.
        (clocks.now(), await committer.look(at: stored.map(\.id)))
    }

    private func document(
        of stored: StoredGrant,
        _ known: (grant: Grant?, use: GrantUse?)?,
        _ now: Moment
    ) -> GrantDocument {
        var stored = stored
        stored.use = known?.use ?? stored.use
        var document = GrantDocument(stored, at: now)
        guard stored.state == .active, let live = known?.grant else { return document }
        document.expiresAt = live.end.expiresAt
        document.remainingSeconds = live.end.remainingSeconds(at: now)
        return document
    }

    func reading<Answer>(
        _ body: () async throws(LedgerError) -> Answer
    ) async throws(Problem) -> Answer {
        do { return try await body() } catch { throw Problem(.ledgerUnavailable, "\(error)") }
    }
}

extension StoredRequest {
    /// The approvals that it waits for.
    fileprivate func needs(by policies: PolicySet) -> [Need] {
        guard state.isWaiting, let wait else { return [] }
        return policies.needs(under: wait.policies, given: wait.approvals)
    }
}

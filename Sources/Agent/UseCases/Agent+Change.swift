public import API
public import Access
import Gate
import Ledger
public import Policy
import Settings

extension Agent {
    /// Closes all live grants of a request.
    public func revoke(
        request id: Int64,
        reason: String?,
        cutting: Bool = false,
        by caller: Caller
    ) async throws -> RequestDocument {
        if let reason {
            let violations = PolicySet.violations(ofAnswer: reason)
            guard violations.isEmpty else { throw Problem(outside: violations) }
        }
        return try await cuttingSessions(cutting, of: id, by: caller) {
            try await self.change(request: id, "close", by: caller) { live, _, _, now in
                .does(live.map { caller.end($0, at: now.wall, Grounds(reason: reason)) })
            }
        }
    }

    /// Closes one grant.
    public func close(
        grant id: Grant.ID,
        cutting: Bool = false,
        by caller: Caller
    ) async throws -> GrantDocument {
        let request = try await cuttingSessions(cutting, of: id.request, only: id, by: caller) {
            try await self.change(
                request: id.request,
                "close",
                by: caller
            ) { live, request, _, now throws(Problem) in
                guard let grant = live.first(where: { $0.id == id }) else {
                    let isKnown = request.grants.contains { $0.id == id }
                    throw isKnown ? .notLive("grant \(id)") : .noSuch("grant \(id)")
                }
                return .does([caller.end(grant, at: now.wall)])
            }
        }
        guard let grant = request.grants.first(where: { $0.id == id.description }) else {
            throw Problem.noSuch("grant \(id)")
        }
        return grant
    }

    /// Closes grants of a request, and with them the sessions that they let in and nothing else does.
    private func cuttingSessions(
        _ isCutting: Bool,
        of request: Int64,
        only id: Grant.ID? = nil,
        by caller: Caller,
        close: () async throws -> RequestDocument
    ) async throws -> RequestDocument {
        guard isCutting else { return try await close() }
        let grants = await committer.plan.grants(ofRequest: request)
            .filter { id == nil || $0.id == id }
        // Listed before: where sessions end with their grants, they may be gone afterwards.
        let sessions = try await sessions(of: grants)
        var document = try await close()
        let over = try await endUncovered(among: sessions, of: grants, by: caller)
        for place in document.grants.indices {
            guard let grant = grants.first(where: { "\($0.id)" == document.grants[place].id })
            else { continue }
            document.grants[place].cutSessions = over.filter { known in
                grant.elementKeys.contains { $0.letsIn(known.found.session) }
            }.map(\.document.id)
        }
        return document
    }

    /// Moves the end of a request's live grants, or asks others to agree to that.
    public func extend(
        request id: Int64,
        by addition: Duration,
        for grounds: Grounds,
        by caller: Caller
    ) async throws -> RequestDocument {
        try await change(request: id, "extend", by: caller) {
            live,
            request,
            committer,
            now throws(Problem) in
            let policies = committer.configuration.policySet
            let decision = policies.decideExtension(
                of: live,
                by: addition,
                for: grounds,
                requester: caller.identity,
                at: now.wall
            )
            switch decision {
            case .notPermitted(let reason): throw Problem(.notPermitted, reason)
            case .refused(let violations): throw Problem(outside: violations)
            case .extend(let ends):
                let openings = live.map { Opening($0) }
                guard policies.takeApprovals(openings) else {
                    return .does(ends.extended(by: caller.identity.person, grounds))
                }
                if let problem = committer.refusalToWait(for: caller.identity) { throw problem }
                let (waiting, needs) = committer.waiting(
                    Ask(
                        targets: Wait.policies(of: openings),
                        sources: [],
                        duration: addition.compactDescription,
                        reason: grounds.reason ?? request.ask.reason,
                        ticket: grounds.ticket ?? request.ask.ticket
                    ),
                    openings,
                    for: addition,
                    extending: (id, live),
                    by: caller.identity,
                    at: now
                )
                return .asks(waiting, needs)
            }
        }
    }

    /// What comes of a change that is wanted.
    private enum Wanted {
        case does([Event])
        /// Others have to agree first.
        case asks(WaitingRequest, [Need])
    }

    private typealias Change =
        @Sendable ([Grant], StoredRequest, isolated Committer, Moment) throws(Problem) -> Wanted

    private enum Changed {
        case done(RequestDocument)
        /// These ended since the request was read.
        case unread(Set<Grant.ID>)
    }

    /// Makes a change of a request's live grants, and answers with what they are then.
    ///
    /// The request is read before: what was done is never answered with what cannot be read.
    private func change(
        request id: Int64,
        _ verb: String,
        by caller: Caller,
        _ decide: @escaping Change
    ) async throws -> RequestDocument {
        var unread: Set<Grant.ID> = []
        while true {
            let known = try await stored(request: id, for: caller)
            let changed = try await committer.submit { [unread] committer, now throws(Problem) in
                let live = committer.plan.grants(ofRequest: id)
                guard let owner = live.first?.requester else {
                    if let waiting = committer.waitingRequests[id] {
                        throw .wrongState(id, waiting.wait.state, to: verb)
                    }
                    throw .notLive("request \(id)")
                }
                guard caller.maySee(requestOf: owner.subject, under: live.map(\.policy)) else {
                    throw .noSuch("request \(id)")
                }
                guard caller.mayChange(requestsOf: owner.subject) else {
                    throw .notOwn(id, of: owner.name, to: verb)
                }
                var request = known ?? StoredRequest(live: live)
                let ended = Set(request.grants.filter { $0.state == .active }.map(\.id))
                    .subtracting(live.map(\.id))
                // What was read again and still is live in the ledger alone, somebody has put there.
                guard ended.isSubset(of: unread) else {
                    return Submission(events: []) { Changed.unread(ended) }
                }
                request.grants.removeAll { ended.contains($0.id) }
                switch try decide(live, request, committer, now) {
                case .does(let events):
                    request.follow(events, live: live)
                    return Submission(events: events) { [request] in
                        Changed.done(RequestDocument(request, at: now))
                    }
                case .asks(let waiting, let needs):
                    request.follow([], live: live)
                    return Submission(events: [.asked(waiting)]) { [request] in
                        Changed.done(
                            RequestDocument(
                                StoredRequest(waiting, lengthening: request.grants),
                                needs: needs,
                                at: now
                            )
                        )
                    }
                }
            }
            switch changed {
            case .done(let request): return request
            case .unread(let ended): unread.formUnion(ended)
            }
        }
    }

    /// A request as the ledger has it; nil where it cannot be read but has live grants, which can
    /// be closed all the same.
    func stored(request id: Int64, for caller: Caller) async throws -> StoredRequest? {
        let isLive = await !committer.plan.grants(ofRequest: id).isEmpty
        let stored: StoredRequest?
        do throws(LedgerError) {
            stored = try await ledger.request(id)
        } catch {
            if isLive { return nil }
            throw Problem(.ledgerUnavailable, "\(error)")
        }
        guard let stored else {
            if isLive { return nil }
            throw Problem.noSuch("request \(id)")
        }
        guard caller.maySee(stored) else { throw Problem.noSuch("request \(id)") }
        return stored
    }
}

extension Caller {
    /// Whether the caller may see a request: a delegate's people see only what is under its policies.
    func maySee(requestOf owner: Subject, under policies: [String]) -> Bool {
        maySee(requestsOf: owner)
            && policies.allSatisfy { identity.via?.mayAsk(under: $0) != false }
    }

    /// Whether the caller may see a request, of their own or for more time of their own grants.
    func maySee(_ stored: StoredRequest) -> Bool {
        let policies = stored.grants.map(\.grant.policy) + (stored.wait?.policies ?? [])
        return maySee(requestOf: stored.requester.subject, under: policies)
            || stored.grants.first.map {
                maySee(requestOf: $0.requester.subject, under: policies)
            } ?? false
    }

    /// The end of a grant that this caller closes.
    fileprivate func end(
        _ grant: Grant,
        at now: Timestamp,
        _ grounds: Grounds = Grounds()
    ) -> Event {
        let isOwn = grant.requester.subject == identity.subject
        return .ended(
            grant.id,
            isOwn ? .closedByRequester : .closedByAdmin,
            at: now,
            by: identity.person,
            grounds
        )
    }
}

extension StoredRequest {
    /// What is known of a request without the ledger.
    init(live: [Grant]) {
        let first = live[0]
        let requester = Person(
            subject: first.requester.subject,
            name: first.requester.name,
            via: first.requester.via,
            origin: .process(.init(pid: 0))
        )
        self.init(
            id: first.id.request,
            state: .active,
            requester: requester,
            ask: Ask(targets: [], sources: []),
            createdAt: first.startsAt,
            decidedAt: first.startsAt,
            idempotencyKey: nil,
            grants: live.map {
                StoredGrant(
                    grant: $0,
                    requester: requester,
                    reason: nil,
                    state: .active,
                    endedAt: nil,
                    endReason: nil
                )
            }
        )
    }

    /// Makes the live grants what the plan says of them, and what follows from events.
    mutating func follow(_ events: [Event], live: [Grant]) {
        for index in grants.indices {
            guard let grant = live.first(where: { $0.id == grants[index].id }) else { continue }
            grants[index].grant = grant
        }
        for event in events {
            switch event {
            case .ended(let id, let reason, let at, _, let grounds):
                decision = grounds.reason ?? decision
                guard let index = grants.firstIndex(where: { $0.id == id }) else { continue }
                grants[index].state = reason.state
                grants[index].endedAt = at
                grants[index].endReason = reason
                if !grants.contains(where: { $0.state == .active }) { state = .revoked }
            case .extended(let id, _, let end, _, _):
                guard let index = grants.firstIndex(where: { $0.id == id }) else { continue }
                grants[index].grant.end = end
            case .asked, .approved, .concluded, .opened, .takenBack, .shortened, .used,
                .carriedOver, .noted:
                break
            }
        }
    }
}

extension Problem {
    /// One limit is told in the detail; of several each is told as a violation.
    init(outside violations: [Violation]) {
        self.init(
            .outsidePolicy,
            violations.count == 1
                ? violations[0].message
                : "\(violations.count) limits are exceeded; nothing was changed",
            violations: violations
        )
    }

    static func noSuch(_ what: String) -> Problem { Problem(.notFound, "there is no \(what)") }

    static func notLive(_ what: String) -> Problem {
        Problem(.wrongState, "\(what) is not live; `sallyport list --all` shows what has ended")
    }
}

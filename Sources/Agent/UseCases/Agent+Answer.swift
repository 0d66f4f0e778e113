public import API
public import Access
import Ledger
import Policy
import Settings

extension Agent {
    /// Agrees to a pending request; it opens with the last approval it takes, or is scheduled.
    public func approve(
        request id: Int64,
        _ body: ApproveBody,
        by caller: Caller
    ) async throws -> RequestDocument {
        try await answer(id, "approve", by: caller) {
            request,
            extended,
            committer,
            now throws(Problem) in
            let policies = committer.configuration.policySet
            guard request.wait.state == .pending else {
                throw .wrongState(id, request.wait.state, to: "approve")
            }
            if let revision = body.revision, revision != request.wait.revision {
                throw .changed(request, since: revision)
            }
            let decision = policies.decideApproval(
                of: request,
                by: caller.identity,
                holder: committer.liveGrants(extendedBy: request).first?.requester,
                shortenedTo: body.duration,
                people: committer.configuration.people,
                at: now.wall
            )
            let approval: Approval
            switch decision {
            case .counts(let counted): approval = counted
            case .refused(let violations): throw Problem(outside: violations)
            case .notPermitted(let reason): throw Problem(.notPermitted, reason)
            case .countsAlready(let reason): throw Problem(.wrongState, reason)
            }
            var agreed = request
            agreed.wait.add(approval, then: .pending)
            let needs = policies.needs(
                under: agreed.wait.policies,
                given: agreed.wait.approvals
            )
            let outcome =
                needs.allSatisfy(\.isMet) ? committer.outcome(of: agreed, at: now) : .waits
            if case .scheduled = outcome { agreed.wait.state = .scheduled }
            let events =
                [.approved(id, approval, then: agreed.wait.state)]
                + outcome.events(of: agreed, at: now)
            var lengthened = extended
            lengthened?.follow(events, live: committer.liveGrants(extendedBy: request))
            return Submission(events: events) { [agreed, lengthened] in
                RequestDocument(agreed, lengthened, needs: needs, outcome, at: now)
            }
        }
    }

    /// Makes a waiting request come to nothing; whoever may answer it may.
    public func deny(
        request id: Int64,
        reason: String,
        by caller: Caller
    ) async throws -> RequestDocument {
        let violations = PolicySet.violations(ofAnswer: reason)
        guard violations.isEmpty else { throw Problem(outside: violations) }
        return try await answer(id, "deny", by: caller) {
            request,
            extended,
            committer,
            now throws(Problem) in
            let names = request.wait.policies
            let policies = committer.configuration.policySet
            guard !policies.answerable(names, by: caller.identity).isEmpty else {
                throw Problem(
                    .notPermitted,
                    "cannot deny request \(id): \(caller.identity.name) is not among the approvers "
                        + "of \(names.joined(separator: ", "))"
                )
            }
            return .concluding(request, extended, .denied, by: caller, reason: reason, at: now)
        }
    }

    /// Takes a waiting request back.
    public func cancel(request id: Int64, by caller: Caller) async throws -> RequestDocument {
        try await answer(id, "cancel", by: caller) {
            request,
            extended,
            _,
            now throws(Problem) in
            guard caller.mayChange(requestsOf: request.requester.subject) else {
                throw .notOwn(id, of: request.requester.name, to: "cancel")
            }
            return .concluding(request, extended, .cancelled, by: caller, reason: nil, at: now)
        }
    }

    private typealias Answer =
        @Sendable (WaitingRequest, _ extended: StoredRequest?, isolated Committer, Moment)
        throws(Problem) -> Submission<RequestDocument?>

    /// Answers a request that waits; of several that do so at once, one does.
    private func answer(
        _ id: Int64,
        _ verb: String,
        by caller: Caller,
        _ decide: @escaping Answer
    ) async throws -> RequestDocument {
        // What an extension lengthens is read before: what was done is never answered with what
        // cannot be read.
        var extended: StoredRequest?
        if let number = await committer.waitingRequests[id]?.wait.extends {
            let live = await committer.plan.grants(ofRequest: number)
            extended = try await stored(request: number, for: caller)
            if extended == nil, !live.isEmpty { extended = StoredRequest(live: live) }
        }
        // A request that waits no more is looked up when what became of it is recorded. That it
        // waits again by then, since that could not be recorded, does not go on for ever.
        for _ in 0..<10 {
            let answered: RequestDocument? = try await committer.submit {
                [extended]
                committer,
                now throws(Problem) in
                guard let request = committer.waitingRequests[id] else {
                    return Submission(events: []) { nil }
                }
                let holder = committer.liveGrants(extendedBy: request).first?.requester.subject
                let isVisible = [request.requester.subject, holder].compactMap(\.self)
                    .contains { caller.maySee(requestOf: $0, under: request.wait.policies) }
                guard isVisible else { throw .noSuch("request \(id)") }
                return try decide(request, extended, committer, now)
            }
            if let answered { return answered }
            let stored = try await self.stored(request: id, for: caller)
            guard let stored, stored.state.isWaiting else {
                throw Problem.wrongState(id, stored?.state ?? .active, to: verb)
            }
        }
        throw Problem(.ledgerUnavailable, "cannot \(verb) request \(id): the ledger takes nothing")
    }
}

extension Submission<RequestDocument?> {
    /// A waiting request comes to nothing.
    fileprivate static func concluding(
        _ request: WaitingRequest,
        _ extended: StoredRequest?,
        _ state: RequestState,
        by caller: Caller,
        reason: String?,
        at now: Moment
    ) -> Self {
        let person = caller.identity.person
        var stored = StoredRequest(request, lengthening: extended?.grants ?? [])
        stored.conclude(state, by: person, reason: reason, at: now.wall)
        return Self(
            events: [.concluded(request.id, state, at: now.wall, by: person, reason: reason)]
        ) { [stored] in
            RequestDocument(stored, at: now)
        }
    }
}

extension Caller {
    /// Whether the caller may end, extend and take back the requests of somebody.
    func mayChange(requestsOf owner: Subject) -> Bool {
        owner == identity.subject || roles.contains(.admin)
    }
}

extension Problem {
    static func notOwn(_ id: Int64, of name: String, to verb: String) -> Problem {
        Problem(
            .notPermitted,
            "cannot \(verb) request \(id): it is \(name)'s; its requester and admins may"
        )
    }

    /// Says where a request stands, and with what can be answered still.
    static func wrongState(_ id: Int64, _ state: RequestState, to verb: String) -> Problem {
        let way =
            switch state {
            case .active: "; `sallyport close \(id)` ends it"
            case .pending: "; `sallyport cancel \(id)` takes it back"
            case .scheduled: "; `sallyport cancel` and `deny` keep it from opening"
            default: ""
            }
        return Problem(.wrongState, "cannot \(verb) request \(id): it is \(state.rawValue)\(way)")
    }

    fileprivate static func changed(_ request: WaitingRequest, since revision: Int) -> Problem {
        let wait = request.wait
        let by = wait.approvals.last.map { ", since \($0.by.name) approved it" } ?? ""
        return Problem(
            .wrongState,
            "cannot approve revision \(revision) of request \(request.id): it is at revision "
                + "\(wait.revision), for \(wait.duration.compactDescription)\(by); look at it again"
        )
    }
}

import API
import Policy
import Settings

/// What becomes of a waiting request.
enum Outcome {
    /// It waits for more people to agree.
    case waits
    /// It waits for its start.
    case scheduled
    /// It opens; older grants make room for it.
    case opened(AccessRequest, older: [Grant])
    /// It lengthens grants, which end then.
    case extended(AccessRequest, [PolicySet.NewEnd])
    /// It comes to nothing.
    case concluded(RequestState, reason: String)
}

/// What becomes of requests that wait under a policy, by their numbers.
struct WaitingFates {
    /// Those that need no more approvals, and open at once or at their start.
    var opened: [Int64] = []
    /// Those that can open no more, and are denied at once.
    var denied: [Int64] = []
}

extension Committer {
    /// Why no request of somebody may wait; nil where one may.
    func refusalToWait(for identity: Identity) -> Problem? {
        let own = waitingRequests.count(of: identity.subject)
        guard own < RequestLimits.waitingPerPerson else {
            return Problem(outside: [
                Violation(
                    field: "targets",
                    value: "\(own + 1) waiting requests",
                    allowed: "at most \(RequestLimits.waitingPerPerson) waiting requests",
                    message: "cannot ask: \(own) requests of \(identity.name) wait already; "
                        + "`sallyport cancel ID` takes one back"
                )
            ])
        }
        guard waitingRequests.count < RequestLimits.waiting else {
            return Problem(
                .rateLimited,
                "cannot ask: \(waitingRequests.count) requests wait already, which is as many as "
                    + "are kept; ask again when some of them are answered"
            )
        }
        return nil
    }

    /// A request that begins to wait, and what approvals it waits for; where it is to lengthen live
    /// grants of another, that is `extended`.
    func waiting(
        _ ask: Ask,
        _ openings: [Opening],
        for duration: Duration,
        from start: Timestamp? = nil,
        extending extended: (id: Int64, live: [Grant])? = nil,
        by identity: Identity,
        at now: Moment,
        idempotencyKey: String? = nil
    ) -> (WaitingRequest, [Need]) {
        let policies = configuration.policySet
        var request = WaitingRequest(
            id: takeRequestID(),
            requester: identity.person,
            ask: ask,
            createdAt: now.wall,
            idempotencyKey: idempotencyKey,
            wait: Wait(
                state: .pending,
                openings: openings,
                duration: duration,
                startsAt: start,
                pendingUntil: now.wall,
                extends: extended?.id,
                groups: identity.groups
            )
        )
        let names = request.wait.policies
        let answeredBy = now.wall + policies.pendingFor(names)
        let ends = [request.endsBy, extended?.live.map(\.end.expiresAt).max()].compactMap(\.self)
        request.wait.pendingUntil = min(ends.min() ?? answeredBy, answeredBy)
        let needs = policies.needs(under: names)
        if needs.isEmpty { request.wait.state = .scheduled }
        return (request, needs)
    }

    /// What happens to a waiting request whose time has come: it starts, or lapses.
    func eventsOfDue(_ request: WaitingRequest, at now: Moment) -> [Event] {
        request.wait.state == .scheduled
            ? outcome(of: request, at: now).events(of: request, at: now)
            : [.concluded(request.id, .lapsed, at: now.wall, by: nil, reason: nil)]
    }

    /// What happens to a waiting request when a configuration is put in force.
    func eventsOfReconfiguration(of request: WaitingRequest, at now: Moment) -> [Event] {
        let fate = fate(of: request, at: now)
        let events = fate.events(of: request, at: now)
        switch fate {
        case .waits, .concluded: return events
        case .scheduled: return [.approved(request.id, nil, then: .scheduled)]
        case .opened, .extended: return [.approved(request.id, nil, then: .pending)] + events
        }
    }

    /// What becomes of a waiting request by the configuration that was put in force just now: it is
    /// denied where it can open no more, and goes on where no more approvals are asked for than were
    /// given.
    private func fate(of request: WaitingRequest, at now: Moment) -> Outcome {
        let policies = configuration.policySet
        let start = max(now.wall, request.wait.startsAt ?? now.wall)
        if let refusal = policies.lastingRefusal(of: request, by: identity(of: request), at: start)
        {
            return .concluded(.denied, reason: refusal)
        }
        guard request.wait.state == .pending, policies.refusal(ofApprovalsOf: request) == nil else {
            return .waits
        }
        return outcome(of: request, at: now)
    }

    /// What becomes of the requests that wait under a policy, by what is in force now.
    func fates(under policy: String, at now: Moment) -> WaitingFates {
        var fates = WaitingFates()
        for request in waitingRequests.all where request.wait.policies.contains(policy) {
            switch fate(of: request, at: now) {
            case .concluded(.denied, _): fates.denied.append(request.id)
            case .opened, .extended, .scheduled: fates.opened.append(request.id)
            case .waits, .concluded: continue
            }
        }
        return fates
    }

    /// What becomes of a request that enough people have agreed to, by what policy says now.
    func outcome(of request: WaitingRequest, at now: Moment) -> Outcome {
        if let start = request.wait.startsAt, now.wall < start { return .scheduled }
        guard request.duration(at: now.wall) > .zero else {
            return .concluded(.lapsed, reason: "its time was over before it could open")
        }
        let subject = request.requester.subject
        let identity = identity(of: request)
        if let extended = request.wait.extends {
            return outcome(ofExtension: request, of: extended, by: identity, at: now)
        }
        let decision = configuration.policySet.decideAgain(
            request,
            by: identity,
            at: now.wall,
            active: { plan.activeCount(policy: $0, of: subject) },
            activeOfDelegate: identity.via.map { plan.activeCount(via: $0.name) } ?? 0,
            renews: { plan.renewed(by: $0, of: subject) != nil }
        )
        switch decision {
        case .open(let openings, let duration, _):
            let (opened, older) = opened(request.opened([]), openings, for: duration, at: now)
            return .opened(opened, older: older)
        case .refused(let violations):
            return .concluded(.denied, reason: violations.text)
        case .notPermitted(let reason): return .concluded(.denied, reason: reason)
        }
    }

    private func outcome(
        ofExtension request: WaitingRequest,
        of extended: Int64,
        by identity: Identity,
        at now: Moment
    ) -> Outcome {
        let live = plan.grants(ofRequest: extended)
        let policies = configuration.policySet
        guard !live.isEmpty else {
            return .concluded(.lapsed, reason: "request \(extended) has no live grant")
        }
        if let refusal = policies.refusal(ofApprovalsOf: request) {
            return .concluded(.denied, reason: refusal)
        }
        let decision = policies.decideExtension(
            of: live,
            by: request.wait.duration,
            requester: identity,
            at: now.wall
        )
        return switch decision {
        case .extend(let ends): .extended(request.opened([]), ends)
        case .refused(let violations): .concluded(.denied, reason: violations.text)
        case .notPermitted(let reason): .concluded(.denied, reason: reason)
        }
    }

    /// The live grants that a request is to lengthen.
    func liveGrants(extendedBy request: WaitingRequest) -> [Grant] {
        request.wait.extends.map(plan.grants(ofRequest:)) ?? []
    }

    /// What becomes of extensions that wait while nothing is left of what they were to extend.
    ///
    /// - Parameters:
    ///   - events: What happens just now, and may be why.
    ///   - now: When.
    /// - Returns: The events of each.
    func endsOfExtensions(after events: some Sequence<Event>, at now: Moment) -> [[Event]] {
        waitingRequests.extensions.compactMap { request in
            guard let extended = request.wait.extends, plan.grants(ofRequest: extended).isEmpty
            else { return nil }
            var closer: Person?
            var isClosed = false
            for case .ended(let id, let reason, _, let actor, _) in events
            where id.request == extended {
                (closer, isClosed) = (actor, reason != .expired)
            }
            return [
                .concluded(
                    request.id,
                    isClosed ? .cancelled : .lapsed,
                    at: now.wall,
                    by: closer,
                    reason: "request \(extended) has ended"
                )
            ]
        }
    }

    /// A request with its grants, and the requester's older ones for exactly the same, which make
    /// room for them.
    func opened(
        _ request: AccessRequest,
        _ openings: [Opening],
        for duration: Duration,
        at now: Moment
    ) -> (AccessRequest, older: [Grant]) {
        let end = GrantEnd(expiresAt: now.wall + duration, deadline: now.boot + duration)
        let requester = Requester(
            subject: request.requester.subject,
            name: request.requester.name,
            via: request.requester.via
        )
        var request = request
        request.grants = openings.enumerated().map { index, opening in
            Grant(
                id: Grant.ID(request: request.id, ordinal: index + 1),
                policy: opening.policy,
                port: opening.port,
                host: opening.host,
                source: opening.source,
                requester: requester,
                startsAt: now.wall,
                end: end
            )
        }
        let older = openings.compactMap { plan.renewed(by: $0, of: requester.subject) }
        return (request, older)
    }

    /// Who asked, with the rights of then as far as they are rights now.
    private func identity(of request: WaitingRequest) -> Identity {
        Identity(
            subject: request.requester.subject,
            name: request.requester.name,
            groups: request.wait.groups,
            // Whom a delegate speaks for that is no more, has no rights.
            via: configuration.delegates.first { $0.name == request.requester.via },
            origin: request.requester.origin
        )
    }
}

extension Outcome {
    /// What happens then.
    func events(of request: WaitingRequest, at now: Moment) -> [Event] {
        switch self {
        case .waits, .scheduled: []
        case .opened(let opened, let older): .opening(opened, superseding: older, at: now)
        case .extended(let opened, let ends):
            ends.extended(by: request.requester, Grounds(opened.ask)) + [.opened(opened)]
        case .concluded(let state, let reason):
            [.concluded(request.id, state, at: now.wall, by: nil, reason: reason)]
        }
    }
}

extension [PolicySet.NewEnd] {
    /// What happens where grants end so.
    func extended(by person: Person, _ grounds: Grounds) -> [Event] {
        map { .extended($0.id, from: $0.from, until: $0.until, by: person, grounds) }
    }
}

extension Grounds {
    /// Those of a request.
    init(_ ask: Ask) { self.init(reason: ask.reason, ticket: ask.ticket) }
}

extension [Event] {
    /// What happens where a request opens, and older grants of its requester make room for it.
    static func opening(
        _ request: AccessRequest,
        superseding older: [Grant],
        at now: Moment
    ) -> [Event] {
        older.map { .ended($0.id, .newerRequest, at: now.wall, by: request.requester) }
            + [.opened(request)]
    }
}

extension PolicySet {
    /// Judges a waiting request once more, by the policies as they are when it is about to open.
    ///
    /// It opens what was agreed on, for as long as was agreed on, or nothing.
    ///
    /// - Parameters:
    ///   - request: The request as it is.
    ///   - identity: Who asked, with the groups of then.
    ///   - now: The instant by the wall clock.
    ///   - active: How many grants the requester holds under a policy.
    ///   - activeOfDelegate: How many grants the requester's delegate has asked for that are live.
    ///   - renews: Whether a grant of the requester is for exactly this and makes room for it.
    /// - Returns: What to open, or why not.
    public func decideAgain(
        _ request: WaitingRequest,
        by identity: Identity,
        at now: Timestamp,
        active: (_ policy: String) -> Int,
        activeOfDelegate: Int,
        renews: (Opening) -> Bool
    ) -> Decision {
        let openings = request.wait.openings
        let policies = request.wait.policies.compactMap(policy(named:))
        let duration = request.duration(at: now)
        let strictest = policies.min { $0.maxDuration < $1.maxDuration }
        let violations =
            lastingViolations(of: request, by: identity)
            + Self.overcrowded(
                openings.filter { !renews($0) },
                in: policies,
                by: identity,
                active: active
            )
            + Self.overcrowded(openings.count, of: identity, active: activeOfDelegate)
            + Self.violations(ofDuration: duration, strictest: strictest)
        guard violations.isEmpty else { return .refused(violations) }
        let held = roles.roles(of: identity)
        if let refusal = refusal(of: identity, holding: held, toAskUnder: policies) {
            return .notPermitted(refusal)
        }
        if let refusal = refusal(ofApprovalsOf: request) { return .notPermitted(refusal) }
        return .open(openings, for: duration, from: nil)
    }

    /// Why a waiting request can open no more by these policies, whoever agrees to it and whatever
    /// ends until then; nil where it may.
    ///
    /// - Parameters:
    ///   - request: The request as it is.
    ///   - identity: Who asked, with the groups of then.
    ///   - start: When it would open.
    /// - Returns: The reason, for the one who asked.
    public func lastingRefusal(
        of request: WaitingRequest,
        by identity: Identity,
        at start: Timestamp
    ) -> String? {
        let policies = request.wait.policies.compactMap(policy(named:))
        let isSettled = request.wait.state == .scheduled
        var violations = lastingViolations(of: request, by: identity)
        // As long as approvals are missing, one may shorten it.
        if isSettled {
            violations += Self.violations(
                ofDuration: request.duration(at: start),
                strictest: policies.min { $0.maxDuration < $1.maxDuration }
            )
        }
        if !violations.isEmpty { return violations.text }
        let held = roles.roles(of: identity)
        return refusal(of: identity, holding: held, toAskUnder: policies)
            ?? (isSettled ? refusal(ofApprovalsOf: request) : nil)
    }

    /// What is wrong with a waiting request that nothing but another change of the policies mends.
    private func lastingViolations(
        of request: WaitingRequest,
        by identity: Identity
    ) -> [Violation] {
        let openings = request.wait.openings
        let violations =
            openings.compactMap(outdated)
            + openings.compactMap { Self.violation(ofStrange: $0.source, "sources", for: identity) }
        // The request that an extension lengthens has given its reasons.
        if request.wait.extends != nil { return violations }
        let policies = request.wait.policies.compactMap(policy(named:))
        return violations + Self.violations(ofReason: request.ask, for: policies)
            + Self.violations(ofTicket: request.ask.ticket, for: policies)
    }

    /// What is wrong with something that a policy allowed and does not any more.
    func outdated(_ opening: Opening) -> Violation? {
        if let policy = policy(named: opening.policy), policy.allows(opening) { return nil }
        return Violation(
            field: "targets",
            value: opening.port.text(at: opening.host),
            allowed: "a new request",
            message:
                "cannot open \(opening.port.text(at: opening.host)) for \(opening.source): policy \(opening.policy) "
                + "no longer allows it"
        )
    }
}

extension AccessPolicy {
    /// Whether it is for this port, host and source, whoever asks.
    func allows(_ opening: Opening) -> Bool {
        enabled && ports.contains { $0.contains(opening.port) } && isFor(opening.host)
            && allowedSources.contains { $0.contains(opening.source) }
            && opening.source.prefixLength >= widestSource.prefixLength(opening.source.family)
    }

    /// Whether it is for a host behind this machine, or where none is named, for this machine itself.
    public func isFor(_ host: IPAddress?) -> Bool {
        guard let host else { return hosts == nil }
        return hosts?.contains { $0.contains(host) } ?? false
    }
}

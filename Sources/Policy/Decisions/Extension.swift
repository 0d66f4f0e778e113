/// Why something is asked for: a reason in the requester's words, and the ticket it belongs to.
public struct Grounds: Hashable, Sendable {
    /// Why; nil where nothing is said.
    public var reason: String?
    /// The ticket; nil where none is named.
    public var ticket: String?

    /// Takes both.
    public init(reason: String? = nil, ticket: String? = nil) {
        self.reason = reason
        self.ticket = ticket
    }
}

extension PolicySet {
    /// What policy says to an extension.
    public enum ExtensionDecision: Hashable, Sendable {
        /// Move the ends of the grants to these.
        case extend([NewEnd])
        /// Move nothing: these limits are broken.
        case refused([Violation])
        /// Move nothing: the caller may not ask for this, for the reason given.
        case notPermitted(String)
    }

    /// The end of a grant before and after an extension.
    public struct NewEnd: Hashable, Sendable {
        /// The grant.
        public var id: Grant.ID
        /// When it ends now.
        public var from: GrantEnd
        /// When it will end.
        public var until: GrantEnd
    }

    /// Decides whether live grants may end later by `addition`.
    ///
    /// The time then left may not exceed the policy's longest, and the policy must still allow
    /// the port, the source and the requester. A reason or a ticket that is given must be one for
    /// the policy, too; without, those of the request stand. All grants are extended or none.
    public func decideExtension(
        of grants: [Grant],
        by addition: Duration,
        for grounds: Grounds = Grounds(),
        requester identity: Identity,
        at now: Timestamp
    ) -> ExtensionDecision {
        let held = roles.roles(of: identity)
        if let refusal = refusal(of: identity, holding: held, toAskUnder: []) {
            return .notPermitted(refusal)
        }
        guard addition > .zero else {
            return .refused([
                Violation(
                    field: "duration",
                    value: addition.compactDescription,
                    allowed: "more than 0s",
                    message: "cannot extend by nothing"
                )
            ])
        }
        var violations: [Violation] = []
        for grant in grants {
            guard let policy = policy(named: grant.policy), policy.allows(Opening(grant)) else {
                violations.append(
                    Violation(
                        field: "id",
                        value: grant.id.description,
                        allowed: "a new request",
                        message:
                            "cannot extend grant \(grant.id): policy \(grant.policy) no longer "
                            + "allows \(grant.port.text(at: grant.host)) from \(grant.source)"
                    )
                )
                continue
            }
            // Compared without adding, which could overflow.
            let free = policy.maxDuration - max(.zero, grant.end.expiresAt - now)
            if addition > free {
                let most = max(free, .zero).compactDescription
                violations.append(
                    Violation(
                        field: "duration",
                        value: addition.compactDescription,
                        allowed: "at most \(most)",
                        message: "cannot extend grant \(grant.id) by \(addition.compactDescription)"
                            + ": policy \(policy.name) allows at most "
                            + "\(policy.maxDuration.compactDescription) from now, which leaves "
                            + most
                    )
                )
            }
        }
        violations += grants.compactMap {
            Self.violation(ofStrange: $0.source, "id", for: identity)
        }
        let policies = self.policies.filter { policy in
            grants.contains { $0.policy == policy.name }
        }
        if grounds.reason != nil {
            let ask = Ask(targets: [], sources: [], reason: grounds.reason)
            violations += Self.violations(ofReason: ask, for: policies)
        }
        if grounds.ticket != nil {
            violations += Self.violations(ofTicket: grounds.ticket, for: policies)
        }
        guard violations.isEmpty else { return .refused(violations) }
        if let refusal = refusal(of: identity, holding: held, toAskUnder: policies) {
            return .notPermitted(refusal)
        }
        return .extend(
            grants.map { grant in
                NewEnd(
                    id: grant.id,
                    from: grant.end,
                    until: GrantEnd(
                        expiresAt: grant.end.expiresAt + addition,
                        deadline: grant.end.deadline + addition
                    )
                )
            }
        )
    }
}

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
    /// the port, the source and the requester. All grants are extended or none.
    public func decideExtension(
        of grants: [Grant],
        by addition: Duration,
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
                            + "allows \(grant.port) from \(grant.source)"
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
        guard violations.isEmpty else { return .refused(violations) }
        let policies = grants.compactMap { policy(named: $0.policy) }
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

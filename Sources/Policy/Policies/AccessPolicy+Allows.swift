extension AccessPolicy {
    /// Whether what is open could still be asked for, but for who asks: ports, source, and the time
    /// that is left.
    public func allows(_ grant: Grant, at now: Moment) -> Bool {
        let left = min(grant.end.deadline - now.boot, grant.end.expiresAt - now.wall)
        return left <= maxDuration && allows(Opening(grant))
    }

    /// Whether everybody whom an issuer could let ask under another policy can so here, too.
    ///
    /// Which groups somebody has there is known only while they ask.
    public func admitsAll(of issuer: String, admittedBy other: AccessPolicy) -> Bool {
        guard let requesters else { return true }
        guard let others = other.requesters else { return false }
        return others.allSatisfy { principal in
            if case .asserted(issuer, _) = principal {
                requesters.contains(principal)
            } else {
                true
            }
        }
    }
}

extension PolicySet {
    /// The policies that a delegate may ask under: to its people there are no others.
    func among(_ delegate: Delegate?) -> PolicySet {
        guard let delegate, delegate.policies != nil else { return self }
        return PolicySet(
            policies: policies.filter { delegate.mayAsk(under: $0.name) },
            roles: roles
        )
    }

    /// Why a delegate may not ask under these policies; nil where it may, or where there is none.
    func refusal(ofDelegateOf identity: Identity, toAskUnder policies: [String]) -> String? {
        guard let delegate = identity.via,
            let closed = policies.first(where: { !delegate.mayAsk(under: $0) })
        else { return nil }
        return "cannot ask under policy \(closed) through \(delegate.name): it may ask only under "
            + listed((delegate.policies ?? []).sorted())
    }

    /// Whether the delegate would hold too many grants.
    static func overcrowded(_ added: Int, of identity: Identity, active: Int) -> [Violation] {
        guard let delegate = identity.via else { return [] }
        let free = max(0, delegate.limits.liveGrants - active)
        guard added > free else { return [] }
        return [
            Violation(
                field: "targets",
                value: "\(added) grants",
                allowed: "at most \(free) grants",
                message: "cannot open \(added) more through \(delegate.name): its people hold "
                    + "\(active) of at most \(delegate.limits.liveGrants) grants; "
                    + "ask again when some have ended"
            )
        ]
    }

    /// What is wrong with a source that is not the requester's own address, where the delegate may
    /// open no other.
    static func violation(
        ofStrange source: CIDR,
        _ field: String,
        for identity: Identity
    ) -> Violation? {
        guard let delegate = identity.via, delegate.ownAddressOnly else { return nil }
        var own: CIDR?
        if case .client(let address, _) = identity.origin { own = CIDR(address) }
        guard source != own else { return nil }
        return Violation(
            field: field,
            value: source.description,
            allowed: own?.description ?? "nothing",
            message: "cannot open for \(source): \(delegate.name) opens only for the address that "
                + "\(identity.name) comes from"
        )
    }
}

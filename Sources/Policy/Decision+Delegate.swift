extension PolicySet {
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
                    + "\(active) of at most \(delegate.limits.liveGrants) grants"
            )
        ]
    }

    /// The sources that are not the requester's own address, where the delegate may open no others.
    static func strange(_ sources: [CIDR], to identity: Identity) -> [Violation] {
        guard let delegate = identity.via, delegate.ownAddressOnly,
            case .client(let address, _) = identity.origin
        else { return [] }
        let own = CIDR(address)
        return sources.enumerated().filter { $0.element != own }.map { index, source in
            Violation(
                field: "sources[\(index)]",
                value: source.description,
                allowed: own.description,
                message: "cannot open for \(source): \(delegate.name) opens only for the address "
                    + "that \(identity.name) comes from, \(address)"
            )
        }
    }
}

extension PolicySet {
    /// What policy says to a request.
    public enum Decision: Hashable, Sendable {
        /// Open all of this for so long, and at once where no start is named.
        case open([Opening], for: Duration, from: Timestamp?)
        /// Open nothing: these limits are broken, all of them in the order of the fields.
        case refused([Violation])
        /// Open nothing: the caller may not ask for this, for the reason given.
        case notPermitted(String)
    }

    /// Decides a request made by an identity at an instant.
    ///
    /// The openings are in the order of the targets and then of the sources, each once however often
    /// it was asked for.
    ///
    /// - Parameters:
    ///   - ask: What is asked for, in the requester's words.
    ///   - identity: Who asks.
    ///   - now: The instant by the wall clock.
    ///   - active: How many grants the requester holds under a policy.
    ///   - activeOfDelegate: How many grants the requester's delegate has asked for that are live.
    ///   - renews: Whether a grant of the requester is for exactly this and makes room for it.
    /// - Returns: What to open, or every limit that is broken.
    public func decide(
        _ ask: Ask,
        by identity: Identity,
        at now: Timestamp,
        active: (_ policy: String) -> Int,
        activeOfDelegate: Int = 0,
        renews: (Opening) -> Bool = { _ in false }
    ) -> Decision {
        let held = roles.roles(of: identity)
        if let refusal = refusal(of: identity, holding: held, toAskUnder: []) {
            return .notPermitted(refusal)
        }
        let targets = among(identity.via).resolve(targets: ask.targets)
        let policies = targets.policies
        let sources = Self.read(sources: ask.sources, of: identity, for: policies)
        let (openings, sizes) = Self.openings(of: targets.ports, for: sources.ranges)
        let unreachable = Self.violations(ofFamilies: targets.ports, for: sources.ranges)
        let time = Self.time(of: ask, for: policies, at: now)
        let violations =
            targets.violations + sizes
            + Self.overcrowded(
                openings.filter { !renews($0) },
                in: policies,
                by: identity,
                active: active
            )
            + Self.overcrowded(openings.count, of: identity, active: activeOfDelegate)
            + sources.violations + unreachable + time.violations
            + Self.violations(ofReason: ask, for: policies)
            + Self.violations(ofTicket: ask.ticket, for: policies)
        guard violations.isEmpty, let duration = time.duration else { return .refused(violations) }
        if let refusal = refusal(of: identity, holding: held, toAskUnder: policies) {
            return .notPermitted(refusal)
        }
        return .open(openings, for: duration, from: time.start)
    }

    /// Why somebody may not ask under these policies; nil where they may.
    func refusal(
        of identity: Identity,
        holding held: Set<Role>,
        toAskUnder policies: [AccessPolicy]
    ) -> String? {
        guard held.contains(.requester) || held.contains(.admin) else {
            return "cannot ask for access: \(identity.name) is not a requester"
        }
        if let refusal = refusal(ofDelegateOf: identity, toAskUnder: policies.map(\.name)) {
            return refusal
        }
        return policies.first { !$0.mayAsk(identity, roles: held) }.map {
            "cannot open \($0.name): \(identity.name) is not among its requesters"
        }
    }

    /// Every opening once, or none where there are too many.
    private static func openings(
        of ports: [Target],
        for sources: [CIDR]
    ) -> ([Opening], [Violation]) {
        let grants = ports.count * sources.count
        let elements = ports.reduce(0) { $0 + $1.port.portCount } * sources.count
        var violations: [Violation] = []
        if grants > RequestLimits.grants {
            violations.append(
                Violation(
                    field: "targets",
                    value: "\(grants) grants",
                    allowed: "at most \(RequestLimits.grants) grants",
                    message: "cannot open \(ports.count) ports or ranges for \(sources.count) "
                        + "sources in one request: that is \(grants) grants"
                )
            )
        }
        if elements > RequestLimits.elements {
            violations.append(
                Violation(
                    field: "targets",
                    value: "\(elements) ports",
                    allowed: "at most \(RequestLimits.elements) ports",
                    message: "cannot open \(elements) ports in one request, "
                        + "each protocol and source counted; ask for fewer or narrower ones"
                )
            )
        }
        guard violations.isEmpty else { return ([], violations) }
        let openings = ports.flatMap { target in
            sources.map {
                Opening(
                    policy: target.policy,
                    port: target.port,
                    host: target.host,
                    source: $0
                )
            }
        }
        return (openings, [])
    }

    /// The sources of another family than a host has.
    private static func violations(
        ofFamilies targets: [Target],
        for sources: [CIDR]
    ) -> [Violation] {
        sources.compactMap { source in
            let host = targets.lazy.compactMap(\.host).first { $0.family != source.family }
            return host.map { host in
                let (wanted, other) = host.family == .ipv4 ? ("IPv4", "IPv6") : ("IPv6", "IPv4")
                return Violation(
                    field: "sources",
                    value: source.description,
                    allowed: "an \(wanted) source",
                    message:
                        "cannot open \(host) for \(source): from \(other) nothing comes to it; "
                        + "ask for an \(wanted) source"
                )
            }
        }
    }

    /// The policies under which the requester would hold too many grants.
    static func overcrowded(
        _ openings: [Opening],
        in policies: [AccessPolicy],
        by identity: Identity,
        active: (String) -> Int
    ) -> [Violation] {
        policies.compactMap { policy in
            let added = openings.count { $0.policy == policy.name }
            let held = max(0, active(policy.name))
            let free = max(0, policy.maxActivePerRequester - held)
            guard added > free else { return nil }
            return Violation(
                field: "targets",
                value: "\(added) grants",
                allowed: "at most \(free) grants",
                message: "cannot open \(added) more under policy \(policy.name): \(identity.name) "
                    + "holds \(held) of at most \(policy.maxActivePerRequester) grants; "
                    + "`sallyport close ID` makes room"
            )
        }
    }
}

extension AccessPolicy {
    /// Whether an identity with these roles may ask here; an admin always may.
    public func mayAsk(_ identity: Identity, roles: Set<Role>) -> Bool {
        if roles.contains(.admin) { return true }
        guard roles.contains(.requester) else { return false }
        return requesters?.contains { $0.matches(identity) } ?? true
    }
}

extension PortRange {
    /// How many ports it has, each counted for each protocol; as many elements of the kernel's sets
    /// one source needs.
    public var portCount: Int { count * portProtocol.transports.count }
}

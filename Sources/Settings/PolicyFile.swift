import Policy

/// A policy and where its parts stand, for the checks across policies.
struct PlacedPolicy {
    var policy: AccessPolicy
    var name: (key: String, place: Place)
    var ports: [(range: PortRange, key: String, place: Place)]
    var principals: [PlacedPrincipal]
}

extension AccessPolicy {
    private static let keys = [
        "name", "description", "ports", "hosts", "allowed_sources", "max_duration",
        "default_duration",
        "widest_source", "requesters", "approvals", "approvers", "pending_for", "reason",
        "reason_min_length", "ticket_pattern", "sessions", "udp_sessions",
        "max_active_per_requester", "enabled",
    ]

    /// Reads all policies of a file: `policies:` and a list of mappings.
    static func read(_ root: Field) -> [PlacedPolicy] {
        guard let fields = root.mapping(["policies"]) else { return [] }
        return fields["policies"]?.list("- name: ssh", read(policy:)) ?? []
    }

    static func read(policy field: Field) -> PlacedPolicy? {
        guard let fields = field.mapping(keys) else { return nil }
        let name = field.required("name", in: fields)
        let ports = field.required("ports", in: fields)?.nonEmptyList("[22/tcp]") { item in
            item.value(PortRange.self).map { (range: $0, key: item.key, place: item.place) }
        }
        var policy = AccessPolicy(
            name: name.flatMap(readName) ?? "",
            ports: ports?.map(\.range) ?? []
        )
        policy.description = fields["description"]?.text()
        policy.hosts = fields["hosts"].map(readHosts)
        if let sources = fields["allowed_sources"] {
            policy.allowedSources =
                sources.nonEmptyList("[10.0.0.0/8]") { $0.value(CIDR.self) } ?? []
        }
        readDurations(fields, into: &policy)
        if let widest = fields["widest_source"]?.mapping(["ipv4", "ipv6"]) {
            policy.widestSource = WidestSource(
                ipv4: widest["ipv4"]?.integer(in: 0...32) ?? policy.widestSource.ipv4,
                ipv6: widest["ipv6"]?.integer(in: 0...128) ?? policy.widestSource.ipv6
            )
        }
        let requesters = fields["requesters"]?.principals(orNone: false)
        policy.requesters = requesters?.map(\.principal)
        if let word = fields["reason"]?.word(ReasonRule.allCases.map(\.rawValue)) {
            policy.reason = ReasonRule(rawValue: word) ?? .required
        }
        policy.reasonMinLength = fields["reason_min_length"]?.integer(in: 0...1_000) ?? 0
        policy.ticketPattern = fields["ticket_pattern"]?.value(TicketPattern.self)
        if let most = fields["max_active_per_requester"]?.integer(in: 1...100_000) {
            policy.maxActivePerRequester = most
        }
        policy.enabled = fields["enabled"]?.boolean() ?? true
        policy.approvals = fields["approvals"]?.integer(in: 0...100) ?? 0
        let approvers = fields["approvers"]?.principals(orNone: false)
        policy.approvers = approvers?.map(\.principal)
        let waits = Duration.seconds(60)...Duration.seconds(7 * 86_400)
        if let wait = fields["pending_for"]?.duration(in: waits) { policy.pendingFor = wait }
        if let mode = fields["sessions"]?.sessionMode() { policy.sessions = mode }
        if let mode = fields["udp_sessions"]?.sessionMode() { policy.udpSessions = mode }
        return PlacedPolicy(
            policy: policy,
            name: (name?.key ?? field.key, name?.place ?? field.place),
            ports: ports ?? [],
            principals: (requesters ?? []) + (approvers ?? [])
        )
    }

    private static func readName(_ field: Field) -> String? {
        guard let name = field.name() else { return nil }
        guard name.utf8.contains(where: { (0x61...0x7A).contains($0) }) else {
            field.fault("must have a letter, or it could be taken for a port")
            return nil
        }
        return name
    }

    /// Reads destinations, of which none may lie in another.
    private static func readHosts(_ field: Field) -> [CIDR] {
        var hosts: [CIDR] = []
        let read = field.nonEmptyList("[192.0.2.0/24]") { item -> CIDR? in
            guard let range = item.value(CIDR.self) else { return nil }
            if let kind = range.nobodysKind {
                item.fault("no host behind this machine has \(kind) addresses")
            } else if let other = hosts.first(where: { $0.overlaps(range) }) {
                item.fault("\(range) overlaps \(other) of the same policy")
            } else {
                hosts.append(range)
            }
            return range
        }
        return read ?? []
    }

    private static func readDurations(_ fields: [String: Field], into policy: inout AccessPolicy) {
        let limits = maxDurations
        if let longest = fields["max_duration"]?.duration(in: limits) {
            policy.maxDuration = longest
        }
        policy.defaultDuration = policy.maxDuration
        guard let field = fields["default_duration"],
            let duration = field.duration(in: .seconds(1)...limits.upperBound)
        else { return }
        if duration > policy.maxDuration {
            field.fault(
                "must be at most max_duration, which is \(policy.maxDuration.compactDescription)"
            )
        }
        policy.defaultDuration = duration
    }
}

extension Field {
    /// The field of a key that must be there.
    func required(_ name: String, in fields: [String: Field]) -> Field? {
        if fields[name] == nil {
            faults.add(place, key.isEmpty ? name : "\(key).\(name)", "is missing")
        }
        return fields[name]
    }

    /// A name of 1...63 lower-case letters, digits and hyphens.
    func name() -> String? {
        guard let name = text() else { return nil }
        guard Subject.isIssuerName(name), !name.hasPrefix("-") else {
            fault(
                "must be 1...63 lower-case letters, digits and hyphens, and not begin with a hyphen"
            )
            return nil
        }
        return name
    }

    fileprivate func sessionMode() -> SessionMode? {
        word(SessionMode.allCases.map(\.rawValue)).flatMap(SessionMode.init)
    }

    /// A user or group.
    func principal() -> PlacedPrincipal? {
        guard text() != nil, let principal = value(Principal.self) else { return nil }
        return PlacedPrincipal(principal: principal, field: self)
    }

    /// Users and groups; an empty list may mean none, or not be there.
    func principals(orNone: Bool) -> [PlacedPrincipal]? {
        let example = "[\"group:ops\"]"
        return orNone
            ? list(example) { $0.principal() } : nonEmptyList(example) { $0.principal() }
    }
}

/// A user or group and where it is named.
struct PlacedPrincipal {
    var principal: Principal
    var field: Field
}

/// Finds what several have that only one may have.
func refuseRepeated(
    _ names: [(name: String, key: String, place: Place)],
    _ what: String,
    _ faults: Faults
) {
    var first: [String: Place] = [:]
    for (name, key, place) in names {
        if let first = first[name] {
            faults.add(place, key, "\(name) is \(what) at \(first) already")
        } else {
            first[name] = place
        }
    }
}

/// Finds names and ports that belong to several policies.
func refuseConflicts(among policies: [PlacedPolicy], _ faults: Faults) {
    refuseRepeated(
        policies.filter { !$0.policy.name.isEmpty }.map {
            ($0.policy.name, $0.name.key, $0.name.place)
        },
        "the name of the policy",
        faults
    )

    refuseOverlaps(among: policies.filter { $0.policy.hosts == nil }, faults)
    // Those of hosts may have the same ports where they have no host in common.
    let gateways = policies.filter { $0.policy.hosts != nil }
    for (index, late) in gateways.enumerated() {
        refuseOverlaps(among: [late], faults)
        for early in gateways[..<index] {
            let shared = (late.policy.hosts ?? []).first { host in
                early.policy.hosts?.contains { $0.overlaps(host) } ?? false
            }
            guard let shared else { continue }
            for port in late.ports {
                guard let other = early.ports.first(where: { $0.range.overlaps(port.range) })
                else { continue }
                faults.add(
                    port.place,
                    port.key,
                    "\(port.range) overlaps \(other.range) of policy \(early.policy.name) at "
                        + "\(other.place), and both are for \(shared); a port of a host can be in "
                        + "one policy only"
                )
            }
        }
    }
}

/// Finds ports that belong to several policies for the same destinations, or twice to one.
private func refuseOverlaps(among policies: [PlacedPolicy], _ faults: Faults) {
    // In the order of the ports a range can only overlap one before it that reaches far enough;
    // of those the one that reaches farthest is remembered for each protocol.
    let ports = policies.enumerated().flatMap { index, placed in
        placed.ports.map { (policy: index, port: $0) }
    }
    var farthest: [Transport: Int] = [:]
    for index in ports.indices.sorted(by: { ports[$0].port.range < ports[$1].port.range }) {
        let range = ports[index].port.range
        let other = range.portProtocol.transports.lazy.compactMap { farthest[$0] }
            .first { ports[$0].port.range.overlaps(range) }
        if let other {
            let (early, late) = (ports[min(index, other)], ports[max(index, other)])
            let owner = policies[early.policy].policy.name
            faults.add(
                late.port.place,
                late.port.key,
                early.policy == late.policy
                    ? "\(late.port.range) overlaps \(early.port.range) of the same policy"
                    : "\(late.port.range) overlaps \(early.port.range) of policy \(owner) at "
                        + "\(early.port.place); a port can be in one policy only"
            )
        }
        for transport in range.portProtocol.transports {
            let reach = farthest[transport].map { ports[$0].port.range.upper } ?? 0
            if range.upper > reach { farthest[transport] = index }
        }
    }
}

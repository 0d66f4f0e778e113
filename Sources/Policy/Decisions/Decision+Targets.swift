extension PolicySet {
    /// A port to open, of which host, and the policy that manages it.
    struct Target: Hashable {
        var policy: String
        var port: PortRange
        var host: IPAddress?
    }

    /// Finds the policies and ports that the targets of a request mean, each once.
    func resolve(
        targets: [String]
    ) -> (ports: [Target], policies: [AccessPolicy], violations: [Violation]) {
        var ports: [Target] = []
        var seen: Set<Target> = []
        var policies: [AccessPolicy] = []
        var violations: [Violation] = []
        if targets.isEmpty || targets.count > RequestLimits.targets {
            violations.append(
                Violation(
                    field: "targets",
                    value: "\(targets.count) targets",
                    allowed: targets.isEmpty
                        ? askable.first ?? askableList : "at most \(RequestLimits.targets) targets",
                    message: "cannot open \(targets.count) targets: name 1 to "
                        + "\(RequestLimits.targets) policies or ports; \(askableText)"
                )
            )
        }
        for (index, text) in targets.prefix(RequestLimits.targets).enumerated() {
            let field = "targets[\(index)]"
            switch managed(text, field) {
            case .failure(let violation):
                violations.append(violation)
            case .success(let (policy, range, host)):
                if !policies.contains(where: { $0.name == policy.name }) { policies.append(policy) }
                for port in range {
                    let target = Target(policy: policy.name, port: port, host: host)
                    if let violation = tooWide(port, text, field) {
                        violations.append(violation)
                    } else if seen.insert(target).inserted {
                        ports.append(target)
                    }
                }
            }
        }
        return (ports, policies, violations)
    }

    private typealias Managed = (policy: AccessPolicy, ports: [PortRange], host: IPAddress?)

    /// Finds what `ssh`, `22/tcp`, `ssh@192.0.2.7` or `22/tcp@192.0.2.7` means.
    private func managed(_ text: String, _ field: String) -> Result<Managed, Violation> {
        let isPort = { (text: String) in text.utf8.contains(UInt8(ascii: "/")) }
        guard let at = text.utf8.firstIndex(of: UInt8(ascii: "@")) else {
            return isPort(text)
                ? managed(port: text, at: nil, field) : managed(name: text, at: nil, field)
        }
        let what = String(text[..<at])
        let address = String(text[text.utf8.index(after: at)...])
        guard !what.isEmpty else {
            let value = printable(text)
            return .failure(
                Violation(
                    field: field,
                    value: value,
                    allowed: "POLICY\(value)",
                    message: "cannot open \(value): in front of @ stands a policy or port; "
                        + askableText
                )
            )
        }
        do throws(ParseError) {
            if isPort(address) { throw ParseError(address, "that is a range") }
            let host = try IPAddress(parsing: address)
            return isPort(what)
                ? managed(port: what, at: host, field) : managed(name: what, at: host, field)
        } catch {
            let value = printable(text)
            return .failure(
                Violation(
                    field: field,
                    value: value,
                    allowed: error.suggestion.map { "\(printable(what))@\($0)" }
                        ?? "\(printable(what))@ADDRESS",
                    message: "cannot open \(value): behind @ stands the address of one host: "
                        + error.message
                )
            )
        }
    }

    /// A policy with what of it is asked for, or why it is not for that host.
    private func managed(
        _ ports: [PortRange],
        of policy: AccessPolicy,
        _ what: String,
        at host: IPAddress?,
        _ field: String
    ) -> Result<Managed, Violation> {
        if policy.isFor(host) { return .success((policy, ports, host)) }
        let (allowed, why): (String, String)
        if let hosts = policy.hosts {
            let example = "\(what)@\(hosts[0].address)"
            allowed = "\(what)@ and an address of \(listed(hosts))"
            why =
                host == nil
                ? "policy \(policy.name) is for hosts behind this machine, \(listed(hosts)); "
                    + "name one, like \(example)"
                : "policy \(policy.name) is for \(listed(hosts)) only"
        } else {
            allowed = what
            why = "policy \(policy.name) is for this machine itself; ask for \(what)"
        }
        let value = host.map { "\(what)@\($0)" } ?? what
        return .failure(
            Violation(
                field: field,
                value: value,
                allowed: allowed,
                message: "cannot open \(value): \(why)"
            )
        )
    }

    private func managed(
        name: String,
        at host: IPAddress?,
        _ field: String
    ) -> Result<Managed, Violation> {
        if let policy = policy(named: name), policy.enabled {
            return managed(policy.ports, of: policy, name, at: host, field)
        }
        let value = printable(name)
        if policy(named: name) != nil {
            return .failure(
                Violation(
                    field: field,
                    value: value,
                    allowed: askableList,
                    message: "cannot open \(value): the policy is not enabled; \(askableText)"
                )
            )
        }
        let suggestion = (try? PortRange(parsing: name + "/tcp")).flatMap { guess in
            managedRanges.first { $0.contains(guess) }.map { _ in guess.description }
        }
        let meant = suggestion ?? nearest(to: name, among: askable)
        return .failure(
            Violation(
                field: field,
                value: value,
                allowed: meant ?? askableList,
                message: "cannot open \(value): there is no such policy; "
                    + (meant.map { "did you mean \($0)? " } ?? "") + askableText
            )
        )
    }

    private func managed(
        port text: String,
        at host: IPAddress?,
        _ field: String
    ) -> Result<Managed, Violation> {
        let port: PortRange
        do {
            port = try PortRange(parsing: text)
        } catch {
            return .failure(
                Violation(
                    field: field,
                    value: error.value,
                    allowed: error.suggestion ?? askableList,
                    message: "cannot open \(error.value): \(error.message)"
                )
            )
        }
        let managing = policies.filter { policy in
            policy.enabled && policy.ports.contains { $0.contains(port) }
        }
        if let policy = managing.first(where: { $0.isFor(host) }) ?? managing.first {
            return managed([port], of: policy, port.description, at: host, field)
        }
        let part = managedRanges.lazy.compactMap { $0.intersection(port) }.first?.description
        return .failure(
            Violation(
                field: field,
                value: port.description,
                allowed: part ?? listed(managedRanges),
                message: part.map {
                    "cannot open \(port): no policy manages all of it; \($0) can be asked for"
                } ?? "cannot open \(port): no policy manages it; managed ports are "
                    + listed(managedRanges)
            )
        )
    }

    private func tooWide(_ port: PortRange, _ text: String, _ field: String) -> Violation? {
        let last = UInt16(clamping: Int(port.lower) + RequestLimits.portsPerGrant - 1)
        guard port.count > RequestLimits.portsPerGrant,
            let narrower = PortRange(port.lower, last, port.portProtocol)
        else { return nil }
        return Violation(
            field: field,
            value: printable(text),
            allowed: narrower.description,
            message: "cannot open \(port): one grant covers at most "
                + "\(RequestLimits.portsPerGrant) ports; ask for a narrower range like \(narrower)"
        )
    }

    /// The names of the policies that can be asked for.
    private var askable: [String] { policies.filter(\.enabled).map(\.name) }

    private var askableList: String { askable.isEmpty ? "nothing" : listed(askable) }

    private var askableText: String { "what can be asked for: \(askableList)" }
}

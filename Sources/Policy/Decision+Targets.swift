extension PolicySet {
    /// A port to open and the policy that manages it.
    struct Target: Hashable {
        var policy: String
        var port: PortRange
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
            switch text.contains("/") ? managed(port: text, field) : managed(name: text, field) {
            case .failure(let violation):
                violations.append(violation)
            case .success(let (policy, range)):
                if !policies.contains(where: { $0.name == policy.name }) { policies.append(policy) }
                for port in range {
                    if let violation = tooWide(port, text, field) {
                        violations.append(violation)
                    } else if seen.insert(Target(policy: policy.name, port: port)).inserted {
                        ports.append(Target(policy: policy.name, port: port))
                    }
                }
            }
        }
        return (ports, policies, violations)
    }

    private typealias Managed = (policy: AccessPolicy, ports: [PortRange])

    private func managed(name: String, _ field: String) -> Result<Managed, Violation> {
        if let policy = policy(named: name), policy.enabled {
            return .success((policy, policy.ports))
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

    private func managed(port text: String, _ field: String) -> Result<Managed, Violation> {
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
        let enabled = policies.lazy.filter(\.enabled)
        if let policy = enabled.first(where: { $0.ports.contains { $0.contains(port) } }) {
            return .success((policy, [port]))
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

extension PolicySet {
    /// Reads the sources of a request, each once, and holds them against the policies.
    static func read(
        sources: [String],
        of identity: Identity,
        for policies: [AccessPolicy]
    ) -> (ranges: [CIDR], violations: [Violation]) {
        var ranges: [CIDR] = []
        var seen: Set<CIDR> = []
        var violations: [Violation] = []
        if sources.isEmpty || sources.count > RequestLimits.sources {
            violations.append(
                Violation(
                    field: "sources",
                    value: "\(sources.count) sources",
                    allowed: "at least 1 and at most \(RequestLimits.sources) sources",
                    message: "cannot open for \(sources.count) sources: name 1 to "
                        + "\(RequestLimits.sources) addresses or ranges"
                )
            )
        }
        for (index, text) in sources.prefix(RequestLimits.sources).enumerated() {
            let field = "sources[\(index)]"
            do {
                let range = try CIDR(parsing: text)
                if seen.insert(range).inserted { ranges.append(range) }
                violations += Self.violations(of: range, field, for: policies)
                if let strange = Self.violation(ofStrange: range, field, for: identity) {
                    violations.append(strange)
                }
            } catch {
                violations.append(
                    Violation(
                        field: field,
                        value: error.value,
                        allowed: error.suggestion
                            ?? "an address or range, like 192.0.2.1 or 2001:db8::/64",
                        message: "cannot read \(error.value) as a source: \(error.message)"
                    )
                )
            }
        }
        return (ranges, violations)
    }

    private static func violations(
        of range: CIDR,
        _ field: String,
        for policies: [AccessPolicy]
    ) -> [Violation] {
        if let kind = range.nobodysKind {
            return [
                Violation(
                    field: field,
                    value: range.description,
                    allowed: "an address that others have",
                    message: "cannot open for \(range): nobody comes from \(kind) addresses"
                )
            ]
        }
        let outside = policies.filter { !$0.allowedSources.contains { $0.contains(range) } }
        let narrowest = policies.max {
            $0.widestSource.prefixLength(range.family) < $1.widestSource.prefixLength(range.family)
        }
        let length = narrowest?.widestSource.prefixLength(range.family) ?? 0
        guard !outside.isEmpty || range.prefixLength < length else { return [] }

        let nearest = nearest(to: range, for: policies)
            .flatMap { $0.prefixLength < length ? nil : $0.description }
        var violations = outside.prefix(1).map { policy in
            let others = outside.count > 1 ? " and \(outside.count - 1) more" : ""
            return Violation(
                field: field,
                value: range.description,
                allowed: nearest ?? listed(policy.allowedSources),
                message: "cannot open for \(range): policy \(policy.name)\(others) allows only "
                    + "sources in \(listed(policy.allowedSources))"
            )
        }
        if let narrowest, range.prefixLength < length {
            violations.append(
                Violation(
                    field: field,
                    value: range.description,
                    allowed: "/\(length)",
                    message: "cannot open for \(range): policy \(narrowest.name) allows ranges of "
                        + "/\(length) and narrower"
                )
            )
        }
        return violations
    }

    /// The widest range inside `range` whose sources every policy allows; nil where there is none.
    private static func nearest(to range: CIDR, for policies: [AccessPolicy]) -> CIDR? {
        // Two ranges that overlap lie in each other, so what they share is the narrower one.
        var candidates = [range]
        for policy in policies {
            let shared = candidates.flatMap { candidate in
                policy.allowedSources.filter { $0.overlaps(candidate) }
                    .map { $0.prefixLength > candidate.prefixLength ? $0 : candidate }
            }
            candidates = Array(Set(shared))
        }
        return candidates.min { ($0.prefixLength, $0) < ($1.prefixLength, $1) }
    }
}

extension PolicySet {
    /// When and how long a request opens: what it says, or else at once, and the shortest default
    /// of the policies.
    static func time(
        of ask: Ask,
        for policies: [AccessPolicy],
        at now: Timestamp
    ) -> (start: Timestamp?, duration: Duration?, violations: [Violation]) {
        let strictest = policies.min { $0.maxDuration < $1.maxDuration }
        var duration = policies.map { min($0.defaultDuration, $0.maxDuration) }.min()
        var (start, violations) = ask.at.map { self.start($0, at: now) } ?? (nil, [])
        if let text = ask.duration {
            do {
                let asked = try Duration(parsing: text)
                duration = asked
                violations += Self.violations(ofDuration: asked, strictest: strictest)
            } catch {
                violations.append(
                    Violation(
                        field: "duration",
                        value: error.value,
                        allowed: error.suggestion
                            ?? strictest.map { "at most \($0.maxDuration.compactDescription)" }
                            ?? "a duration like 45m",
                        message: "cannot read \(error.value) as a duration: \(error.message)"
                    )
                )
            }
        }
        if let text = ask.until {
            if ask.duration != nil {
                violations.append(
                    Violation(
                        field: "until",
                        value: printable(text),
                        allowed: "duration or until",
                        message: "cannot take a duration and an end; leave one of them out"
                    )
                )
            }
            do {
                let end = try Timestamp(parsing: text)
                duration = end - (start ?? now)
                violations += Self.violations(
                    ofEnd: end,
                    strictest: strictest,
                    from: start,
                    at: now
                )
            } catch {
                violations.append(
                    Violation(
                        field: "until",
                        value: error.value,
                        allowed: strictest.map { "at most \(now + $0.maxDuration)" }
                            ?? "an instant after \(now)",
                        message: "cannot read \(error.value) as an instant: \(error.message)"
                    )
                )
            }
        }
        return (start, duration, violations)
    }

    /// Reads when a request is to open.
    private static func start(_ text: String, at now: Timestamp) -> (Timestamp?, [Violation]) {
        let furthest = now + RequestLimits.furthestStart
        let message: String
        let value: String
        do {
            let start = try Timestamp(parsing: text)
            if now < start, start <= furthest { return (start, []) }
            value = start.description
            message =
                start > now
                ? "cannot open from \(start): a start may lie at most "
                    + "\(RequestLimits.furthestStart.compactDescription) ahead"
                : "cannot open from \(start): it is over, now it is \(now); leave it out to open "
                    + "at once"
        } catch {
            value = error.value
            message = "cannot read \(error.value) as an instant: \(error.message)"
        }
        let allowed = "after \(now), at most \(furthest)"
        return (nil, [Violation(field: "at", value: value, allowed: allowed, message: message)])
    }

    /// Holds a duration against the policy that allows the least.
    static func violations(
        ofDuration duration: Duration,
        strictest: AccessPolicy?
    ) -> [Violation] {
        guard let strictest, duration > strictest.maxDuration else { return [] }
        let limit = strictest.maxDuration.compactDescription
        let text = duration.compactDescription
        return [
            Violation(
                field: "duration",
                value: text,
                allowed: "at most \(limit)",
                message: "cannot open for \(text): policy \(strictest.name) allows at most \(limit)"
            )
        ]
    }

    private static func violations(
        ofEnd end: Timestamp,
        strictest: AccessPolicy?,
        from start: Timestamp?,
        at now: Timestamp
    ) -> [Violation] {
        let first = start ?? now
        if end <= first {
            return [
                Violation(
                    field: "until",
                    value: end.description,
                    allowed: "after \(first)",
                    message: start.map { "cannot open until \(end): the start is \($0)" }
                        ?? "cannot open until \(end): it is over; now it is \(now)"
                )
            ]
        }
        guard let strictest, end - first > strictest.maxDuration else { return [] }
        let limit = first + strictest.maxDuration
        return [
            Violation(
                field: "until",
                value: end.description,
                allowed: "at most \(limit)",
                message: "cannot open until \(end): policy \(strictest.name) allows at most "
                    + "\(strictest.maxDuration.compactDescription), which is until \(limit)"
            )
        ]
    }
}

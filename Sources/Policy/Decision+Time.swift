extension PolicySet {
    /// How long a request opens: what it says, or else the shortest default of the policies.
    static func time(
        of ask: Ask,
        for policies: [AccessPolicy],
        at now: Timestamp
    ) -> (duration: Duration?, violations: [Violation]) {
        let strictest = policies.min { $0.maxDuration < $1.maxDuration }
        var duration = policies.map { min($0.defaultDuration, $0.maxDuration) }.min()
        var violations: [Violation] = []
        if let text = ask.duration {
            do {
                let asked = try Duration(parsing: text)
                duration = asked
                if let strictest, asked > strictest.maxDuration {
                    let limit = strictest.maxDuration.compactDescription
                    violations.append(
                        Violation(
                            field: "duration",
                            value: text,
                            allowed: "at most \(limit)",
                            message: "cannot open for \(text): policy \(strictest.name) allows "
                                + "at most \(limit)"
                        )
                    )
                }
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
                duration = end - now
                violations += Self.violations(ofEnd: end, strictest: strictest, at: now)
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
        return (duration, violations)
    }

    private static func violations(
        ofEnd end: Timestamp,
        strictest: AccessPolicy?,
        at now: Timestamp
    ) -> [Violation] {
        if end <= now {
            return [
                Violation(
                    field: "until",
                    value: end.description,
                    allowed: "after \(now)",
                    message: "cannot open until \(end): it is over; now it is \(now)"
                )
            ]
        }
        guard let strictest, end - now > strictest.maxDuration else { return [] }
        let limit = now + strictest.maxDuration
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

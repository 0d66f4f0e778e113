extension Ask {
    /// The reason without surrounding space; nil where nothing is left.
    public var trimmedReason: String? {
        guard let reason, let first = reason.firstIndex(where: { !$0.isWhitespace }),
            let last = reason.lastIndex(where: { !$0.isWhitespace })
        else { return nil }
        return String(reason[first...last])
    }
}

extension PolicySet {
    /// Holds the reason of a request against the policies.
    ///
    /// Its length is counted in letters, of whatever script: what else a text has says nothing.
    static func violations(
        ofReason ask: Ask,
        for policies: [AccessPolicy]
    ) -> [Violation] {
        let reason = ask.trimmedReason
        if reason == nil, !policies.contains(where: { $0.reason == .required }) { return [] }
        let strictest = policies.max { $0.fewestLetters < $1.fewestLetters }
        let fewest = strictest?.fewestLetters ?? 0
        let atLeast = fewest <= 1 ? "a reason" : "at least \(fewest) letters"
        guard let reason else {
            return policies.filter { $0.reason == .required }.prefix(1).map {
                Violation(
                    field: "reason",
                    value: "",
                    allowed: atLeast,
                    message: "cannot open without a reason: policy \($0.name) requires one"
                )
            }
        }
        let violations = textViolations(
            reason,
            field: "reason",
            characters: RequestLimits.reasonCharacters
        )
        let letters = reason.count(where: \.isLetter)
        guard let strictest, violations.isEmpty, letters < fewest else { return violations }
        return [
            Violation(
                field: "reason",
                value: printable(reason),
                allowed: atLeast,
                message: "cannot take a reason of \(letters) letters: policy \(strictest.name) "
                    + "asks for \(atLeast)"
            )
        ]
    }

    /// Holds the reason for which a request is denied or ended against what its requester is owed:
    /// words.
    public static func violations(ofAnswer reason: String) -> [Violation] {
        let violations = textViolations(
            reason,
            field: "reason",
            characters: RequestLimits.reasonCharacters
        )
        guard violations.isEmpty, !reason.contains(where: \.isLetter) else { return violations }
        return [
            Violation(
                field: "reason",
                value: printable(reason),
                allowed: "a reason",
                message: "cannot take a reason without letters: the requester is told it"
            )
        ]
    }

    /// Holds the ticket of a request against the policies' patterns.
    static func violations(
        ofTicket ticket: String?,
        for policies: [AccessPolicy]
    ) -> [Violation] {
        let demanded = policies.compactMap { policy in
            policy.ticketPattern.map { (policy: policy.name, pattern: $0) }
        }
        guard let ticket, !ticket.isEmpty else {
            return demanded.prefix(1).map { policy, pattern in
                Violation(
                    field: "ticket",
                    value: "",
                    allowed: pattern.description,
                    message: "cannot open without a ticket: policy \(policy) requires one that "
                        + "matches \(pattern)"
                )
            }
        }
        let violations = textViolations(
            ticket,
            field: "ticket",
            characters: RequestLimits.ticketCharacters
        )
        guard violations.isEmpty else { return violations }
        return demanded.filter { !$0.pattern.matches(ticket) }.map { policy, pattern in
            Violation(
                field: "ticket",
                value: printable(ticket),
                allowed: pattern.description,
                message: "cannot take ticket \(printable(ticket)): policy \(policy) asks for one "
                    + "that matches \(pattern)"
            )
        }
    }

    /// What no text of a request may be: too long, or able to disturb a terminal or a log.
    private static func textViolations(
        _ text: String,
        field: String,
        characters: Int
    ) -> [Violation] {
        var violations: [Violation] = []
        let bytes = characters * RequestLimits.bytesPerCharacter
        if text.utf8.count > bytes || text.count > characters {
            violations.append(
                Violation(
                    field: field,
                    value: printable(text),
                    allowed: "at most \(characters) characters",
                    message: "cannot take a \(field) this long: at most \(characters) characters "
                        + "and \(bytes) bytes are kept"
                )
            )
        }
        if text.unicodeScalars.contains(where: \.steersOutput) {
            violations.append(
                Violation(
                    field: field,
                    value: printable(text),
                    allowed: "no control characters",
                    message: "cannot take a \(field) with control characters or line breaks"
                )
            )
        }
        return violations
    }
}

extension AccessPolicy {
    /// How many letters a reason has to have, where there is one.
    fileprivate var fewestLetters: Int {
        reason == .required ? max(1, reasonMinLength) : reasonMinLength
    }
}

extension Duration {
    /// The longest duration that is read: ten years of 365 days.
    static let longest = Duration.seconds(3_650 * 86_400)

    /// Reads `45m`, `1h30m`, `90s`, `2d`, or ISO 8601 `PT1H30M`, `P1D`.
    ///
    /// Whole numbers of days, hours, minutes and seconds, each at most once and in this order;
    /// more than zero, at most 3650 days. A day is 24 hours.
    public init(parsing text: String) throws(ParseError) {
        let bytes = Array(text.utf8.prefix(64))
        guard bytes.count == text.utf8.count, let first = bytes.first else {
            throw ParseError(text, Self.forms)
        }
        let seconds: Int
        if first == UInt8(ascii: "P") {
            let halves = bytes.dropFirst().split(
                separator: UInt8(ascii: "T"),
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            // "P1DT": a T that nothing follows is not ISO 8601.
            guard halves.count == 1 || halves.last?.isEmpty == false,
                let days = Self.seconds(halves[0], units: [("D", 86_400)]),
                let time = Self.seconds(
                    halves.dropFirst().first ?? [],
                    units: [("H", 3_600), ("M", 60), ("S", 1)]
                ),
                bytes.count > 1
            else { throw ParseError(text, Self.forms) }
            seconds = days + time
        } else {
            guard
                let sum = Self.seconds(
                    bytes[...],
                    units: [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
                )
            else {
                let suggestion =
                    Int(digits: bytes).map { "\($0)m" } ?? Self.suggestion(lowering: bytes)
                throw ParseError(text, Self.forms, suggestion: suggestion)
            }
            seconds = sum
        }
        guard seconds > 0 else { throw ParseError(text, "it must be longer than nothing") }
        guard .seconds(seconds) <= Self.longest else {
            throw ParseError(text, "it must be at most 3650d", suggestion: "3650d")
        }
        self = .seconds(seconds)
    }

    /// The short form, like `1h30m`: what `init(parsing:)` reads; days only from two on.
    ///
    /// Parts of a second are left out, and less than a second is `0s`; negative ones begin with
    /// a minus sign. Neither of these two is read back.
    public var compactDescription: String {
        var rest = components.seconds.magnitude
        var text = ""
        for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] as [(String, UInt64)]
        {
            let (count, remainder) = rest.quotientAndRemainder(dividingBy: size)
            guard count > 0, unit != "d" || count > 1 else { continue }
            text += "\(count)\(unit)"
            rest = remainder
        }
        return text.isEmpty ? "0s" : components.seconds < 0 ? "-" + text : text
    }

    /// The duration in milliseconds, rounded down; clamped to what fits.
    public var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (quotient, remainder) = attoseconds.quotientAndRemainder(
            dividingBy: 1_000_000_000_000_000
        )
        return milliseconds.addingClamped(remainder < 0 ? quotient - 1 : quotient)
    }

    private static let forms = "write a duration like 45m, 1h30m, 90s, 2d or PT1H30M"

    /// The text in lower case, where only that was wrong.
    private static func suggestion(lowering text: [UInt8]) -> String? {
        let lowered = String(decoding: text, as: UTF8.self).lowercased()
        guard Array(lowered.utf8) != text else { return nil }
        return (try? Self(parsing: lowered))?.compactDescription
    }

    /// The sum of `NUMBER UNIT` pairs, units in the given order; nil where it is anything else.
    private static func seconds(
        _ text: ArraySlice<UInt8>,
        units: [(name: Unicode.Scalar, size: Int)]
    ) -> Int? {
        var rest = text
        var sum = 0
        for unit in units {
            let digits = rest.prefix { $0 != UInt8(ascii: unit.name) }
            guard digits.count < rest.count else { continue }
            // Nine digits of days and three smaller terms stay far below Int.max.
            guard let count = Int(paddedDigits: digits) else { return nil }
            sum += count * unit.size
            rest = rest.dropFirst(digits.count + 1)
        }
        return rest.isEmpty ? sum : nil
    }
}

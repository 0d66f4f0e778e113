/// An instant of the wall clock, to the millisecond.
///
/// The text form is RFC 3339 in UTC, `2026-12-01T17:00:00Z`, with three digits of a second where
/// they are not zero.
public struct Timestamp: TextForm, Comparable {
    /// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    public var milliseconds: Int64

    /// Takes milliseconds since 1970-01-01T00:00:00Z.
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// Reads RFC 3339 with any offset, years 0000...9999 in UTC.
    ///
    /// Digits behind the millisecond are dropped. Second 60 is refused: leap seconds are not
    /// counted here.
    public init(parsing text: String) throws(ParseError) {
        guard let milliseconds = Self.milliseconds(Array(text.utf8.prefix(64))),
            text.utf8.count <= 64, Self.fourDigitYears.contains(milliseconds)
        else {
            throw ParseError(
                text,
                "write an instant of RFC 3339 like 2026-12-01T17:00:00Z or with an offset"
            )
        }
        self.milliseconds = milliseconds
    }

    /// The text form.
    public var description: String { String(capacity: 24) { $0.append(self) } }

    /// The earlier first.
    public static func < (a: Self, b: Self) -> Bool { a.milliseconds < b.milliseconds }

    /// The instant a duration later, rounded down to the millisecond and clamped to what fits.
    public static func + (instant: Self, duration: Duration) -> Self {
        Self(milliseconds: instant.milliseconds.addingClamped(duration.wholeMilliseconds))
    }

    /// The time from the second instant to the first, clamped to what fits.
    public static func - (end: Self, start: Self) -> Duration {
        .milliseconds(end.milliseconds.subtractingClamped(start.milliseconds))
    }
}

/// An instant of `CLOCK_BOOTTIME`, which runs on in suspend and is never set.
///
/// Only readings of the same boot can be compared.
public struct BootTime: Hashable, Comparable, Sendable {
    /// Milliseconds since the machine was booted.
    public var milliseconds: Int64

    /// Takes milliseconds since the machine was booted.
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// The earlier first.
    public static func < (a: Self, b: Self) -> Bool { a.milliseconds < b.milliseconds }

    /// The instant a duration later, rounded down to the millisecond and clamped to what fits.
    public static func + (instant: Self, duration: Duration) -> Self {
        Self(milliseconds: instant.milliseconds.addingClamped(duration.wholeMilliseconds))
    }

    /// The time from the second instant to the first, clamped to what fits.
    public static func - (end: Self, start: Self) -> Duration {
        .milliseconds(end.milliseconds.subtractingClamped(start.milliseconds))
    }
}

/// One reading of both clocks.
public struct Moment: Hashable, Sendable {
    /// The wall clock.
    public var wall: Timestamp
    /// The time since boot.
    public var boot: BootTime

    /// Takes readings made at the same moment.
    public init(wall: Timestamp, boot: BootTime) {
        self.wall = wall
        self.boot = boot
    }
}

extension Timestamp {
    /// 0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z: what four digits of a year can say.
    private static let fourDigitYears: ClosedRange<Int64> =
        -62_167_219_200_000...253_402_300_799_999

    /// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM)`; nil where it is anything else.
    private static func milliseconds(_ text: [UInt8]) -> Int64? {
        let shape = Array("dddd-dd-ddTdd:dd:dd".utf8)
        guard text.count > shape.count else { return nil }
        for (byte, expected) in zip(text, shape) {
            switch expected {
            case UInt8(ascii: "d"): guard isDigit(byte) else { return nil }
            // RFC 3339, 5.6: "T" and "Z" may be lower case.
            case UInt8(ascii: "T"): guard byte & 0xDF == expected else { return nil }
            default: guard byte == expected else { return nil }
            }
        }
        let number = { (range: Range<Int>) in Int64(Int(paddedDigits: text[range]) ?? 0) }
        let (year, month, day) = (number(0..<4), number(5..<7), number(8..<10))
        let (hour, minute, second) = (number(11..<13), number(14..<16), number(17..<19))
        guard (1...12).contains(month), (1...daysIn(month, of: year)).contains(day),
            hour < 24, minute < 60, second < 60
        else { return nil }

        var rest = text[shape.count...]
        var fraction: Int64 = 0
        if rest.first == UInt8(ascii: ".") {
            let digits = rest.dropFirst().prefix(while: isDigit)
            guard !digits.isEmpty else { return nil }
            for index in 0..<3 {
                let digit = digits.dropFirst(index).first ?? UInt8(ascii: "0")
                fraction = fraction * 10 + Int64(digit - UInt8(ascii: "0"))
            }
            rest = rest.dropFirst(1 + digits.count)
        }
        guard let offset = offsetMinutes(Array(rest)) else { return nil }
        let days = days(fromCivil: (year, month, day))
        let minutes = days * 1_440 + hour * 60 + minute - offset
        return (minutes * 60 + second) * 1_000 + fraction
    }

    /// Minutes east of UTC.
    private static func offsetMinutes(_ text: [UInt8]) -> Int64? {
        guard let sign = text.first else { return nil }
        if text.count == 1 { return sign & 0xDF == UInt8(ascii: "Z") ? 0 : nil }
        guard text.count == 6, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"),
            text[3] == UInt8(ascii: ":"), let hours = Int(paddedDigits: text[1...2]), hours < 24,
            let minutes = Int(paddedDigits: text[4...5]), minutes < 60
        else { return nil }
        return Int64(hours * 60 + minutes) * (sign == UInt8(ascii: "-") ? -1 : 1)
    }

    private static func daysIn(_ month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    /// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
    ///
    /// The algorithm days_from_civil of Howard Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms": years begin in March, so that the leap day is the last of its year, and 400
    /// of them make an era of 146,097 days.
    private static func days(fromCivil date: (year: Int64, month: Int64, day: Int64)) -> Int64 {
        let (era, yearOfEra) = floorDivide(date.month <= 2 ? date.year - 1 : date.year, 400)
        let dayOfYear = (153 * ((date.month + 9) % 12) + 2) / 5 + date.day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// The date of a number of days since 1970-01-01: civil_from_days of the same source.
    private static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        // The days of any Int64 of milliseconds are far from overflowing this sum.
        let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    /// Quotient rounded down and remainder in `0..<divisor`.
    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    /// What the text form is made of; only the year can be negative, or have more than four digits.
    fileprivate var parts:
        (year: Int64, month: Int64, day: Int64, second: Int64, millisecond: Int64)
    {
        let (seconds, millisecond) = Self.floorDivide(milliseconds, 1_000)
        let (days, second) = Self.floorDivide(seconds, 86_400)
        let (year, month, day) = Self.civil(fromDays: days)
        return (year, month, day, second, millisecond)
    }
}

extension [UInt8] {
    /// Appends the text form of an instant: every answer about a grant has four of them.
    package mutating func append(_ instant: Timestamp) {
        let (year, month, day, second, millisecond) = instant.parts
        if (0..<10_000).contains(year) {
            append(twoDigits: year / 100)
            append(twoDigits: year % 100)
        } else {
            if year < 0 { append(UInt8(ascii: "-")) }
            let digits = String(year.magnitude)
            append(text: String(repeating: "0", count: Swift.max(0, 4 - digits.count)) + digits)
        }
        append(UInt8(ascii: "-"))
        append(twoDigits: month)
        append(UInt8(ascii: "-"))
        append(twoDigits: day)
        append(UInt8(ascii: "T"))
        append(twoDigits: second / 3_600)
        append(UInt8(ascii: ":"))
        append(twoDigits: second / 60 % 60)
        append(UInt8(ascii: ":"))
        append(twoDigits: second % 60)
        if millisecond != 0 {
            append(UInt8(ascii: "."))
            append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: millisecond / 100))
            append(twoDigits: millisecond % 100)
        }
        append(UInt8(ascii: "Z"))
    }
}

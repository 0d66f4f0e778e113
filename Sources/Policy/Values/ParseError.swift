/// Why a text could not be read as a value.
public struct ParseError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text, shortened and with control characters escaped, so that it is safe to print.
    public var value: String
    /// What is wrong and what would be allowed, for the person who wrote it.
    public var message: String
    /// The nearest value that would be accepted, where there is one.
    public var suggestion: String?

    /// Makes an error about a text of any length and content.
    public init(_ text: some StringProtocol, _ message: String, suggestion: String? = nil) {
        self.value = printable(text)
        self.message = message
        self.suggestion = suggestion
    }

    /// The value and what is wrong with it in one line.
    public var description: String { "cannot read \"\(value)\": \(message)" }
}

/// A value with one text form, which is also how it is encoded.
public protocol TextForm: Codable, Hashable, Sendable, CustomStringConvertible {
    /// Reads the text form; surrounding space is not accepted.
    init(parsing text: String) throws(ParseError)
}

extension TextForm {
    /// Decodes the text form from a string.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        do {
            try self.init(parsing: try container.decode(String.self))
        } catch let error as ParseError {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: error.description
            )
        }
    }

    /// Encodes the text form as a string.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// At most 80 characters of a text from outside, without anything that steers a terminal.
package func printable(_ text: some StringProtocol) -> String { printable(text, most: 80) }

/// The beginning of a text from outside, without anything that steers a terminal.
package func printable(_ text: some StringProtocol, most: Int) -> String {
    // Scalars and not characters: one character can be of any length.
    var result = ""
    for (index, scalar) in text.unicodeScalars.enumerated() {
        if index == most { return result + "..." }
        if scalar.steersOutput {
            result += "\\u{" + String(scalar.value, radix: 16) + "}"
        } else {
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}

extension Unicode.Scalar {
    /// Whether the scalar does something to the text around it instead of being seen.
    ///
    /// The one rule for all that others write and people read: controls, what breaks a line, and
    /// the format characters, which turn the direction of text or hide in it. Of these the two
    /// joiners are let through: Persian, the scripts of India and emoji are written with them, and
    /// they only shape their neighbours.
    package var steersOutput: Bool {
        // Most text is ASCII: spare it the table lookup.
        if isASCII { return value < 0x20 || value == 0x7F }
        return switch properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: true
        case .format: value != 0x200C && value != 0x200D
        default: false
        }
    }
}

extension Int {
    /// Reads one to nine decimal digits, which cannot overflow; no sign, no leading zero.
    init?(digits: some Collection<UInt8>) {
        guard let first = digits.first, digits.count <= 9,
            first != UInt8(ascii: "0") || digits.count == 1
        else { return nil }
        self.init(paddedDigits: digits)
    }

    /// Reads one to nine decimal digits, which cannot overflow; no sign.
    init?(paddedDigits digits: some Collection<UInt8>) {
        guard !digits.isEmpty, digits.count <= 9 else { return nil }
        var value = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        self = value
    }
}

extension Int64 {
    /// The sum, or the nearest value that fits.
    func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }

    /// The difference, or the nearest value that fits.
    func subtractingClamped(_ other: Int64) -> Int64 {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? (other < 0 ? .max : .min) : difference
    }
}

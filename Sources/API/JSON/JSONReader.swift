private import Policy

/// Why a text is not the JSON document that is wanted.
package struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, after the name of the field where there is one: `sources[2]: this is not
    /// text`.
    package var description: String

    fileprivate init(_ place: JSONReader.Place?, _ reason: String) {
        description = place.map { "\($0): \(reason)" } ?? reason
    }

    init(wrong reason: String) { self.init(nil, reason) }

    init(missing field: String) { self.init(.field(field), "this field is missing") }
}

/// Reads a JSON text (RFC 8259) strictly, one value after another.
///
/// It takes what all parsers understand alike and refuses the rest: a field that is there twice, a
/// byte order mark, lone surrogates, control characters, bytes that are not UTF-8. It does not
/// follow what it was not asked for, so nothing can nest deeper than the documents do.
package struct JSONReader {
    /// Where a value stands, for errors.
    enum Place: CustomStringConvertible {
        case field(String)
        case item(of: String, Int)

        var description: String {
            switch self {
            case .field(let name): printable(name)
            case .item(let name, let index): "\(name)[\(index)]"
            }
        }
    }

    private let bytes: [UInt8]
    private var position = 0
    /// The field that is being read.
    private var place: Place?

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Reads an object that is the whole text.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - known: The fields it may have, each once.
    ///   - read: Reads the value of the field with the given name.
    /// - Throws: ``JSONError``, which names the field where the fault is in one.
    static func readObject(
        _ bytes: [UInt8],
        fields known: [String],
        _ read: (_ name: String, inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        var reader = Self(bytes)
        try reader.refuseByteOrderMark()
        guard reader.next() == UInt8(ascii: "{") else {
            try reader.refuseValue(because: "it is not the document this takes")
        }
        var seen: [String] = []
        try reader.readElements(until: UInt8(ascii: "}")) { reader throws(JSONError) in
            reader.place = nil
            guard reader.next() == UInt8(ascii: "\"") else { throw reader.notJSON }
            let name = try reader.readString()
            reader.place = .field(name)
            guard known.contains(name) else {
                throw reader.error(
                    "unknown field \"\(printable(name))\"; known are "
                        + known.joined(separator: ", ")
                )
            }
            guard !seen.contains(name) else { throw reader.error("this field is there twice") }
            seen.append(name)
            guard reader.take(UInt8(ascii: ":")) else { throw reader.notJSON }
            try read(name, &reader)
        }
        reader.place = nil
        guard reader.next() == nil else { throw reader.notJSON }
    }

    func refuseByteOrderMark() throws(JSONError) {
        guard !bytes.starts(with: [0xEF, 0xBB, 0xBF]) else {
            throw error("it begins with a byte order mark")
        }
    }

    /// Reads a value that must be text.
    mutating func readText() throws(JSONError) -> String {
        guard next() == UInt8(ascii: "\"") else { try refuseValue(because: "this is not text") }
        return try readString()
    }

    /// Reads a value that is text or null.
    mutating func readOptionalText() throws(JSONError) -> String? {
        if next() == UInt8(ascii: "n"), takeWord("null") { return nil }
        return try readText()
    }

    /// Reads a value that must be true or false.
    mutating func readFlag() throws(JSONError) -> Bool {
        switch next() {
        case UInt8(ascii: "t") where takeWord("true"): return true
        case UInt8(ascii: "f") where takeWord("false"): return false
        default: try refuseValue(because: "this is neither true nor false")
        }
    }

    /// Reads a value that must be a whole number of at most nine digits, or null.
    mutating func readOptionalNumber() throws(JSONError) -> Int? {
        if next() == UInt8(ascii: "n"), takeWord("null") { return nil }
        let digits = bytes[position...].prefix { (0x30...0x39).contains($0) }
        guard (1...9).contains(digits.count), digits.count == 1 || digits.first != 0x30 else {
            try refuseValue(because: "this is not a whole number")
        }
        position += digits.count
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    /// Reads a value that must be a list of texts.
    mutating func readTexts() throws(JSONError) -> [String] {
        guard next() == UInt8(ascii: "[") else { try refuseValue(because: "this is not a list") }
        guard case .field(let name) = place else { throw notJSON }
        var texts: [String] = []
        try readElements(until: UInt8(ascii: "]")) { reader throws(JSONError) in
            reader.place = .item(of: name, texts.count)
            texts.append(try reader.readText())
        }
        place = .field(name)
        return texts
    }

    /// Reads what stands between brackets, separated by commas; the first bracket is next.
    mutating func readElements(
        until end: UInt8,
        _ read: (inout Self) throws(JSONError) -> Void
    ) throws(JSONError) {
        position += 1
        if take(end) { return }
        repeat { try read(&self) } while take(UInt8(ascii: ","))
        guard take(end) else { throw notJSON }
    }

    /// The next byte that is no space, which stays there; nil at the end.
    mutating func next() -> UInt8? {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return bytes[position]
            }
        }
        return nil
    }

    /// Takes the next byte that is no space, if it is this one.
    mutating func take(_ byte: UInt8) -> Bool {
        guard next() == byte else { return false }
        position += 1
        return true
    }

    /// Takes the next bytes, spaces too, as long as they are such.
    mutating func takeBytes(upTo limit: Int = .max, while isWanted: (UInt8) -> Bool) -> String {
        let taken = bytes[position...].prefix(while: isWanted).prefix(limit)
        position += taken.count
        return String(decoding: taken, as: UTF8.self)
    }

    mutating func takeWord(_ word: String) -> Bool {
        guard bytes[position...].starts(with: word.utf8) else { return false }
        position += word.utf8.count
        return true
    }

    /// Refuses the next value, which is of another kind than wanted, if it is one at all.
    private mutating func refuseValue(because reason: String) throws(JSONError) -> Never {
        switch next() {
        case UInt8(ascii: "n") where takeWord("null"):
            throw place == nil ? error(reason) : error("this field is null")
        case UInt8(ascii: "t") where takeWord("true"), UInt8(ascii: "f") where takeWord("false"),
            UInt8(ascii: "\""), UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: "-"),
            (UInt8(ascii: "0")...UInt8(ascii: "9"))?:
            throw error(reason)
        default: throw notJSON
        }
    }

    func error(_ reason: String) -> JSONError { JSONError(place, reason) }

    var notJSON: JSONError { error("it is not a JSON document") }

    /// Reads a string, whose quotation mark is next.
    mutating func readString() throws(JSONError) -> String {
        position += 1
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                defer { position += 1 }
                return try text(bytes[start..<position])
            case UInt8(ascii: "\\"):
                return try readEscapedString(Array(bytes[start..<position]))
            case 0..<0x20:
                throw error("a control character in text must be escaped")
            default:
                position += 1
            }
        }
        throw notJSON
    }

    /// Reads on from the first escape in a string.
    private mutating func readEscapedString(_ start: [UInt8]) throws(JSONError) -> String {
        var result = start
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return try text(result[...])
            case UInt8(ascii: "\\"): result += Array(try readEscape().utf8)
            case 0..<0x20: throw error("a control character in text must be escaped")
            default: result.append(byte)
            }
        }
        throw notJSON
    }

    /// Reads what follows a backslash.
    private mutating func readEscape() throws(JSONError) -> Character {
        guard position < bytes.count else { throw notJSON }
        defer { position += 1 }
        switch bytes[position] {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let first = try readUnit()
            if let scalar = Unicode.Scalar(first) { return Character(scalar) }
            // The two halves of a character beyond U+FFFF (RFC 8259, section 7).
            guard UTF16.isLeadSurrogate(first), position + 2 < bytes.count,
                bytes[position + 1] == UInt8(ascii: "\\"), bytes[position + 2] == UInt8(ascii: "u")
            else { throw error("an escape is half a character") }
            position += 2
            let second = try readUnit()
            guard UTF16.isTrailSurrogate(second) else {
                throw error("an escape is half a character")
            }
            return Character(UTF16.decode(UTF16.EncodedScalar([first, second])))
        default: throw notJSON
        }
    }

    /// Reads four hexadecimal digits behind a `u` and stops on the last.
    private mutating func readUnit() throws(JSONError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            position += 1
            guard position < bytes.count,
                let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue
            else { throw notJSON }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }

    private func text(_ bytes: ArraySlice<UInt8>) throws(JSONError) -> String {
        guard let text = try? UTF8Span(validating: bytes.span) else {
            throw error("it is not UTF-8")
        }
        return String(copying: text)
    }
}

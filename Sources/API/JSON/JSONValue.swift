private import Policy

/// Any JSON value (RFC 8259), kept as it was written: numbers as text, fields in their order.
public indirect enum JSONValue: Hashable, Sendable, CustomStringConvertible {
    case null
    case bool(Bool)
    case number(String)
    case text(String)
    case list([JSONValue])
    case object([Field])

    /// One field of an object.
    public struct Field: Hashable, Sendable {
        /// Its name, which no other field of the object has.
        public var name: String
        /// What it holds.
        public var value: JSONValue

        /// Takes both.
        public init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// Reads a whole JSON text.
    package init(json bytes: [UInt8]) throws(JSONError) {
        self = try JSONReader.readText(bytes)
    }

    /// The value of a field of an object; nil where there is none.
    ///
    /// Setting nil takes the field away.
    public subscript(name: String) -> JSONValue? {
        get {
            guard case .object(let fields) = self else { return nil }
            return fields.first { $0.name == name }?.value
        }
        set {
            guard case .object(var fields) = self else { return }
            let place = fields.firstIndex { $0.name == name }
            switch (place, newValue) {
            case (let place?, let value?): fields[place].value = value
            case (let place?, nil): fields.remove(at: place)
            case (nil, let value?): fields.append(Field(name, value))
            case (nil, nil): break
            }
            self = .object(fields)
        }
    }

    /// The text, where it is one.
    public var text: String? { if case .text(let text) = self { text } else { nil } }

    /// The items, where it is a list.
    public var list: [JSONValue]? { if case .list(let items) = self { items } else { nil } }

    /// JSON text in one line, which a reader of YAML takes for the same.
    public var description: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let digits): digits
        case .text(let text): Self.quoted(text)
        case .list(let items): "[" + items.map(\.description).joined(separator: ", ") + "]"
        case .object(let fields):
            "{" + fields.map { Self.quoted($0.name) + ": \($0.value)" }.joined(separator: ", ")
                + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        let isPlain = { (byte: UInt8) in
            (0x20...0x7E).contains(byte) && byte != 0x22 && byte != 0x5C
        }
        if text.utf8.allSatisfy(isPlain) { return "\"\(text)\"" }
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            // Some of what JSON takes as it is, YAML does not.
            case _ where scalar.steersOutput && scalar.value <= 0xFFFF:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension JSONReader {
    /// So many lists and objects may stand in each other.
    private static let deepest = 32

    /// Reads a text that is any value.
    fileprivate static func readText(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
        var reader = Self(bytes)
        try reader.refuseByteOrderMark()
        let value = try reader.readValue(depth: 0)
        guard reader.next() == nil else { throw reader.notJSON }
        return value
    }

    private mutating func readValue(depth: Int) throws(JSONError) -> JSONValue {
        guard depth < Self.deepest else { throw error("it nests too deep") }
        switch next() {
        case UInt8(ascii: "\""): return .text(try readString())
        case UInt8(ascii: "n") where takeWord("null"): return .null
        case UInt8(ascii: "t") where takeWord("true"): return .bool(true)
        case UInt8(ascii: "f") where takeWord("false"): return .bool(false)
        case UInt8(ascii: "["):
            var items: [JSONValue] = []
            try readElements(until: UInt8(ascii: "]")) { reader throws(JSONError) in
                items.append(try reader.readValue(depth: depth + 1))
            }
            return .list(items)
        case UInt8(ascii: "{"):
            var fields: [JSONValue.Field] = []
            var names: Set<String> = []
            try readElements(until: UInt8(ascii: "}")) { reader throws(JSONError) in
                guard reader.next() == UInt8(ascii: "\"") else { throw reader.notJSON }
                let name = try reader.readString()
                guard names.insert(name).inserted else {
                    throw reader.error("the field \(printable(name)) is there twice")
                }
                guard reader.take(UInt8(ascii: ":")) else { throw reader.notJSON }
                fields.append(.init(name, try reader.readValue(depth: depth + 1)))
            }
            return .object(fields)
        default: return .number(try readNumber())
        }
    }

    /// Reads a number (RFC 8259, section 6).
    private mutating func readNumber() throws(JSONError) -> String {
        var digits = ""
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        func takeDigits(_ reader: inout Self) throws(JSONError) {
            let taken = reader.takeBytes(while: isDigit)
            guard !taken.isEmpty else { throw reader.notJSON }
            digits += taken
        }
        _ = next()
        digits += takeBytes(upTo: 1) { $0 == UInt8(ascii: "-") }
        let zero = takeBytes(upTo: 1) { $0 == UInt8(ascii: "0") }
        digits += zero
        if zero.isEmpty { try takeDigits(&self) }
        let point = takeBytes(upTo: 1) { $0 == UInt8(ascii: ".") }
        digits += point
        if !point.isEmpty { try takeDigits(&self) }
        let exponent = takeBytes(upTo: 1) { $0 | 0x20 == UInt8(ascii: "e") }
        digits += exponent
        if !exponent.isEmpty {
            digits += takeBytes(upTo: 1) { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "-") }
            try takeDigits(&self)
        }
        return digits
    }
}

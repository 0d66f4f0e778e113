internal import Policy

/// Writes a JSON text (RFC 8259) into bytes.
///
/// The documents that every request for access is answered with are written by this and not by
/// `JSONEncoder`, which takes a quarter of the time of such a request.
package struct JSONWriter {
    /// What was written so far.
    package private(set) var bytes: [UInt8] = []
    /// Whether something stands before in the same object or list.
    private var needsComma = false

    /// The text of one document.
    package static func text(of document: some JSONDocument) -> [UInt8] {
        var writer = Self()
        // An answer about one grant has some 700 bytes. More than a thousand would be too many for
        // malloc to keep at hand for the next one.
        writer.bytes.reserveCapacity(960)
        writer.write(document)
        return writer.bytes
    }

    /// Writes a field with text; nothing where there is none.
    mutating func field(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        self.name(name)
        bytes.append(json: value)
    }

    /// Writes a field with an instant; nothing where there is none.
    mutating func field(_ name: StaticString, _ value: Timestamp?) {
        guard let value else { return }
        self.name(name)
        bytes.append(json: value)
    }

    /// Writes a field with a whole number; nothing where there is none.
    mutating func field(_ name: StaticString, _ value: (some FixedWidthInteger)?) {
        guard let value else { return }
        self.name(name)
        bytes.append(decimal: value)
    }

    /// Writes a field that is true or false; nothing where there is none.
    mutating func field(_ name: StaticString, _ value: Bool?) {
        guard let value else { return }
        self.name(name)
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    /// Writes a field with a document; nothing where there is none.
    mutating func field(_ name: StaticString, _ value: (some JSONDocument)?) {
        guard let value else { return }
        self.name(name)
        write(value)
    }

    /// Writes a field with a list of documents; nothing where there is none.
    mutating func field(_ name: StaticString, _ values: [some JSONDocument]?) {
        guard let values else { return }
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        for (index, value) in values.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            write(value)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    /// Writes a field with a list of texts; nothing where there is none.
    mutating func field(_ name: StaticString, _ texts: [String]?) {
        guard let texts else { return }
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        for (index, text) in texts.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.append(json: text)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private mutating func write(_ document: some JSONDocument) {
        bytes.append(UInt8(ascii: "{"))
        needsComma = false
        document.writeFields(to: &self)
        bytes.append(UInt8(ascii: "}"))
        needsComma = true
    }

    private mutating func name(_ name: StaticString) {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
        // It is one of ours, and needs no escape.
        bytes.append(UInt8(ascii: "\""))
        bytes.append(literal: name)
        bytes.append(literal: #"":"#)
    }
}

/// A document that ``JSONWriter`` writes, with the same fields as its `Encodable` form.
package protocol JSONDocument: Encodable {
    /// Writes all fields that are there.
    func writeFields(to writer: inout JSONWriter)
}

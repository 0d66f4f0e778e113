import FoundationEssentials
import Policy

/// Standard output: the API's documents with `--json`, otherwise lines for people.
struct Output {
    var json: Bool
    /// What the lines have to fit.
    var screen: Screen
    /// Prints text; throws `CommandError`.
    var write: (String) throws -> Void
    /// Tells something on standard error at once, in lines of their own.
    var tell: ([String]) -> Void

    /// Prints a document, or the same for people.
    func show(_ document: any Encodable, as lines: [Line]) throws {
        if json { try write(jsonText(document) + "\n") } else { try show(lines) }
    }

    /// Prints lines for people.
    func show(_ lines: [Line]) throws {
        try write(lines.map { $0.printed(inColour: screen.isColoured) + "\n" }.joined())
    }
}

/// A list document that is printed while it is read, so that it may be longer than memory.
///
/// Where reading it fails, what is printed is no whole document.
struct ListOutput {
    private let output: Output
    private let name: String
    /// Whether there was no element yet.
    private(set) var isEmpty = true

    /// Begins the document, whose only field has this name.
    init(_ name: String, to output: Output) {
        self.output = output
        self.name = name
    }

    /// Prints the next elements, or the same for people.
    mutating func show(_ elements: [some Encodable], as lines: [Line]) throws {
        guard !elements.isEmpty else { return }
        if output.json {
            // What the encoder makes of the whole: a line feed within a string would be escaped.
            let texts = try elements.map { try jsonText($0).replacing("\n", with: "\n    ") }
            try output.write((isEmpty ? head : ",") + "\n    " + texts.joined(separator: ",\n    "))
        } else {
            try output.show(lines)
        }
        isEmpty = false
    }

    /// Ends the document.
    func end() throws {
        if output.json { try output.write((isEmpty ? head : "") + "\n  ]\n}\n") }
    }

    private var head: String { "{\n  \"\(name)\" : [" }
}

/// Lines for a terminal: whatever others wrote into them cannot steer it.
func printed(_ lines: [String]) -> String {
    lines.map { visible($0) + "\n" }.joined()
}

/// An API document as JSON text, without a line feed at its end.
func jsonText(_ document: any Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return harmless(json: String(decoding: try encoder.encode(document), as: UTF8.self))
}

/// JSON without what a terminal would obey, which means the same.
///
/// JSON leaves some such characters (U+009B) as they are, and it, too, ends up on terminals.
func harmless(json text: String) -> String {
    // Outside strings there is none but the line feeds of the formatting.
    let obeyed = { (scalar: Unicode.Scalar) in scalar != "\n" && scalar.steersOutput }
    guard text.unicodeScalars.contains(where: obeyed) else { return text }
    return text.unicodeScalars.reduce(into: "") { escaped, scalar in
        if obeyed(scalar) {
            for unit in String(scalar).utf16 {
                let digits = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        } else {
            escaped.unicodeScalars.append(scalar)
        }
    }
}

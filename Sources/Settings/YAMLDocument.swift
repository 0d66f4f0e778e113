import Yams

/// A text as a tree of YAML nodes, with nothing in it that could cost more than its length.
struct YAMLDocument {
    /// The longest text that is read: a thousand policies have room in it.
    static let longest = 256 * 1_024

    /// The tree; nil where the text is empty or could not be read.
    let root: Node?
    /// The keys that appeared before in the same mapping, by the mark they were given.
    let repeated: [Unicode.Scalar: RepeatedKey]
    /// Anchors in the tree are weak references into the parser.
    private let parser: Parser?

    /// A key that appears again in the same mapping.
    struct RepeatedKey {
        var name: String
        var place: Place
    }

    /// Reads a text; what is not YAML of one document becomes a fault.
    init(text: String, file: String, faults: Faults) {
        var text = text
        var repeated: [Unicode.Scalar: RepeatedKey] = [:]
        while true {
            do {
                try Self.refuseExplosives(text)
                // The basic resolver takes every scalar for text: what is a number is said by
                // the field and not by the look of its value.
                let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
                let first = try parser.nextRoot()
                if let second = try parser.nextRoot() {
                    throw Refusal(
                        line: second.mark?.line ?? 1,
                        column: second.mark?.column ?? 1,
                        message: "a file holds one YAML document, not several"
                    )
                }
                root = first
                self.repeated = repeated
                self.parser = parser
                return
            } catch {
                // Yams stops at the first repeated key. It is marked, so that it is another
                // key, and the text read again: all the other faults are still to be found.
                let refusal = Refusal(error, in: text)
                let mark = Unicode.Scalar(0xE000 + UInt32(repeated.count))
                let place = Place(file: file, line: refusal.line, column: refusal.column)
                guard let name = refusal.repeatedKey, repeated.count < 16, let mark,
                    let marked = Self.marking(text, at: place, with: mark)
                else {
                    faults.add(place, "", refusal.message)
                    (root, self.repeated, parser) = (nil, [:], nil)
                    return
                }
                repeated[mark] = RepeatedKey(name: name, place: place)
                text = marked
            }
        }
    }

    /// Replaces the first letter of the key that begins at a place; no other place moves.
    private static func marking(_ text: String, at place: Place, with letter: Unicode.Scalar)
        -> String?
    {
        var scalars = text.unicodeScalars
        var index = scalars.startIndex
        for _ in 1..<max(1, place.line) {
            guard let end = scalars[index...].firstIndex(of: "\n") else { return nil }
            index = scalars.index(after: end)
        }
        guard
            let start = scalars.index(
                index,
                offsetBy: place.column - 1,
                limitedBy: scalars.endIndex
            ),
            start < scalars.endIndex
        else { return nil }
        let isQuoted = scalars[start] == "\"" || scalars[start] == "'"
        let first = isQuoted ? scalars.index(after: start) : start
        guard first < scalars.endIndex else { return nil }
        scalars.replaceSubrange(first...first, with: CollectionOfOne(letter))
        return String(scalars)
    }

    /// Refuses aliases in numbers that could make a short text a tree of any size.
    ///
    /// An alias stands for a copy, and Yams compares keys by going through all of them. Sixteen
    /// aliases make at most some hundred copies. Fewer are refused one by one, at their anchor.
    private static func refuseExplosives(_ text: String) throws {
        // Where libyaml can find an alias.
        let before = Set("[{,:? \t\r\n\u{85}\u{2028}\u{2029}\u{FEFF}".unicodeScalars)
        var (aliases, line, column) = (0, 1, 0)
        var (beforeLast, last) = (Unicode.Scalar(" "), Unicode.Scalar(" "))
        for scalar in text.unicodeScalars {
            column += 1
            if last == "*", before.contains(beforeLast), scalar.isAnchorLetter { aliases += 1 }
            guard aliases <= 16 else {
                throw Refusal(
                    line: line,
                    column: column - 1,
                    message: "too many YAML aliases, which are not read here; write the values out"
                )
            }
            if scalar == "\n" { (line, column) = (line + 1, 0) }
            (beforeLast, last) = (last, scalar)
        }
    }
}

extension Unicode.Scalar {
    /// Whether libyaml takes the letter for part of an anchor's name.
    fileprivate var isAnchorLetter: Bool {
        isASCII && (properties.isAlphabetic || properties.numericType != nil)
            || self == "_" || self == "-"
    }
}

/// Why a text is not a document, and where.
private struct Refusal: Error {
    var line: Int
    var column: Int
    var message: String
    /// The key, where the reason is that it is there twice.
    var repeatedKey: String?

    init(line: Int, column: Int, message: String) {
        self.line = line
        self.column = column
        self.message = message
    }

    init(_ error: any Error, in text: String) {
        switch error {
        case let refusal as Refusal: self = refusal
        case YamlError.scanner(let context, let problem, let mark, _),
            YamlError.parser(let context, let problem, let mark, _),
            YamlError.composer(let context, let problem, let mark, _):
            self.init(
                line: mark.line,
                column: mark.column,
                message: "cannot read this as YAML: "
                    + [context?.text, problem].compactMap(\.self).joined(separator: ", ")
            )
        case YamlError.reader(let problem, let offset, _, _):
            let lines = text.prefix(offset ?? 0).split(
                omittingEmptySubsequences: false,
                whereSeparator: \.isNewline
            )
            self.init(
                line: max(1, lines.count),
                column: (lines.last?.count ?? 0) + 1,
                message: "cannot read this as YAML: \(problem)"
            )
        case YamlError.duplicatedKeysInMapping(let names, let context):
            self.init(
                line: context.mark.line,
                column: context.mark.column,
                message: "a key is here more than once"
            )
            repeatedKey = names.first
        default:
            self.init(line: 1, column: 1, message: "cannot read this as YAML: \(error)")
        }
    }
}

import Policy
import Yams

/// One node of a document and the key it stands under; reads values and collects faults.
///
/// Every function answers nil for a value that is not what it should be, after adding the fault.
struct Field {
    let node: Node
    let key: String
    let file: String
    let document: YAMLDocument
    let faults: Faults

    var place: Place { place(of: node) }

    func fault(_ message: String) { faults.add(place, key, message) }

    /// The values of a mapping by their keys, of which only `known` ones may be there.
    func mapping(_ known: [String]) -> [String: Field]? {
        guard let mapping = node.mapping, !isAnchored else {
            fault(isAnchored ? Self.anchors : "must be a mapping of keys to values, not \(kind)")
            return nil
        }
        var fields: [String: Field] = [:]
        var first: [String: Place] = [:]
        let prefix = key.isEmpty ? "" : key + "."
        for (keyNode, value) in mapping {
            guard let written = keyNode.scalar, written.anchor == nil else {
                faults.add(place(of: keyNode), key, "a key must be a plain word")
                continue
            }
            let earlier = written.string.unicodeScalars.first.flatMap { document.repeated[$0] }
            // Cut: a file that is none of ours must not be told whole to whoever reads the error.
            let name = String((earlier?.name ?? written.string).prefix(64))
            if let first = first[name] {
                faults.add(
                    place(of: keyNode),
                    prefix + printable(name),
                    "the key is here twice; it is in line \(first.line) already"
                )
            } else if !known.contains(name) {
                let meant = nearest(to: name, among: known)
                faults.add(
                    place(of: keyNode),
                    prefix + printable(name),
                    meant.map { "unknown key; did you mean \($0)?" }
                        ?? "unknown key; known are \(known.joined(separator: ", "))"
                )
            }
            first[name] = first[name] ?? earlier?.place ?? place(of: keyNode)
            fields[name] = Field(
                node: value,
                key: prefix + name,
                file: file,
                document: document,
                faults: faults
            )
        }
        return fields
    }

    /// The items of a list; those at fault are left out.
    func list<Value>(_ example: String, _ read: (Field) -> Value?) -> [Value]? {
        guard let sequence = node.sequence, !isAnchored else {
            fault(isAnchored ? Self.anchors : "must be a list like \(example), not \(kind)")
            return nil
        }
        return sequence.enumerated().compactMap { index, item in
            read(
                Field(
                    node: item,
                    key: "\(key)[\(index)]",
                    file: file,
                    document: document,
                    faults: faults
                )
            )
        }
    }

    /// A list that means something else when it is empty than when it is not there.
    func nonEmptyList<Value>(_ example: String, _ read: (Field) -> Value?) -> [Value]? {
        if node.sequence?.isEmpty == true { fault("must not be empty") }
        return list(example, read)
    }

    /// Text for people: one line, not empty, and not what YAML takes for something else.
    func text() -> String? {
        guard let scalar = scalar("text") else { return nil }
        if scalar.style == .plain, Self.looksLikeNumberOrBoolean(scalar.string) {
            let quoted = "\"\(printable(scalar.string))\""
            fault("must be text, and YAML takes this for something else; write it as \(quoted)")
            return nil
        }
        // A block scalar ends in a line break that nobody wrote.
        let isBlock = [.literal, .folded].contains(scalar.style) && scalar.string.last == "\n"
        let text = isBlock ? String(scalar.string.dropLast()) : scalar.string
        guard !text.isEmpty, text.utf8.count <= 1_024 else {
            fault(text.isEmpty ? "must not be empty" : "must be at most 1024 bytes long")
            return nil
        }
        guard !text.unicodeScalars.contains(where: \.steersOutput) else {
            fault("must be one line without control characters")
            return nil
        }
        return text
    }

    /// A value with a text form, which need not be quoted.
    func value<Value: TextForm>(_ type: Value.Type) -> Value? {
        scalar("text").flatMap { scalar in
            read(scalar.string) { (text) throws(ParseError) in try Value(parsing: text) }
        }
    }

    /// A duration within a range.
    func duration(in range: ClosedRange<Duration>) -> Duration? {
        guard let scalar = scalar("a duration like 45m"),
            let duration = read(
                scalar.string,
                { (text) throws(ParseError) in try Duration(parsing: text) }
            )
        else { return nil }
        guard range.contains(duration) else {
            let limits = [range.lowerBound, range.upperBound].map(\.compactDescription)
            fault("must be \(limits[0])...\(limits[1]), not \(printable(scalar.string))")
            return nil
        }
        return duration
    }

    /// A whole number in decimal digits.
    func integer(in range: ClosedRange<Int>) -> Int? {
        let expected = "a whole number \(range.lowerBound)...\(range.upperBound)"
        guard let scalar = scalar(expected) else { return nil }
        let digits = scalar.string.utf8.allSatisfy { (0x30...0x39).contains($0) }
        let padded = scalar.string.hasPrefix("0") && scalar.string != "0"
        guard scalar.style == .plain, digits, !padded, let number = Int(scalar.string),
            range.contains(number)
        else {
            let hint = scalar.style == .plain ? "" : ", without quotes"
            fault("must be \(expected) in decimal digits\(hint)")
            return nil
        }
        return number
    }

    /// `true` or `false`, and none of YAML's other words for them.
    func boolean() -> Bool? {
        guard let scalar = scalar("true or false") else { return nil }
        guard scalar.style == .plain, let value = Bool(scalar.string) else {
            fault("must be true or false" + (scalar.style == .plain ? "" : ", without quotes"))
            return nil
        }
        return value
    }

    /// One of a few words.
    func word(_ words: [String]) -> String? {
        let expected = words.joined(separator: " or ")
        guard let scalar = scalar(expected) else { return nil }
        guard words.contains(scalar.string) else {
            fault("must be \(expected), not \(printable(scalar.string))")
            return nil
        }
        return scalar.string
    }

    private func read<Value>(
        _ text: String,
        _ parse: (String) throws(ParseError) -> Value
    ) -> Value? {
        do throws(ParseError) {
            return try parse(text)
        } catch {
            let meant = error.suggestion.map { "; did you mean \($0)?" } ?? ""
            fault(error.description + meant)
            return nil
        }
    }

    private func scalar(_ expected: String) -> Node.Scalar? {
        guard !isAnchored else {
            fault(Self.anchors)
            return nil
        }
        guard let scalar = node.scalar else {
            fault("must be \(expected), not \(kind)")
            return nil
        }
        guard scalar.style != .plain || !["", "~", "null", "Null", "NULL"].contains(scalar.string)
        else {
            fault("has no value; write \(expected) or leave the key out")
            return nil
        }
        guard [Tag.implicit, Tag(.str)].contains(scalar.tag) else {
            fault("must be \(expected) without a YAML tag")
            return nil
        }
        return scalar
    }

    private static let anchors = "YAML anchors and aliases are not read here; write the value out"

    private var isAnchored: Bool { node.anchor != nil }

    private var kind: String {
        switch node {
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .scalar(let scalar):
            scalar.style == .plain && scalar.string.isEmpty ? "nothing" : "a single value"
        case .alias: "an alias"
        }
    }

    private func place(of node: Node) -> Place {
        Place(file: file, line: node.mark?.line ?? 0, column: node.mark?.column ?? 0)
    }

    /// Whether a plain scalar is something else than text in YAML 1.1 or 1.2.
    private static func looksLikeNumberOrBoolean(_ text: String) -> Bool {
        let words: [String] = ["y", "n", "yes", "no", "on", "off", "true", "false", ".nan", ".inf"]
        let unsigned = String(
            text.lowercased().drop { $0 == "+" || $0 == "-" }.filter { $0 != "_" }
        )
        if words.contains(unsigned) { return true }
        // Double reads "inf" and "nan" as well, which are names in YAML.
        if unsigned.contains(where: \.isNumber), Double(unsigned) != nil { return true }
        return unsigned.hasPrefix("0o") && Int(unsigned.dropFirst(2), radix: 8) != nil
            || unsigned.hasPrefix("0b") && Int(unsigned.dropFirst(2), radix: 2) != nil
    }
}

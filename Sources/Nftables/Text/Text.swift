// How objects read in nft's syntax.

extension Transaction: CustomStringConvertible {
    /// The operations in nft's syntax, one a line.
    public var description: String {
        operations.map(\.description).joined(separator: "\n")
    }
}

extension Transaction.Operation: CustomStringConvertible {
    /// The operation in nft's syntax; `renew` is a delete and an add.
    public var description: String {
        switch self {
        case .table(.flush, let table): "flush table \(table.path)"
        case .table(let verb, let table):
            "\(verb.rawValue) table \(table.path)\(verb.body(table.body))"
        case .chain(let verb, let chain):
            "\(verb.rawValue) chain \(chain.path)\(verb.body(chain.body))"
        case .rule(.delete, let rule):
            "delete rule \(rule.chain.path) handle \(rule.handle ?? 0)"
        case .rule(let verb, let rule): "\(verb.rawValue) rule \(rule.chain.path) \(rule.body)"
        case .set(let verb, let set):
            "\(verb.rawValue) \(set.kind) \(set.path)\(verb.body(set.body))"
        case .elements(.renew, let elements, let set):
            Self.elements(.delete, elements, set).description + "\n"
                + Self.elements(.add, elements, set).description
        case .elements(let verb, let elements, let set):
            "\(verb.rawValue) element \(set.path) { "
                + elements.map { verb == .delete ? $0.key(in: set) : $0.body(in: set) }
                .joined(separator: ", ") + " }"
        }
    }

    /// What the operation is, short, to stand behind "cannot" in an error.
    ///
    /// With `element`, the error is about that one of its elements.
    func summary(element: Int? = nil) -> String {
        switch self {
        case .table(let verb, let table): "\(verb.rawValue) table \(table.path)"
        case .chain(let verb, let chain): "\(verb.rawValue) chain \(chain.path)"
        case .rule(let verb, let rule): "\(verb.rawValue) rule in chain \(rule.chain.path)"
        case .set(let verb, let set): "\(verb.rawValue) \(set.kind) \(set.path)"
        case .elements(let verb, let elements, let set):
            if let element, elements.indices.contains(element) {
                "\(verb.rawValue) element \(elements[element].key(in: set)) \(verb.direction) "
                    + "\(set.kind) \(set.name)"
            } else {
                "\(verb.rawValue) elements \(verb.direction) \(set.kind) \(set.name)"
            }
        }
    }
}

extension Transaction.Verb {
    fileprivate var direction: String {
        switch self {
        case .add: "to"
        case .create, .renew, .flush: "in"
        case .delete: "from"
        }
    }

    /// The braces behind an object, which only a verb that makes it has.
    fileprivate func body(_ text: String) -> String {
        switch self {
        case .delete, .flush: ""
        case .add, .create, .renew: text.isEmpty ? "" : " { \(text) }"
        }
    }
}

extension Table {
    fileprivate var path: String { "\(family) \(name)" }

    fileprivate var body: String {
        let names: [(Flags, String)] = [
            (.dormant, "dormant"), (.owner, "owner"), (.persist, "persist"),
        ]
        let set = names.filter { flags.contains($0.0) }.map(\.1)
        return set.isEmpty ? "" : "flags \(set.joined(separator: ","));"
    }
}

extension Chain {
    fileprivate var path: String { "\(table.path) \(name)" }

    fileprivate var body: String {
        guard let base else { return "" }
        return "type \(base.kind) hook \(base.hook) priority \(base.priority); "
            + "policy \(base.policy);"
    }
}

extension Rule {
    fileprivate var body: String {
        let text = expressions.nftText
        return comment.map { "\(text) comment \"\($0)\"" } ?? text
    }
}

extension NamedSet {
    fileprivate var path: String { "\(table.path) \(name)" }

    fileprivate var kind: String { mapsToVerdict ? "map" : "set" }

    fileprivate var body: String {
        let fields = key.map(\.name).joined(separator: " . ")
        var parts = ["type \(fields)\(mapsToVerdict ? " : verdict" : "");"]
        if let size { parts.append("size \(size);") }
        let names: [(Flags, String)] = [
            (.constant, "constant"), (.interval, "interval"), (.timeout, "timeout"),
            (.dynamic, "dynamic"),
        ]
        let set = names.filter { flags.contains($0.0) }.map(\.1)
        if !set.isEmpty { parts.append("flags \(set.joined(separator: ","));") }
        if countsPackets { parts.append("counter;") }
        if let comment { parts.append("comment \"\(comment)\";") }
        return parts.joined(separator: " ")
    }
}

extension SetElement {
    /// The key, field by field, as nft writes it.
    func key(in set: NamedSet) -> String {
        var texts: [String] = []
        var offset = 0
        // A key of another length than the set's is refused, but the refusal has to name it.
        let count = min(key.count, 64)
        for type in set.key {
            let range = min(offset, count)..<min(offset + type.length, count)
            let low = range.map { key[$0] }
            let high = keyEnd.map { end in range.map { end[$0] } } ?? low
            texts.append(type.text(low, through: high))
            offset += (type.length + 3) & ~3
        }
        return texts.joined(separator: " . ")
    }

    fileprivate func body(in set: NamedSet) -> String {
        var text = key(in: set)
        if let milliseconds = timeoutMilliseconds { text += " timeout \(duration(milliseconds))" }
        if let comment { text += " comment \"\(comment)\"" }
        if let verdict { text += " : \(verdict)" }
        return text
    }

    private func duration(_ milliseconds: UInt64) -> String {
        milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}

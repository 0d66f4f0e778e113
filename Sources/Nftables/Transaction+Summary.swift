extension Transaction.Operation {
    /// What the operation is, short, to stand behind "cannot" in an error.
    ///
    /// With `part`, the error is about that one of its elements, or of its rule's expressions.
    package func summary(part: Int? = nil) -> String {
        switch self {
        case .table(let verb, let table): "\(verb.rawValue) table \(table.path)"
        case .chain(let verb, let chain): "\(verb.rawValue) chain \(chain.path)"
        case .rule(let verb, let rule):
            if let part, rule.expressions.indices.contains(part) {
                "\(verb.rawValue) rule with \(rule.expressions[part].kernelName) "
                    + "in chain \(rule.chain.path)"
            } else {
                "\(verb.rawValue) rule in chain \(rule.chain.path)"
            }
        case .set(let verb, let set): "\(verb.rawValue) \(set.kind) \(set.path)"
        case .elements(let verb, let elements, let set):
            if let part, elements.indices.contains(part) {
                "\(verb.rawValue) element \(elements[part].key(in: set)) \(verb.direction) "
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
        case .create, .insert, .flush: "in"
        case .delete: "from"
        }
    }
}

extension Table {
    fileprivate var path: String { "\(family) \(name)" }
}

extension Chain {
    fileprivate var path: String { "\(table.path) \(name)" }
}

extension NamedSet {
    fileprivate var path: String { "\(table.path) \(name)" }

    fileprivate var kind: String { mapsToVerdict ? "map" : "set" }
}

extension SetElement {
    /// The key, field by field, as nft writes it.
    fileprivate func key(in set: NamedSet) -> String {
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
}

internal import Netlink

extension Transaction.Operation {
    /// Why the operation cannot be sent, elements aside; nil if it can.
    var defect: String? {
        switch self {
        case .table(_, let table): table.defect
        case .chain(let verb, let chain):
            chain.table.defect ?? nameDefect(chain.name, of: "chain")
                ?? (verb == .delete || verb == .flush ? nil : chain.base?.defect(in: chain.table))
        case .rule(let verb, let rule):
            rule.chain.table.defect ?? nameDefect(rule.chain.name, of: "chain")
                ?? rule.defect(in: verb)
        case .set(_, let set):
            set.table.defect ?? nameDefect(set.name, of: "set") ?? set.defect
        case .elements(_, _, let set): set.table.defect ?? nameDefect(set.name, of: "set")
        }
    }
}

/// Why a name cannot be sent; nil if it can.
func nameDefect(_ name: String, of kind: String) -> String? {
    let count = name.utf8.count
    if count == 0 { return "the name of a \(kind) must not be empty" }
    if hasZero(name) { return "the name of a \(kind) must not contain a zero byte" }
    guard count > Kernel.longestName else { return nil }
    return "the name of a \(kind) has at most \(Kernel.longestName) bytes, not \(count)"
}

/// Why a comment cannot be sent; nil if it can.
func commentDefect(_ comment: String) -> String? {
    let count = comment.utf8.count
    if hasZero(comment) { return "a comment must not contain a zero byte" }
    guard count > Nftnl.UserData.longestComment else { return nil }
    return "a comment has at most \(Nftnl.UserData.longestComment) bytes, not \(count)"
}

private func hasZero(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { unsafe $0.contains(0) }
}

extension Table {
    fileprivate var defect: String? { nameDefect(name, of: "table") }
}

extension Chain.Base {
    fileprivate func defect(in table: Table) -> String? {
        if hook.number(in: table.family) == nil {
            return "a table of the family \(table.family) has no hook \(hook)"
        }
        let isOfDevices = [.ingress, .egress].contains(hook) || !devices.isEmpty
        return isOfDevices ? "chains of devices are only listed by this library" : nil
    }
}

extension Rule {
    fileprivate func defect(in verb: Transaction.Verb) -> String? {
        if verb == .delete {
            return handle == nil ? "only a listed rule has the handle it is deleted by" : nil
        }
        if expressions.count > Kernel.mostExpressions {
            return "a rule has at most \(Kernel.mostExpressions) expressions"
        }
        for expression in expressions {
            if let defect = expression.defect { return defect }
        }
        return comment.flatMap(commentDefect)
    }
}

extension NamedSet {
    fileprivate var defect: String? {
        if key.isEmpty { return "a key needs a field" }
        // nft packs the fields' types into 32 bits, six for each.
        if key.count > 5 { return "a key has at most 5 fields" }
        if keyLength > 64 { return "a key has at most 64 bytes, not \(keyLength)" }
        return comment.flatMap(commentDefect)
    }
}

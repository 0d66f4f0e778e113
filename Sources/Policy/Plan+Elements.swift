extension Plan {
    /// That a grant holds an element open: a node of the element's tree.
    ///
    /// The tree is a treap (Seidel and Aragon, "Randomized Search Trees"), ordered by deadline
    /// and then id: its last node is the grant that decides the element's end. It stays shallow
    /// even where a million people hold the same element, without room for balance or parents.
    struct Holding {
        var grant: UInt32
        var left = SlotTable.none
        var right = SlotTable.none
        var port: UInt16
        var transport: Transport
    }

    /// The elements that a batch of changes touched, with their ends before it.
    struct TouchedElements {
        private(set) var ends: [(key: ElementKey, before: Int64?)] = []
        private var known: Set<ElementKey> = []

        init(capacity: Int) {
            ends.reserveCapacity(capacity)
            if capacity > 1 { known.reserveCapacity(capacity) }
        }

        /// Notes the end of an element before its first change.
        mutating func note(_ key: ElementKey, _ end: @autoclosure () -> Int64?) {
            if known.insert(key).inserted { ends.append((key, end())) }
        }
    }

    /// All elements the kernel should hold, in no particular order.
    public var elements: some Sequence<(key: ElementKey, end: Int64, label: String)> {
        roots.slots.lazy.map { root in
            let holding = holdings[at: last(root)]
            return (
                key: key(root), end: records[at: holding.grant].deadline,
                label: label(holding.grant)
            )
        }
    }

    func netChanges(of touched: TouchedElements) -> [ElementChange] {
        touched.ends.compactMap { key, before in
            let decisive = root(key, SlotTable.hash(key)).map { holdings[at: last($0)].grant }
            let after = decisive.map { records[at: $0].deadline }
            return before == after
                ? nil
                : ElementChange(
                    key: key,
                    before: before,
                    after: after,
                    label: decisive.map(label) ?? ""
                )
        }
    }

    /// Enters a grant into the trees of all its elements.
    mutating func hold(_ grant: UInt32, _ touched: inout TouchedElements) {
        let (source, range) = (records[at: grant].source, records[at: grant].port)
        for transport in range.portProtocol.transports {
            for port in range.lower...range.upper {
                let key = ElementKey(source: source, transport: transport, port: port)
                let hash = SlotTable.hash(key)
                let node = holdings.place(
                    Holding(grant: grant, port: port, transport: transport),
                    reusing: &freeHoldings
                )
                if let root = root(key, hash) {
                    touched.note(key, end(root))
                    let grown = insert(node, into: root)
                    if grown != root { roots.replace(root, by: grown, hash: hash) }
                } else {
                    touched.note(key, nil)
                    roots.insert(node, hash: hash)
                }
            }
        }
    }

    /// Takes a grant out of the trees of all its elements; its deadline must still be the same.
    mutating func release(_ grant: UInt32, _ touched: inout TouchedElements) {
        let (source, range) = (records[at: grant].source, records[at: grant].port)
        for transport in range.portProtocol.transports {
            for port in range.lower...range.upper {
                let key = ElementKey(source: source, transport: transport, port: port)
                let hash = SlotTable.hash(key)
                guard let root = root(key, hash) else { continue }
                touched.note(key, end(root))
                let rest = remove(grant, from: root)
                if rest == SlotTable.none {
                    roots.remove(root, hash: hash)
                } else if rest != root {
                    roots.replace(root, by: rest, hash: hash)
                }
            }
        }
    }

    private func key(_ node: UInt32) -> ElementKey {
        let holding = holdings[at: node]
        return ElementKey(
            source: records[at: holding.grant].source,
            transport: holding.transport,
            port: holding.port
        )
    }

    private func root(_ key: ElementKey, _ hash: UInt32) -> UInt32? {
        roots.first(hash) { self.key($0) == key }
    }

    private func end(_ root: UInt32) -> Int64 {
        records[at: holdings[at: last(root)].grant].deadline
    }

    /// The node of the latest deadline below and including `root`.
    private func last(_ root: UInt32) -> UInt32 {
        var node = root
        while holdings[at: node].right != SlotTable.none { node = holdings[at: node].right }
        return node
    }

    private func precedes(_ a: UInt32, _ b: UInt32) -> Bool {
        let (first, second) = (records[at: a], records[at: b])
        return (first.deadline, first.request, first.ordinal)
            < (second.deadline, second.request, second.ordinal)
    }

    /// A number that looks random but needs no room: the finaliser of MurmurHash3.
    private func priority(_ node: UInt32) -> UInt32 {
        var bits = node &+ 0x9E37_79B9
        bits = (bits ^ bits >> 16) &* 0x85EB_CA6B
        bits = (bits ^ bits >> 13) &* 0xC2B2_AE35
        return bits ^ bits >> 16
    }

    /// Answers the root of the tree with the node in it.
    private mutating func insert(_ node: UInt32, into root: UInt32) -> UInt32 {
        guard root != SlotTable.none else { return node }
        if priority(node) > priority(root) {
            (holdings[at: node].left, holdings[at: node].right) = split(
                root,
                at: holdings[at: node].grant
            )
            return node
        }
        if precedes(holdings[at: node].grant, holdings[at: root].grant) {
            holdings[at: root].left = insert(node, into: holdings[at: root].left)
        } else {
            holdings[at: root].right = insert(node, into: holdings[at: root].right)
        }
        return root
    }

    /// Parts a tree into what comes before the grant and what comes after it.
    private mutating func split(_ root: UInt32, at grant: UInt32) -> (UInt32, UInt32) {
        guard root != SlotTable.none else { return (SlotTable.none, SlotTable.none) }
        if precedes(holdings[at: root].grant, grant) {
            let (before, after) = split(holdings[at: root].right, at: grant)
            holdings[at: root].right = before
            return (root, after)
        }
        let (before, after) = split(holdings[at: root].left, at: grant)
        holdings[at: root].left = after
        return (before, root)
    }

    /// Answers the root of the tree without the node of the grant.
    private mutating func remove(_ grant: UInt32, from root: UInt32) -> UInt32 {
        guard root != SlotTable.none else { return root }
        let holding = holdings[at: root]
        if holding.grant == grant {
            freeHoldings.append(root)
            return merge(holding.left, holding.right)
        }
        if precedes(grant, holding.grant) {
            holdings[at: root].left = remove(grant, from: holding.left)
        } else {
            holdings[at: root].right = remove(grant, from: holding.right)
        }
        return root
    }

    /// Joins two trees, all of the first before all of the second.
    private mutating func merge(_ first: UInt32, _ second: UInt32) -> UInt32 {
        if first == SlotTable.none { return second }
        if second == SlotTable.none { return first }
        if priority(first) > priority(second) {
            holdings[at: first].right = merge(holdings[at: first].right, second)
            return first
        }
        holdings[at: second].left = merge(first, holdings[at: second].left)
        return second
    }
}

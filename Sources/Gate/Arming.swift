import Netlink
import Nftables
import Policy

/// The table as it stands in the kernel.
struct FoundTable {
    /// The chains of the table.
    var chains: [Chain]
    /// The sets of the table, by name.
    var sets: [String: NamedSet]
    /// The sessions that were there before the gate.
    var earlier: [Key]
    /// What the dropping rules have counted.
    var dropped: Counter
    /// What is managed.
    var managing: Layout.Managing

    /// The sets of grants among them.
    var grantSets: Set<GrantSet> { Set(sets.keys.compactMap(GrantSet.init(name:))) }

    /// Whether it can be adopted: whether chains and sets are those that this gate would have made.
    var isOurs: Bool {
        guard Set(chains.map(\.place)) == Set(Layout.chains.map(\.place)) else { return false }
        let known = Layout.fixedSets + grantSets.map(\.named)
        return sets.values.allSatisfy { known.contains($0) || Layout.Ports.isOne($0.name) }
            && Layout.fixedSets.allSatisfy { sets[$0.name] != nil }
    }
}

/// What makes the table what it should be.
struct Arming {
    var transaction = Transaction()
    /// The ruleset's generation that it was made for.
    let generation: UInt32
    /// Whether the table is made from nothing.
    let isNew: Bool
    /// What was managed before, and is afterwards.
    let managing: (before: Layout.Managing, after: Layout.Managing)
    /// What the elements' timeouts count from: committed later they outlive their end.
    var time = BootTime(milliseconds: 0)
    /// The sets of grants that there are afterwards.
    var grantSets: Set<GrantSet> = []
    /// The earlier sessions that there are afterwards.
    var earlier: Set<Key> = []
}

extension Gate {
    /// Reads the table; nil where there is none.
    private func readTable() throws(NetlinkError) -> FoundTable? {
        guard try connection.tables().contains(where: Layout.isTable) else { return nil }
        var sets: [String: NamedSet] = [:]
        for set in try connection.sets(in: Layout.table) { sets[set.name] = set }
        let maps = sets.values.filter { Layout.Ports.isOne($0.name) && $0.mapsToVerdict }
        var contents: [Layout.Ports.Content] = []
        for map in maps {
            contents.append(.init(set: map, elements: try connection.elements(of: map)))
        }
        var earlier: [Key] = []
        for family in AddressFamily.allCases { earlier += try earlierKeys(family) }
        return FoundTable(
            chains: try connection.chains(in: Layout.table),
            sets: sets,
            earlier: earlier,
            dropped: try connection.rules(in: Layout.table).dropped,
            managing: Layout.Managing(contents)
        )
    }

    /// Reads what is there, and finds what makes it what it should be.
    func arming(
        _ managed: [ManagedPort],
        _ breakGlass: [CIDR],
        _ holding: Holding,
        _ time: () -> BootTime
    ) throws(NetlinkError) -> Arming {
        let generation = try connection.generation()
        let found = try readTable()
        let adopted = found?.isOurs == true && !withState(\.isDistrusted) ? found : nil
        var (before, earlier) = (adopted?.managing ?? Layout.Managing([]), adopted?.earlier ?? [])
        if adopted == nil, case .exactly = holding {
            // Where others took away or changed what this gate made, it is made again as it was: what
            // ran in between gets no right by that, and to ask for sessions takes the kernel 10 ms, in
            // which nothing is closed. Without the plan nobody knows whom a grant lets in: then all
            // stay until there is one.
            withState { state in
                before = Layout.Ports(state.judged).managing
                earlier = Array(state.earlier)
            }
        }
        let ports = Layout.Ports(managed)
        var arming = Arming(
            generation: generation,
            isNew: adopted == nil,
            managing: (before, ports.managing),
            earlier: Set(earlier)
        )
        if found != nil && adopted == nil { arming.transaction.delete(table) }
        arming.transaction.add(table)
        for chain in Layout.chains { arming.transaction.add(chain) }
        if let adopted {
            for chain in Layout.chains { arming.transaction.flush(chain) }
            // Made anew with the flags that they need now.
            for set in adopted.sets.values where Layout.Ports.isOne(set.name) {
                arming.transaction.delete(set)
            }
            for family in AddressFamily.allCases {
                arming.transaction.flush(Layout.breakGlass(family))
            }
        }
        for set in Layout.fixedSets { arming.transaction.add(set) }
        for content in ports.all {
            arming.transaction.add(content.set)
            arming.transaction.add(content.elements, to: content.set)
        }
        for family in AddressFamily.allCases {
            arming.transaction.add(
                breakGlass.withoutCovered.filter { $0.family == family }
                    .map(Layout.element(alwaysLettingIn:)),
                to: Layout.breakGlass(family)
            )
        }
        if adopted == nil { add(earlier: arming.earlier, to: &arming.transaction) }
        if adopted != nil, case .exactly(let plan) = holding {
            letGo(of: &arming.earlier, to: managed, besides: plan, in: &arming.transaction)
        }
        arming.earlier.formUnion(
            try keepSessions(
                new: ([arming.managing.before], arming.managing.after),
                of: managed,
                holding,
                over: adopted?.grantSets ?? [],
                in: &arming.transaction
            )
        )
        arming.time = time()
        arming.grantSets = addGrants(
            holding,
            over: adopted,
            in: &arming.transaction,
            from: arming.time
        )
        let rules = Layout.rules(
            ports,
            breakGlass: Set(breakGlass.map(\.family)),
            earlier: Layout.kinds(of: arming.earlier),
            dropped: found?.dropped ?? Counter(),
            telling: tellsRefusals
        )
        for rule in arming.grantSets.sorted().flatMap(\.rules) + rules {
            arming.transaction.add(rule)
        }
        return arming
    }

    /// Queues what makes the sets of grants hold exactly the plan's elements.
    ///
    /// They are put in anew rather than compared: the kernel lists a large set in quadratic time
    /// (0.5 s for 100,000 elements, 43 s for 1,000,000), and takes it in linear time. Within one
    /// transaction no packet sees the set empty.
    private func addGrants(
        _ holding: Holding,
        over adopted: FoundTable?,
        in transaction: inout Transaction,
        from time: BootTime
    ) -> Set<GrantSet> {
        let there = adopted?.grantSets ?? []
        guard case .exactly(let plan) = holding else { return there }
        let elements = plan.setElements(from: time)
        for set in there {
            if elements[set] == nil {
                transaction.delete(set.named)
            } else {
                transaction.flush(set.named)
            }
        }
        for (set, elements) in elements {
            if !there.contains(set) { transaction.add(set.named) }
            transaction.add(elements, to: set.named)
        }
        return Set(elements.keys)
    }
}

extension Plan {
    /// The elements of each set, with what is left until their end.
    func setElements(from time: BootTime) -> [GrantSet: [SetElement]] {
        var all: [GrantSet: [SetElement]] = [:]
        for (key, end, label) in elements where end > time {
            let set = GrantSet(of: key)
            all[set, default: []].append(set.element(key, until: end, label: label, now: time))
        }
        return all
    }
}

extension Chain {
    /// Where the chain stands, whatever flags its table was listed with.
    struct Place: Hashable {
        let name: String
        let base: Base?
    }

    var place: Place { Place(name: name, base: base) }
}

extension [CIDR] {
    /// Without what lies in another: the kernel's interval sets refuse overlaps.
    fileprivate var withoutCovered: [CIDR] {
        Set(self).filter { range in !contains { $0 != range && $0.contains(range) } }
    }
}

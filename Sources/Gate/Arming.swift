import Netlink
import Nftables
import Policy

/// The table as it stands in the kernel.
struct FoundTable {
    /// The chains of the table.
    var chains: [Chain]
    /// The sets of the table, by name.
    var sets: [String: NamedSet]
    /// What the dropping rule has counted.
    var dropped: Counter

    /// The sets of grants among them.
    var grantSets: Set<GrantSet> { Set(sets.keys.compactMap(GrantSet.init(name:))) }

    /// Whether it can be adopted: whether chains and sets are those that this gate would have made.
    var isOurs: Bool {
        guard Set(chains.map(\.place)) == Set(Layout.chains.map(\.place)) else { return false }
        let known = Layout.fixedSets + grantSets.map(\.named)
        return sets.values.allSatisfy(known.contains)
            && Layout.fixedSets.allSatisfy { sets[$0.name] != nil }
    }
}

extension Gate {
    /// Reads the table; nil where there is none.
    func readTable() throws(NetlinkError) -> FoundTable? {
        guard try connection.tables().contains(where: Layout.isTable) else { return nil }
        var sets: [String: NamedSet] = [:]
        for set in try connection.sets(in: Layout.table) { sets[set.name] = set }
        let dropped = try connection.rules(in: Layout.table).lazy.compactMap(\.counted).first
        return FoundTable(
            chains: try connection.chains(in: Layout.table),
            sets: sets,
            dropped: dropped ?? Counter()
        )
    }

    /// The transaction that makes the table what it should be, and the sets of grants it then has.
    func arming(
        over found: FoundTable?,
        _ managed: [ManagedPort],
        _ breakGlass: [CIDR],
        _ holding: Holding,
        _ now: BootTime
    ) throws(NetlinkError) -> (Transaction, Set<GrantSet>) {
        var transaction = Transaction()
        let adopted = found?.isOurs == true ? found : nil
        if found != nil && adopted == nil { transaction.delete(table) }
        transaction.add(table)
        for chain in Layout.chains { transaction.add(chain) }
        for set in Layout.fixedSets { transaction.add(set) }
        if adopted == nil {
            try addEarlierSessions(to: managed, in: &transaction)
        } else {
            for chain in Layout.chains { transaction.flush(chain) }
            for set in [Layout.managed] + AddressFamily.allCases.map(Layout.breakGlass) {
                transaction.flush(set)
            }
        }
        transaction.add(managed.flatMap(Layout.elements(managing:)), to: Layout.managed)
        for family in AddressFamily.allCases {
            transaction.add(
                breakGlass.withoutCovered.filter { $0.family == family }
                    .map(Layout.element(alwaysLettingIn:)),
                to: Layout.breakGlass(family)
            )
        }
        let grantSets = addGrants(holding, over: adopted, in: &transaction, now: now)
        for rule in Layout.rules(dropped: adopted?.dropped ?? Counter()) { transaction.add(rule) }
        for set in grantSets.sorted() { transaction.add(set.rule) }
        return (transaction, grantSets)
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
        now: BootTime
    ) -> Set<GrantSet> {
        let there = adopted?.grantSets ?? []
        guard case .exactly(let plan) = holding else { return there }
        var elements: [GrantSet: [SetElement]] = [:]
        for (key, end, label) in plan.elements where end > now {
            let set = GrantSet(of: key.source)
            elements[set, default: []].append(
                set.element(key, until: end, label: label, now: now)
            )
        }
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

    /// Queues the sessions that now run to managed ports, as sessions earlier than the gate.
    ///
    /// Where nothing used conntrack before, the first packet of such a session is new to it.
    func addEarlierSessions(
        to managed: [ManagedPort],
        in transaction: inout Transaction
    ) throws(NetlinkError) {
        let kept = try SocketDiagnostics.connections().filter { session in
            managed.contains {
                $0.range.portProtocol.transports.contains(.tcp)
                    && ($0.range.lower...$0.range.upper).contains(session.localPort)
            }
        }
        for (family, length) in [(AddressFamily.ipv4, 4), (.ipv6, 16)] {
            transaction.add(
                kept.filter { $0.localAddress.count == length }.map(Layout.element(keeping:)),
                to: Layout.earlier(family)
            )
        }
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

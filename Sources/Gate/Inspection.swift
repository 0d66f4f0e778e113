import Netlink
import Nftables
public import Policy

/// What the kernel holds, as read back from it.
public struct GateReport: Sendable {
    /// What differs from an armed gate; nil where nothing does.
    public var fault: String?
    /// Packets to managed ports that were dropped since the gate was first armed.
    public var droppedPackets: UInt64
    /// For each break-glass source the packets it opened connections with.
    public var breakGlass: [(source: CIDR, packets: UInt64)]

    /// Takes what was read.
    public init(
        fault: String?,
        droppedPackets: UInt64,
        breakGlass: [(source: CIDR, packets: UInt64)]
    ) {
        self.fault = fault
        self.droppedPackets = droppedPackets
        self.breakGlass = breakGlass
    }
}

extension Gate {
    /// Reads the table back and compares it with what it should be.
    public func inspect() throws(GateError) -> GateReport {
        do throws(NetlinkError) {
            guard let table = try connection.tables().first(where: Layout.isTable) else {
                return GateReport(
                    fault: "the table inet sallyport is missing",
                    droppedPackets: 0,
                    breakGlass: []
                )
            }
            let rules = try connection.rules(in: Layout.table)
            return GateReport(
                fault: try fault(of: table, rules: rules),
                droppedPackets: rules.dropped.packets,
                breakGlass: try breakGlassTraffic(of: withState(\.breakGlass))
            )
        } catch {
            throw GateError(error)
        }
    }

    /// What an element let in since it was put into the kernel; nil where it is not in the kernel.
    public func traffic(of key: ElementKey) throws(GateError) -> Traffic? {
        let set = GrantSet(of: key)
        do throws(NetlinkError) {
            return try connection.element(set.key(of: key), in: set.named)?.counter.map {
                Traffic(packets: $0.packets, bytes: $0.bytes)
            }
        } catch  where error.isNotFound {
            return nil
        } catch {
            throw GateError(error)
        }
    }

    private func fault(of found: Table, rules: [Rule]) throws(NetlinkError) -> String? {
        guard found.flags == table.flags, !isOwned || found.owner == connection.portID else {
            return "the table inet sallyport is not this agent's"
        }
        let chains = try connection.chains(in: Layout.table)
        guard Set(chains.map(\.place)) == Set(Layout.chains.map(\.place)) else {
            return "the chains of the table are not what they should be"
        }
        let state = withState { $0 }
        let ports = Layout.Ports(state.managed)
        let families = Set(state.breakGlass.map(\.family))
        let fixed = Layout.rules(
            ports,
            breakGlass: families,
            earlier: state.earlierKinds,
            dropped: Counter(),
            telling: tellsRefusals
        )
        for chain in Layout.chains {
            let want = fixed.filter { $0.chain.name == chain.name }.map(\.uncounted)
            let have = rules.filter { $0.chain.name == chain.name }.map(\.uncounted)
            // Those of the grants stand in the order in which their sets came.
            let ofGrants = Set(
                state.grantSets.flatMap(\.rules).filter { $0.chain.name == chain.name }
                    .map(\.uncounted)
            )
            guard Set(have.prefix(ofGrants.count)) == ofGrants,
                Array(have.dropFirst(ofGrants.count)) == want
            else { return "the rules of the chain \(chain.name) are not what they should be" }
        }
        for content in ports.all {
            guard
                try Set(connection.elements(of: content.set).map(\.bare)) == Set(content.elements)
            else {
                return "the managed ports in the kernel are not those of the policies"
            }
        }
        return nil
    }

    /// For each break-glass source the packets it opened connections with; none of one that is not in
    /// the table.
    ///
    /// - Parameter sources: The sources; nil for those that the gate was armed with last.
    /// - Returns: The packets of each.
    /// - Throws: Where there is no table, or it cannot be read.
    public func breakGlass(
        of sources: [CIDR]?
    ) throws(GateError) -> [(source: CIDR, packets: UInt64)] {
        do throws(NetlinkError) {
            return try breakGlassTraffic(of: sources ?? withState(\.breakGlass))
        } catch {
            throw GateError(error)
        }
    }

    private func breakGlassTraffic(
        of sources: [CIDR]
    ) throws(NetlinkError) -> [(source: CIDR, packets: UInt64)] {
        var traffic: [(source: CIDR, packets: UInt64)] = []
        for family in AddressFamily.allCases {
            let elements = try connection.elements(of: Layout.breakGlass(family))
            for source in sources where source.family == family {
                let wanted = Layout.element(alwaysLettingIn: source)
                let counted = elements.first { $0.key == wanted.key }?.counter
                traffic.append((source, counted?.packets ?? 0))
            }
        }
        return traffic
    }
}

extension [Rule] {
    /// What the counters of dropping rules have counted.
    var dropped: Counter {
        var sum = Counter()
        for rule in self {
            for case .counter(let counter) in rule.expressions {
                sum.packets += counter.packets
                sum.bytes += counter.bytes
            }
        }
        return sum
    }
}

extension Rule {
    /// What the rule does, whatever it has counted.
    fileprivate var uncounted: [Expression] {
        expressions.map { if case .counter = $0 { .counter() } else { $0 } }
    }
}

extension SetElement {
    /// What the element says, whatever it has counted.
    fileprivate var bare: SetElement { SetElement(key, through: keyEnd, verdict: verdict) }
}

import Netlink
import Nftables
import TestSupport
import Testing

@Test(.blocking) func ourOwnCommitIsSeenWithOurPort() throws {
    try inNetworkNamespace {
        var monitor = try Monitor()
        let connection = try Connection()
        #expect(try monitor.drain().isEmpty)
        try connection.commit(Ruleset.creation)
        let changes = try monitor.drain()
        guard case .generation(let change) = changes.first, changes.count == 1 else {
            Issue.record("\(changes)")
            return
        }
        #expect(change.portID == connection.portID)
        #expect(change.id == (try connection.generation()))
    }
}

@Test(.blocking) func theChangeOfAnotherProcessIsSeenWithItsPortAndName() throws {
    try inNetworkNamespace {
        var monitor = try Monitor()
        let connection = try Connection()
        try shell("nft", "add", "table", "ip", "other").get()
        guard case .generation(let change) = try monitor.drain().last else {
            Issue.record("no change was seen")
            return
        }
        #expect(change.portID != connection.portID)
        #expect(change.portID != 0)
        #expect(change.processName == "nft")
    }
}

@Test(.blocking) func lostEventsAreReported() throws {
    try inNetworkNamespace {
        var monitor = try Monitor()
        let connection = try Connection()
        let set = NamedSet("many", in: Ruleset.table, key: [.ipv4Address])
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        transaction.add(set)
        transaction.add(
            (0..<50_000).map { (index: UInt32) in
                var key = Key()
                key.append(field: index)
                return SetElement(key)
            },
            to: set
        )
        // Each element is an event: more than the monitor's buffer holds.
        try connection.commit(transaction)
        #expect(try monitor.drain().contains(.missed))
        var deletion = Transaction()
        deletion.delete(Ruleset.table)
        try connection.commit(deletion)
        #expect(try monitor.drain().contains { if case .generation = $0 { true } else { false } })
    }
}

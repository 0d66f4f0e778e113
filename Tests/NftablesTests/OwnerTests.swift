import Netlink
import Nftables
import SystemPackage
import TestSupport
import Testing

private let owned = Table(family: .inet, name: "sallyport", flags: [.owner, .persist])

private func add(_ table: Table) -> Transaction {
    var transaction = Transaction()
    transaction.add(table)
    transaction.add(Chain("c", in: table))
    return transaction
}

@Test(.blocking) func anOwnedTableIsListedWithItsOwner() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(add(owned))
        let listed = try #require(try connection.tables().first)
        #expect(listed.flags == [.owner, .persist])
        #expect(listed.owner == connection.portID)
    }
}

@Test(.blocking) func nobodyElseMayChangeAnOwnedTable() throws {
    try inNetworkNamespace {
        let owner = try Connection()
        try owner.commit(add(owned))
        let other = try Connection()
        var change = Transaction()
        change.add(Chain("d", in: owned))
        let error = #expect(throws: NetlinkError.self) { try other.commit(change) }
        guard case .refused(operation: 0, _, .notPermitted, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        try owner.commit(change)
    }
}

@Test(.blocking) func flushingTheRulesetSkipsAnOwnedTable() throws {
    try inNetworkNamespace {
        let owner = try Connection()
        try owner.commit(add(owned))
        try shell("nft", "flush", "ruleset").get()
        #expect(try owner.tables().map(\.name) == ["sallyport"])
    }
}

@Test(.blocking) func anOrphanedTableStaysAndIsAdopted() throws {
    try inNetworkNamespace {
        // The connection, and with it the socket, goes at the end of the expression.
        try Connection().commit(add(owned))
        let next = try Connection()
        let orphan = try #require(try next.tables().first)
        #expect(orphan.owner == nil)
        #expect(try next.chains(in: orphan).map(\.name) == ["c"])

        var adoption = Transaction()
        adoption.add(owned)
        adoption.add(Chain("d", in: owned))
        try next.commit(adoption)
        #expect(try next.tables().first?.owner == next.portID)
        let late = #expect(throws: NetlinkError.self) { try Connection().commit(adoption) }
        #expect(late?.description.contains("not permitted") == true)
    }
}

@Test(.blocking) func withoutPersistAnOwnedTableGoesWithItsSocket() throws {
    try inNetworkNamespace {
        try Connection().commit(add(Table(family: .inet, name: "volatile", flags: .owner)))
        #expect(try Connection().tables().isEmpty)
    }
}

import Netlink
import Nftables
import TestSupport
import Testing

@Test(
    .blocking,
    arguments: [
        (Duration.milliseconds(1500), "1s500ms"),
        (.seconds(59) + .microseconds(999_999), "59s996ms"),
        (.seconds(86_400), "1d"),
    ]
)
func timeoutsAreRoundedDown(_ timeout: Duration, _ listed: String) throws {
    // nft prints what the kernel kept: whole jiffies, here of 4 ms, never more than was asked.
    let (listing, element) = try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        var transaction = Transaction()
        let added = SetElement(key([192, 0, 2, 0], 6, 22), timeout: timeout)
        transaction.add([added], to: Ruleset.grants4)
        try connection.commit(transaction)
        return (
            try shell("nft", "list", "set", "inet", "sallyport", "grants4_24").get(),
            try connection.element(added.key, in: Ruleset.grants4)
        )
    }
    #expect(listing.contains(" timeout \(listed) "), "\(listing)")
    let kept = try #require(element?.timeout)
    let left = try #require(element?.expiration)
    #expect(kept <= timeout)
    #expect(left <= kept)
}

@Test(.blocking) func deletingAndAddingChangesATimeoutBothWays() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        let grant = key([192, 0, 2, 0], 6, 22)
        var first = Transaction()
        first.add([SetElement(grant, timeout: .seconds(60))], to: Ruleset.grants4)
        try connection.commit(first)
        for seconds in [3600, 10] {
            var transaction = Transaction()
            transaction.delete([SetElement(grant)], from: Ruleset.grants4)
            transaction.add(
                [SetElement(grant, timeout: .seconds(seconds))],
                to: Ruleset.grants4
            )
            try connection.commit(transaction)
            let element = try connection.element(grant, in: Ruleset.grants4)
            #expect(element?.timeout == .seconds(seconds))
            let left = try #require(element?.expiration)
            #expect(left > .seconds(seconds - 5) && left <= .seconds(seconds))
        }
        var missing = Transaction()
        missing.delete([SetElement(key([192, 0, 2, 0], 6, 23))], from: Ruleset.grants4)
        let error = #expect(throws: NetlinkError.self) { try connection.commit(missing) }
        #expect(error?.isNotFound == true)
        #expect(error?.description.hasPrefix("cannot delete element 192.0.2.0 . tcp . 23") == true)
    }
}

@Test(.blocking) func addingAnElementThatIsThereKeepsItAndCreatingIsRefused() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        let grant = SetElement(key([192, 0, 2, 0], 6, 22), timeout: .seconds(60))
        var add = Transaction()
        add.add([grant], to: Ruleset.grants4)
        try connection.commit(add)
        try connection.commit(add)
        var create = Transaction()
        create.create([grant], in: Ruleset.grants4)
        let error = #expect(throws: NetlinkError.self) { try connection.commit(create) }
        #expect(error?.isAlreadyExists == true)
    }
}

@Test(.blocking) func anElementIsGoneWhenItsTimeIsOver() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        let grant = SetElement(key([192, 0, 2, 0], 6, 22), timeout: .milliseconds(20))
        var add = Transaction()
        add.add([grant], to: Ruleset.grants4)
        try connection.commit(add)
        try shell("sleep", "0.05").get()
        #expect(try connection.element(grant.key, in: Ruleset.grants4) == nil)
        #expect(try connection.elements(of: Ruleset.grants4).isEmpty)
    }
}

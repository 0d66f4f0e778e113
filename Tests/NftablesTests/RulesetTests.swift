import Netlink
import Nftables
import TestSupport
import Testing

@Test(.blocking) func nftPrintsEveryRuleInItsOwnSyntax() throws {
    let listing = try inNetworkNamespace {
        try Connection().commit(Ruleset.creation)
        return try shell("nft", "list", "ruleset").get()
    }
    try expectFixture("ruleset.nft", listing)
}

@Test(.blocking) func whatWasCommittedIsListedAlike() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        #expect(try connection.tables() == [Ruleset.table])
        #expect(
            try connection.chains(in: Ruleset.table) == [Ruleset.gate, Ruleset.keep, Ruleset.cut]
        )
        #expect(
            try connection.sets(in: Ruleset.table)
                == [
                    Ruleset.grants4, Ruleset.grants6, Ruleset.trusted, Ruleset.modes, Ruleset.ports,
                    Ruleset.clients,
                ]
        )
        let rules = try connection.rules(in: Ruleset.table)
        #expect(rules.map(\.expressions) == Ruleset.rules.map(\.expressions))
        #expect(rules.map(\.comment) == Ruleset.rules.map(\.comment))
        #expect(rules.map(\.chain.name) == Ruleset.rules.map(\.chain.name))
    }
}

@Test(.blocking) func anInsertedRuleStandsInFrontOfTheOthers() throws {
    try inNetworkNamespace {
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        transaction.add(Ruleset.keep)
        transaction.add(Rule(in: Ruleset.keep, [], then: [.verdict(.drop)]))
        transaction.insert(Rule(in: Ruleset.keep, [.inputIsLoopback], then: [.verdict(.accept)]))
        let connection = try Connection()
        try connection.commit(transaction)
        let verdicts = try connection.rules(in: Ruleset.table).map(\.expressions.last)
        #expect(verdicts == [.verdict(.accept), .verdict(.drop)])
    }
}

@Test(.blocking) func rulesOfOthersAreListedWithTheirUnknownExpressions() throws {
    let rules = try inNetworkNamespace {
        try shell(
            "nft",
            "-f",
            "-",
            input: """
                table ip other {
                    chain c {
                        quota 1 mbytes accept
                        ip saddr 192.0.2.1 masquerade
                        tcp dport != 1-5 drop
                    }
                    chain nat { type nat hook postrouting priority 100; jump c; }
                }

                """
        ).get()
        return try Connection().rules(in: Table(family: .ip, name: "other"))
    }
    #expect(rules[0].expressions == [.other(name: "quota"), .verdict(.accept)])
    #expect(rules[1].expressions.last == .other(name: "masq"))
    #expect(
        rules[2].expressions.dropFirst(3).first
            == .range(.first, isInverted: true, from: [0, 1], through: [0, 5])
    )
}

@Test(.blocking) func aRuleIsDeletedByItsHandleOnly() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        let rules = try connection.rules(in: Ruleset.gate)
        var transaction = Transaction()
        transaction.delete(rules[1])
        try connection.commit(transaction)
        #expect(try connection.rules(in: Ruleset.gate) == [rules[0], rules[2], rules[3]])

        var withoutHandle = Transaction()
        withoutHandle.delete(Ruleset.rules[0])
        #expect(throws: NetlinkError.self) { try connection.commit(withoutHandle) }
        #expect(try connection.rules(in: Ruleset.gate).count == 3)
    }
}

@Test(.blocking) func flushingEmptiesChainsTablesAndSets() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        var transaction = Transaction()
        transaction.add([SetElement(Key([10, 0, 0, 1]))], to: Ruleset.trusted)
        transaction.flush(Ruleset.trusted)
        transaction.flush(Ruleset.gate)
        try connection.commit(transaction)
        #expect(try connection.elements(of: Ruleset.trusted).isEmpty)
        #expect(try connection.rules(in: Ruleset.gate).isEmpty)
        #expect(try !connection.rules(in: Ruleset.keep).isEmpty)

        var all = Transaction()
        all.flush(Ruleset.table)
        all.delete(Ruleset.grants6)
        all.delete(Ruleset.cut)
        try connection.commit(all)
        #expect(try connection.rules(in: Ruleset.table).isEmpty)
        #expect(try connection.sets(in: Ruleset.table).count == 5)
        var last = Transaction()
        last.delete(Ruleset.table)
        try connection.commit(last)
        #expect(try connection.tables().isEmpty)
    }
}

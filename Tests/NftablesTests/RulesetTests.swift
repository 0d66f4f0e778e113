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
    #expect(rules[1].expressions.last == .translate(.init(kind: .masquerade)))
    #expect(
        rules[2].expressions.dropFirst(3).first
            == .range(.first, isInverted: true, from: [0, 1], through: [0, 5])
    )
}

@Test(.blocking) func whatOthersRulesDoIsToldApart() throws {
    let rules = try inNetworkNamespace {
        try shell(
            "nft",
            "-f",
            "-",
            input: """
                table ip other {
                    chain pre {
                        type nat hook prerouting priority dstnat;
                        fib daddr type local tcp dport 80 dnat to 192.0.2.7:8080
                        udp dport 53 redirect to :5353
                    }
                    chain raw { type filter hook prerouting priority raw; notrack; }
                    chain c {
                        tcp option maxseg size 500 accept
                        ct state { new, untracked } accept
                    }
                }

                """
        ).get()
        return try Connection().rules(in: Table(family: .ip, name: "other"))
    }
    #expect(rules[0].expressions.first == .addressType(.destination, into: .first))
    #expect(rules[0].expressions.contains(.load([192, 0, 2, 7], into: .first)))
    guard case .translate(let translation) = rules[0].expressions.last else {
        Issue.record("no translation: \(rules[0].expressions)")
        return
    }
    #expect(translation.kind == .destination)
    #expect(translation.address == .first)
    #expect(translation.port != nil)
    guard case .translate(let redirection) = rules[1].expressions.last else {
        Issue.record("no translation: \(rules[1].expressions)")
        return
    }
    #expect(redirection.kind == .redirect)
    #expect(redirection.port != nil)
    #expect(rules[2].expressions == [.notrack])
    #expect(rules[3].expressions.first == .option(.tcp, tellsPresence: false, into: .first))
    guard case .lookup = rules[4].expressions[1] else {
        Issue.record("no lookup: \(rules[4].expressions)")
        return
    }
}

@Test(.blocking) func aWholeRulesetHasSetsOfAnyType() throws {
    let ruleset = try inNetworkNamespace {
        try shell(
            "nft",
            "-f",
            "-",
            input: """
                table inet other {
                    set states { type ct_state; elements = { new, untracked }; }
                    set hosts { type ether_addr . ipv4_addr; flags interval; }
                    map m { type inet_service : verdict; elements = { 22 : accept, * : drop }; }
                }

                """
        ).get()
        return try WholeRuleset.read()
    }
    #expect(ruleset.sets.map(\.name) == ["states", "hosts", "m"])
    #expect(ruleset.sets.map { $0.key.map(\.length) } == [[4], [6, 4], [2]])
    let table = Table(family: .inet, name: "other")
    #expect(ruleset.elements[.init("states", in: table)]?.count == 2)
    // What is not in a map has no key.
    let rest = ruleset.elements[.init("m", in: table)]?.first { $0.key.count == 0 }
    #expect(rest?.verdict == .drop)
}

@Test func aChainOfAHookThatItsFamilyLacksIsRefused() throws {
    var transaction = Transaction()
    let table = Table(family: .ip, name: "t")
    transaction.add(Chain("c", in: table, base: .init(hook: .egress, priority: 0)))
    #expect(throws: NetlinkError.self) { try Connection().commit(transaction) }
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

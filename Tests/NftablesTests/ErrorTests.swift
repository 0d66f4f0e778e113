import Netlink
import Nftables
import SystemPackage
import TestSupport
import Testing

@Test(.blocking) func theRefusedOperationInTheMiddleIsNamed() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        let rules = try connection.rules(in: Ruleset.table)
        var transaction = Transaction()
        transaction.add(Chain("first", in: Ruleset.table))
        transaction.delete(Chain("missing", in: Ruleset.table))
        transaction.add(Chain("last", in: Ruleset.table))
        let error = #expect(throws: NetlinkError.self) { try connection.commit(transaction) }
        #expect(error?.isNotFound == true)
        #expect(
            error?.description
                == "cannot delete chain inet sallyport missing: no such file or directory"
        )
        guard case .refused(operation: 1, _, _, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        // Of the operations around it nothing was done.
        #expect(try connection.chains(in: Ruleset.table).count == 3)
        #expect(try connection.rules(in: Ruleset.table) == rules)
    }
}

@Test(.blocking, arguments: [0, 1, 999, 1000, 2345])
func theRefusedElementAmongManyIsNamed(_ position: UInt32) throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        let elements = (0..<2500).map { (index: UInt32) in
            var (key, end) = (Key(), Key())
            key.append(field: 0x0a00_0000 + index * 256)
            end.append(field: 0x0a00_0000 + index * 256 + 255)
            return SetElement(key, through: end)
        }
        var one = Transaction()
        one.add([elements[Int(position)]], to: Ruleset.trusted)
        try connection.commit(one)
        var all = Transaction()
        all.create(elements, in: Ruleset.trusted)
        let error = #expect(throws: NetlinkError.self) { try connection.commit(all) }
        #expect(error?.isAlreadyExists == true)
        #expect(
            error?.description
                == "cannot create element 10.\(position >> 8).\(position & 255).0/24 in "
                + "set trusted: file exists"
        )
    }
}

@Test(.blocking) func theRefusedExpressionOfARuleIsNamed() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        var transaction = Transaction()
        transaction.add(
            Rule(
                in: Ruleset.keep,
                [.inputIsLoopback, .destinationPort(1...2, transportProtocol: 6)],
                then: [.counter(), .lookup(.first, set: "missing"), .verdict(.drop)]
            )
        )
        let error = #expect(throws: NetlinkError.self) { try connection.commit(transaction) }
        #expect(
            error?.description == "cannot add rule with lookup in chain inet sallyport keep: "
                + "no such file or directory"
        )
    }
}

@Test(.blocking) func theKernelsOwnExplanationIsHandedOn() throws {
    let error = try inNetworkNamespace {
        // A base chain of a hook that its type does not have.
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        transaction.add(
            Chain(
                "c",
                in: Ruleset.table,
                base: .init(kind: .nat, hook: .prerouting, priority: -300)
            )
        )
        return #expect(throws: NetlinkError.self) { try Connection().commit(transaction) }
    }
    guard case .refused(operation: 1, let description, let errno, _) = error else {
        Issue.record("\(String(describing: error))")
        return
    }
    #expect(description == "add chain inet sallyport c")
    #expect(errno == .notSupported)
}

@Test(.blocking) func withoutTheCapabilityTheWholeBatchIsNotPermitted() throws {
    try inNetworkNamespace {
        // The capability counts when the batch is sent, not when the socket is opened.
        let connection = try Connection()
        let error = try withoutPrivileges {
            #expect(throws: NetlinkError.self) { try connection.commit(Ruleset.creation) }
        }
        #expect(error == .notPermitted)
        #expect(error?.description.contains("CAP_NET_ADMIN") == true)
    }
}

@Test(.blocking) func aCommitForAnotherGenerationIsStale() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        let generation = try connection.generation()
        try connection.commit(Ruleset.creation, ifGeneration: generation)
        #expect(throws: NetlinkError.staleGeneration) {
            try connection.commit(Ruleset.creation, ifGeneration: generation)
        }
        // The socket is in order: the next question gets its own answer.
        #expect(try connection.generation() != generation)
    }
}

@Test(.blocking) func aLostAnswerIsAnUnknownOutcomeToBeReadBack() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try flood(netlinkPort: connection.portID)
        #expect(throws: NetlinkError.outcomeUnknown(.noBufferSpace)) {
            try connection.commit(Ruleset.creation)
        }
        // It was done, and nothing left over disturbs the reading back.
        #expect(try connection.tables() == [Ruleset.table])
        #expect(try connection.rules(in: Ruleset.table).count == Ruleset.rules.count)
        #expect(throws: Never.self) { try connection.commit(Ruleset.creation) }
    }
}

@Test(.blocking) func moreRefusalsThanFitAreStillARefusal() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        for index in 0..<2000 { transaction.delete(Chain("c\(index)", in: Ruleset.table)) }
        let error = #expect(throws: NetlinkError.self) { try connection.commit(transaction) }
        #expect(error?.description.hasPrefix("cannot delete chain inet sallyport c0: ") == true)
        #expect(try connection.tables().isEmpty)
    }
}

@Test(.blocking) func namesAtTheLimitAreTakenAndLongerOnesRefusedUnsent() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        let longest = String(repeating: "n", count: 255)
        let table = Table(family: .inet, name: longest)
        let set = NamedSet(
            longest,
            in: table,
            key: [.port],
            comment: String(repeating: "c", count: 128)
        )
        var fitting = Transaction()
        fitting.add(table)
        fitting.add(Chain(longest, in: table))
        fitting.add(set)
        fitting.add(
            [SetElement(Key([0, 22]), comment: String(repeating: "e", count: 128))],
            to: set
        )
        fitting.add(
            Rule(
                in: Chain(longest, in: table),
                [.protocolPort(in: set)].dropLast(),
                then: [.verdict(.accept)],
                comment: String(repeating: "r", count: 128)
            )
        )
        try connection.commit(fitting)
        #expect(try connection.tables() == [table])
        #expect(try connection.chains(in: table).map(\.name) == [longest])
        #expect(try connection.sets(in: table) == [set])
        #expect(try connection.elements(of: set).first?.comment?.count == 128)
        #expect(try connection.rules(in: table).first?.comment?.count == 128)
    }
}

@Test(.blocking, arguments: Refusal.all)
func whatCannotBeSentIsRefusedBeforeAnythingIs(_ refusal: Refusal) throws {
    try inNetworkNamespace {
        let connection = try Connection()
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        refusal.add(&transaction)
        let error = #expect(throws: NetlinkError.self) { try connection.commit(transaction) }
        #expect(error?.description == refusal.text)
        guard case .invalid(operation: 1, _, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try connection.tables().isEmpty)
    }
}

/// An operation that no message can say, and the error that says so.
struct Refusal: Sendable, CustomTestStringConvertible {
    let text: String
    let add: @Sendable (inout Transaction) -> Void
    var testDescription: String { String(text.prefix(80)) }

    static let all: [Refusal] = [
        Refusal(
            text: "cannot add chain inet sallyport \(tooLong): "
                + "the name of a chain has at most 255 bytes, not 256"
        ) { $0.add(Chain(tooLong, in: Ruleset.table)) },
        Refusal(
            text: "cannot add table inet : the name of a table must not be empty"
        ) { $0.add(Table(family: .inet, name: "")) },
        Refusal(
            text: "cannot add set inet sallyport a\0b: "
                + "the name of a set must not contain a zero byte"
        ) { $0.add(NamedSet("a\0b", in: Ruleset.table, key: [.port])) },
        Refusal(
            text: "cannot add set inet sallyport s: a key has at most 5 fields"
        ) {
            $0.add(
                NamedSet("s", in: Ruleset.table, key: [.port, .port, .port, .port, .port, .port])
            )
        },
        Refusal(
            text: "cannot add set inet sallyport s: a key has at most 64 bytes, not 80"
        ) {
            let key = [DataType](repeating: .ipv6Address, count: 5)
            $0.add(NamedSet("s", in: Ruleset.table, key: key))
        },
        Refusal(
            text: "cannot add rule in chain inet sallyport keep: "
                + "a comment has at most 128 bytes, not 129"
        ) {
            $0.add(
                Rule(in: Ruleset.keep, expressions: [], comment: String(tooLong.prefix(129)))
            )
        },
        Refusal(
            text: "cannot add rule in chain inet sallyport keep: "
                + "a rule has at most 128 expressions"
        ) {
            let counters = [Expression](repeating: .counter(), count: 129)
            $0.add(Rule(in: Ruleset.keep, expressions: counters))
        },
        Refusal(
            text: "cannot add rule in chain inet sallyport keep: "
                + "the expression quota is not known to this library"
        ) { $0.add(Rule(in: Ruleset.keep, expressions: [.other(name: "quota")])) },
        Refusal(
            text: "cannot add element 10.0.0.1 to set trusted: "
                + "a comment has at most 128 bytes, not 129"
        ) {
            let element = SetElement(Key([10, 0, 0, 1]), comment: String(tooLong.prefix(129)))
            $0.add([element], to: Ruleset.trusted)
        },
        Refusal(
            text: "cannot add element 10.0.0.1 to set trusted: "
                + "it has a timeout, and the set lacks the timeout flag"
        ) {
            $0.add([SetElement(Key([10, 0, 0, 1]), timeout: .seconds(1))], to: Ruleset.trusted)
        },
        Refusal(
            text: "cannot add element 192.0.2.0 . tcp . 22 to set grants4_24: "
                + "its timeout is shorter than 1 ms"
        ) {
            let element = SetElement(key([192, 0, 2, 0], 6, 22), timeout: .microseconds(999))
            $0.add([element], to: Ruleset.grants4)
        },
        Refusal(
            text: "cannot create element tcp . 22 in map modes: "
                + "it has no verdict, and the set is a verdict map"
        ) { $0.create([SetElement(key(6, 22))], in: Ruleset.modes) },
        Refusal(
            text: "cannot add element 192.0.2.0 . tcp . 22 to set grants4_24: "
                + "it is a range, and the set lacks the interval flag"
        ) {
            let low = key([192, 0, 2, 0], 6, 22)
            $0.add([SetElement(low, through: low)], to: Ruleset.grants4)
        },
        Refusal(
            text: "cannot delete element 0x0a0001 from set trusted: "
                + "its key has 3 bytes, the set's keys have 4"
        ) { $0.delete([SetElement(Key([10, 0, 1]))], from: Ruleset.trusted) },
        Refusal(
            text: "cannot add element 10.0.0.1 . 0x . 0x to set grants4_24: "
                + "its key has 4 bytes, the set's keys have 12"
        ) { $0.add([SetElement(Key([10, 0, 0, 1]))], to: Ruleset.grants4) },
        Refusal(
            text: "cannot add element 1.1.1.1 to set trusted: "
                + "its key has 255 bytes, the set's keys have 4"
        ) { $0.add([SetElement(Key([UInt8](repeating: 1, count: 999)))], to: Ruleset.trusted) },
        Refusal(
            text: "cannot delete rule in chain inet sallyport keep: "
                + "only a listed rule has the handle it is deleted by"
        ) { $0.delete(Rule(in: Ruleset.keep, expressions: [])) },
    ]

    private static let tooLong = String(repeating: "n", count: 256)
}

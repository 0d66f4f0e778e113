import API
import Netlink
import Nftables
import Policy
import Testing

@testable import Survey

/// What is evaluated without a kernel.
struct EvaluatorTests {
    private let table = Nftables.Table(family: .inet, name: "t")
    private var input: Chain {
        Chain("in", in: table, base: .init(hook: .input, priority: 0, policy: .accept))
    }

    /// A host with these rules in a chain at the hook input.
    private func host(
        _ rules: [[Nftables.Expression]],
        policy: Chain.Policy = .accept,
        more: [Chain] = [],
        sets: [(NamedSet, [SetElement]?)] = []
    ) -> HostState {
        var state = HostState.healthy
        var chain = input
        chain.base?.policy = policy
        state.ruleset.tables = [table]
        state.ruleset.chains = [chain] + more
        state.ruleset.rules = rules.enumerated().map { index, expressions in
            var rule = Rule(in: chain, expressions: expressions)
            rule.handle = UInt64(index + 1)
            return rule
        }
        for (set, elements) in sets {
            state.ruleset.sets.append(set)
            state.ruleset.elements[.init(set.name, in: table)] = elements
        }
        return state
    }

    private let port22 = Match.destinationPort(22...22, transportProtocol: 6).expressions
    private let drop = Nftables.Expression.verdict(.drop)
    private let accept = Nftables.Expression.verdict(.accept)

    @Test func aRuleForThePortDrops() throws {
        #expect(
            findings(host([port22 + [drop]]), try situation())
                == ["error drops-granted inet t in 1: 22/tcp"]
        )
        let other = Match.destinationPort(23...80, transportProtocol: 6).expressions
        #expect(findings(host([other + [drop]]), try situation()) == [])
        let udp = Match.destinationPort(22...22, transportProtocol: 17).expressions
        #expect(findings(host([udp + [drop]]), try situation()) == [])
    }

    @Test func anUnknownExpressionMayDrop() throws {
        let rules = [[.other(name: "osf"), drop]]
        #expect(
            findings(host(rules), try situation())
                == ["warning may-drop-granted inet t in 1: 22/tcp"]
        )
        // What may have been accepted is not certain to be dropped by the policy.
        let accepted = [[.other(name: "osf"), accept]]
        #expect(
            findings(host(accepted, policy: .drop), try situation())
                == ["warning may-drop-granted inet t in: 22/tcp"]
        )
        // What may have been dropped already is dropped for certain by what follows.
        #expect(
            findings(host(rules, policy: .drop), try situation()) == [
                "error drops-granted inet t in: 22/tcp",
                "warning may-drop-granted inet t in 1: 22/tcp",
            ]
        )
    }

    @Test func whatDecidesInTheirPlaceIsTold() throws {
        let queue = [port22 + [.other(name: "queue")]]
        #expect(
            findings(host(queue), try situation())
                == ["warning may-drop-granted inet t in 1: 22/tcp"]
        )
        var early = host(queue)
        early.ruleset.chains[0].base?.hook = .prerouting
        early.ruleset.chains[0].base?.priority = -200
        #expect(
            findings(early, try situation())
                == ["warning decided-before inet t in 1: 22/tcp"]
        )
    }

    @Test func aSetThatWasNotReadMayDrop() throws {
        let set = NamedSet("s", in: table, key: [.ipv4Address])
        let rules = [Match.source(.ipv4, in: set).expressions + [drop]]
        #expect(
            findings(host(rules, sets: [(set, nil)]), try situation())
                == ["warning may-drop-granted inet t in 1: 22/tcp"]
        )
        #expect(findings(host(rules, sets: [(set, [])]), try situation()) == [])
    }

    @Test func onlyPortsThatSomethingAnswersAtAreLookedAt() throws {
        let managed = try situation(["3389/tcp"])
        #expect(findings(host([[drop]]), managed) == [])
        let open = try situation(["3389/tcp"], open: [("3389/tcp", "192.0.2.7/32")])
        #expect(
            findings(host([[drop]]), open) == ["error drops-granted inet t in 1: 3389/tcp"]
        )
    }

    @Test(
        arguments: [
            ("10.0.0.0/8", [10, 0, 0, 0], 8, true), ("10.1.0.0/16", [10, 0, 0, 0], 8, true),
            ("192.0.2.7/32", [192, 0, 2, 0], 24, true),
            ("192.0.2.7/32", [192, 0, 3, 0], 24, false),
            // Of the sources that may be asked for, most are elsewhere.
            ("10.0.0.0/8", [10, 1, 0, 0], 16, false), ("0.0.0.0/0", [10, 0, 0, 0], 8, false),
        ] as [(String, [UInt8], Int, Bool)]
    )
    func sourcesAreCompared(
        _ source: String,
        _ address: [UInt8],
        _ length: Int,
        _ isMet: Bool
    ) throws {
        let rules = [Match.source(address, prefixLength: length).expressions + [drop]]
        let found = findings(host(rules), try situation(from: [source]))
        #expect(found == (isMet ? ["error drops-granted inet t in 1: 22/tcp"] : []))
    }

    @Test func registersAreReadAsTheyWereLoaded() {
        var registers = Registers()
        registers.load([Value(Array<UInt8>([192, 0, 2, 7]))], slot: 0)
        registers.load([Value(6, length: 1)], slot: 1)
        registers.load([Value(22, length: 2)], slot: 2)
        #expect(registers.read(slot: 0, count: 3).map(\.low) == [0xc00002])
        #expect(registers.read(from: 4, count: 4).map(\.low) == [6, 0])
        #expect(registers.read(from: 0, count: 12).map(\.length) == [4, 1, 3, 2, 2])
        registers.load([.unknown(length: 16)], slot: 0)
        #expect(registers.read(from: 8, count: 2).map(\.isUnknown) == [true])
        #expect(registers.read(slot: 9, count: 4).map(\.isUnknown) == [true])
    }

    @Test func masksOfPrefixesKeepRanges() {
        let range = Value(0x0a00_0000, through: 0x0aff_ffff, length: 4)
        #expect(range.masked(0xff00_0000, xor: 0).isExact)
        #expect(range.masked(0xffff_0000, xor: 0).high == 0x0aff_0000)
        #expect(range.masked(0x0000_00ff, xor: 0).isUnknown)
        #expect(Value(5, length: 4).masked(4, xor: 1) == Value(5, length: 4))
    }

    @Test func rulesThatContradictThemselvesMatchNothing() throws {
        // A program can put anything into the kernel: two comparisons of one load, and two sets.
        let load: [Nftables.Expression] = [.payload(.transport, offset: 2, length: 2, into: .first)]
        let high: [Nftables.Expression] = [.compare(.first, .greaterOrEqual, value: [0x10, 0])]
        let low: [Nftables.Expression] = [.compare(.first, .lessOrEqual, value: [0x01, 0])]
        let set = NamedSet("s", in: table, key: [.port])
        let elements = (1...40).map { SetElement(Key([0, $0 as UInt8])) }
        let lookup: [Nftables.Expression] = [.lookup(.first, set: "s")]
        let many = [[Nftables.Expression]](repeating: lookup, count: 20).flatMap(\.self)
        let rules = [
            load + high + low + [drop], load + lookup + high + [drop], load + many + [drop],
        ]
        // As a range, and so wide that it is judged as one.
        let managed = try situation(["1-60000/tcp"])
        #expect(
            findings(host(rules, sets: [(set, elements)]), managed)
                == ["warning may-drop-granted inet t in 3: 1-60000/tcp"]
        )
    }

    @Test func aLoopOfChainsEnds() throws {
        let loop = Chain("loop", in: table)
        var state = host([[.verdict(.jump("loop"))]], more: [loop])
        state.ruleset.rules.append(
            Rule(in: loop, expressions: [.other(name: "osf"), .verdict(.jump("loop"))])
        )
        #expect(findings(state, try situation()) == [])
    }

    // MARK: What iptables-nft leaves to xtables

    private func xtables(
        _ name: String,
        _ revision: UInt32,
        _ info: [UInt8],
        isTarget: Bool = false
    ) -> Nftables.Expression {
        .xtables(.init(isTarget: isTarget, name: name, revision: revision, info: info))
    }

    /// `xt_conntrack_mtinfo3` with a mask of states.
    private func conntrack(_ states: UInt16, isInverted: Bool = false) -> Nftables.Expression {
        var info = [UInt8](repeating: 0, count: 168)
        info[146] = 1
        info[147] = 0x20
        info[148] = isInverted ? 1 : 0
        info[150] = UInt8(states & 0xff)
        info[151] = UInt8(states >> 8)
        return xtables("conntrack", 3, info)
    }

    @Test func matchesOfXtablesAreUnderstood() throws {
        let dropped = ["error drops-granted inet t in 1: 22/tcp"]
        let cases: [([Nftables.Expression], [String])] = [
            // RELATED,ESTABLISHED is 6, INVALID 1, NEW 8.
            ([conntrack(6)], []), ([conntrack(1)], []), ([conntrack(8)], dropped),
            ([conntrack(6, isInverted: true)], dropped),
            ([xtables("comment", 0, Array("hi".utf8))], dropped),
            // --dst-type LOCAL
            ([xtables("addrtype", 1, [0, 0, 4, 0, 0, 0, 0, 0])], dropped),
            // ! --dst-type LOCAL
            ([xtables("addrtype", 1, [0, 0, 4, 0, 2, 0, 0, 0])], []),
            ([xtables("addrtype", 1, [0, 0, 8, 0, 0, 0, 0, 0])], []),
            // --dport 22, --dport 23, ! --dport 22
            ([xtables("tcp", 0, [0, 0, 255, 255, 22, 0, 22, 0, 0, 0, 0, 0])], dropped),
            ([xtables("tcp", 0, [0, 0, 255, 255, 23, 0, 23, 0, 0, 0, 0, 0])], []),
            ([xtables("tcp", 0, [0, 0, 255, 255, 22, 0, 22, 0, 0, 0, 0, 2])], []),
            ([xtables("udp", 0, [0, 0, 255, 255, 22, 0, 22, 0, 0])], []),
            ([xtables("mark", 1, [5, 0, 0, 0, 255, 255, 255, 255, 0])], []),
            (
                [xtables("recent", 1, [UInt8](repeating: 0, count: 240))],
                ["warning may-drop-granted inet t in 1: 22/tcp"]
            ),
        ]
        for (matches, expected) in cases {
            #expect(findings(host([matches + [drop]]), try situation()) == expected, "\(matches)")
        }
    }

    @Test func severalPortsOfXtablesAreUnderstood() throws {
        // --dports 80,20:25
        var info = [UInt8](repeating: 0, count: 48)
        (info[0], info[1]) = (1, 3)
        (info[2], info[4], info[6]) = (80, 20, 25)
        info[33] = 1
        let rules = [[xtables("multiport", 1, info), drop]]
        #expect(
            findings(host(rules), try situation()) == ["error drops-granted inet t in 1: 22/tcp"]
        )
        #expect(findings(host(rules), try situation(["26/tcp"])) == [])
    }

    @Test func targetsOfXtablesAreUnderstood() throws {
        let dropped = ["error drops-granted inet t in 1: 22/tcp"]
        let log = xtables("LOG", 0, [4, 0], isTarget: true)
        let reject = xtables("REJECT", 0, [0, 0, 0, 0], isTarget: true)
        let other = xtables("FANCY", 0, [], isTarget: true)
        #expect(findings(host([port22 + [log]]), try situation()) == [])
        #expect(findings(host([port22 + [reject]]), try situation()) == dropped)
        #expect(
            findings(host([port22 + [other]]), try situation())
                == ["warning may-drop-granted inet t in 1: 22/tcp"]
        )
    }

    @Test func translationsOfXtablesAreUnderstood() throws {
        // nf_nat_range2: an address and a port, 172.17.0.2:80.
        var info = [UInt8](repeating: 0, count: 48)
        info[0] = 3
        info.replaceSubrange(4..<8, with: [172, 17, 0, 2])
        info.replaceSubrange(20..<24, with: [172, 17, 0, 2])
        info.replaceSubrange(36..<40, with: [0, 80, 0, 80])
        let target = Nftables.Expression.Extension(
            isTarget: true,
            name: "DNAT",
            revision: 2,
            info: info
        )
        #expect(
            target.effect == .translates(.init(address: [172, 17, 0, 2], ports: 80...80))
        )
        // nf_nat_ipv4_multi_range_compat: a port alone, 5353.
        var old = [UInt8](repeating: 0, count: 24)
        (old[0], old[4]) = (1, 2)
        old.replaceSubrange(16..<20, with: [0x14, 0xe9, 0x14, 0xe9])
        let redirect = Nftables.Expression.Extension(
            isTarget: true,
            name: "REDIRECT",
            revision: 0,
            info: old
        )
        #expect(
            redirect.effect == .translates(.init(ports: 5353...5353, isThisHost: true))
        )
    }
}

import Nftables
import Policy

/// What rules do with a packet, step by step as the kernel evaluates them (nft_do_chain,
/// net/netfilter/nf_tables_core.c).
///
/// Where a rule cannot be evaluated, both is followed: that it matches, and that it does not.
struct Evaluator {
    /// Something a rule does, or may do, with a packet.
    struct Event {
        enum Kind: Equatable {
            /// It drops it, or refuses it.
            case drop
            /// It ends the evaluation of the chain.
            case accept
            /// It hands it to something that decides, and that this does not know: its name.
            case undecided(String)
            /// It exempts it from connection tracking.
            case notrack
            /// It rewrites its destination.
            case translate(Target)
        }

        var kind: Kind
        var chain: Chain
        /// The rule; nil where it is the chain's policy.
        var rule: Rule?
        /// Whether it certainly does so with the packet.
        var isCertain: Bool
        /// The packet as it is then.
        var packet: Packet
    }

    /// Where a packet's destination is rewritten to.
    struct Target: Equatable {
        /// 4 bytes or 16; nil: this host, or where the address is not known.
        var address: [UInt8]?
        /// Nil where the port stays.
        var ports: ClosedRange<UInt16>?
        /// It goes to this host, whatever its address.
        var isThisHost = false
        /// What is rewritten cannot be told.
        var isUnknown = false
    }

    /// How a chain was left.
    struct Flow {
        /// The packet may have been accepted.
        var mayAccept = false
        /// The packet may have come to the chain's end, or returned.
        var mayFall = false
    }

    struct ChainID: Hashable {
        var family: Family
        var table: String
        var name: String
    }

    private let rules: [ChainID: [Rule]]
    private var sets: [WholeRuleset.SetID: PreparedSet] = [:]
    /// What happened since it was last taken.
    private(set) var events: [Event] = []
    /// Whether the packet is tracked.
    private var isTracked = Truth.yes
    /// Whether its mark is still 0.
    private var isMarked = Truth.no
    /// How many rules may still be evaluated.
    private var stepsLeft: Int
    /// Whether it came to an end before the rules did.
    private(set) var isExhausted = false

    init(_ ruleset: WholeRuleset, steps: Int) {
        var rules: [ChainID: [Rule]] = [:]
        for rule in ruleset.rules { rules[rule.chain.id, default: []].append(rule) }
        self.rules = rules
        stepsLeft = steps
        for set in ruleset.sets {
            let id = WholeRuleset.SetID(set.name, in: set.table)
            sets[id] = PreparedSet(set, ruleset.elements[id])
        }
    }

    /// Begins with a packet that nothing has touched.
    mutating func begin() {
        (isTracked, isMarked) = (.yes, .no)
    }

    /// Goes on with the answer to what was followed since it began.
    mutating func beginReply() {
        // Of a connection that conntrack did not see begin it may think anything.
        if isTracked != .yes { isTracked = .maybe }
    }

    mutating func takeEvents() -> [Event] {
        defer { events = [] }
        return events
    }

    /// Evaluates a base chain; answers whether the packet may go on.
    mutating func evaluate(_ base: Chain, _ packet: Packet, isCertain: Bool = true) -> Bool {
        let flow = run(base, packet, isCertain, depth: 0)
        guard flow.mayFall else { return flow.mayAccept }
        guard base.base?.policy == .drop else { return true }
        note(.drop, base, nil, isCertain && !flow.mayAccept, packet)
        return flow.mayAccept
    }

    private mutating func note(
        _ kind: Event.Kind,
        _ chain: Chain,
        _ rule: Rule?,
        _ isCertain: Bool,
        _ packet: Packet
    ) {
        events.append(
            Event(kind: kind, chain: chain, rule: rule, isCertain: isCertain, packet: packet)
        )
    }

    private mutating func run(
        _ chain: Chain,
        _ packet: Packet,
        _ isCertain: Bool,
        depth: Int
    ) -> Flow {
        var flow = Flow()
        var isCertain = isCertain
        // The kernel allows 16 jumps one in another (NFT_JUMP_STACK_SIZE).
        guard depth <= 16 else { return Flow(mayAccept: true, mayFall: true) }
        for rule in rules[chain.id] ?? [] {
            guard stepsLeft > 0 else {
                isExhausted = true
                return Flow(mayAccept: true, mayFall: true)
            }
            var step = Step(chain: chain, rule: rule, isCertain: isCertain, depth: depth)
            go(through: 0, Registers(), packet, .yes, &step)
            flow.mayAccept = flow.mayAccept || step.mayAccept
            flow.mayFall = flow.mayFall || step.mayReturn
            guard step.goesOn else { return flow }
            // What may have been let off before is not certain to be met by what follows.
            isCertain = isCertain && !step.mayAccept && !step.mayReturn
        }
        flow.mayFall = true
        return flow
    }

    /// What one rule comes to.
    private struct Step {
        let chain: Chain
        let rule: Rule
        let isCertain: Bool
        let depth: Int
        var mayAccept = false
        var mayReturn = false
        /// Whether the next rule may be evaluated.
        var goesOn = false
    }

    /// Evaluates a rule's expressions from an index on.
    private mutating func go(
        through start: Int,
        _ registers: Registers,
        _ packet: Packet,
        _ match: Truth,
        _ step: inout Step
    ) {
        stepsLeft -= 1
        var (registers, packet, match) = (registers, packet, match)
        for index in step.rule.expressions.indices.dropFirst(start) {
            var truth = Truth.yes
            switch step.rule.expressions[index] {
            case .payload(let base, let offset, let length, let register):
                let values = packet.payload(base, offset: Int(offset), length: Int(length))
                registers.load(values, slot: Int(register.slot))
            case .meta(let key, let register):
                var value = packet.meta(key)
                if key == .mark, isMarked != .no { value = .unknown(length: 4) }
                registers.load([value], slot: Int(register.slot))
            case .connection(let key, let register):
                registers.load([connection(key, packet)], slot: Int(register.slot))
            case .routeExists(_, let register):
                // Some interface leads to where the packet came from.
                var value = Value(1, through: UInt128(UInt32.max), length: 4)
                value.isTypical = true
                registers.load([value], slot: Int(register.slot))
            case .addressType(let key, let register):
                registers.load([addressType(key, packet)], slot: Int(register.slot))
            case .option(let kind, let tellsPresence, let register):
                // The packets that are meant have no options but TCP's.
                if tellsPresence, kind != .tcp {
                    registers.load([Value(0, length: 1)], slot: Int(register.slot))
                } else if kind == .tcp {
                    registers.load([.unknown(length: 4)], slot: Int(register.slot))
                    truth = tellsPresence ? .yes : .maybe
                } else {
                    truth = .no
                }
            case .load(let bytes, let register):
                let value = bytes.count <= 16 ? Value(bytes) : .unknown(length: bytes.count)
                registers.load([value], slot: Int(register.slot))
            case .bitwise(let source, let destination, let mask, let xor):
                registers.load(
                    masked(registers.read(slot: Int(source.slot), count: mask.count), mask, xor),
                    slot: Int(destination.slot)
                )
            case .compare(let register, let comparison, let bytes):
                let values = registers.read(slot: Int(register.slot), count: bytes.count)
                truth = compare(values, comparison, bytes)
                if let range = comparison.range(bytes) {
                    truth = narrow(&packet, to: range, where: truth, values)
                }
            case .range(let register, let isInverted, let from, let through):
                let values = registers.read(slot: Int(register.slot), count: from.count)
                guard values.count == 1, from.count <= 16 else {
                    truth = .maybe
                    break
                }
                let (low, high) = (Value(from).low, Value(through).low)
                let inside = low <= high ? values[0].lies(in: low...high) : .no
                truth = isInverted ? !inside : inside
                if !isInverted, low <= high {
                    truth = narrow(&packet, to: low...high, where: truth, values)
                }
            case .lookup(let register, let name, let isInverted):
                let found = look(up: register, in: name, registers, step.chain.table)
                guard let found else {
                    truth = .maybe
                    break
                }
                if found.truth == .maybe, !isInverted, !found.ports.isEmpty {
                    // Each of the set's ports goes its own way from here.
                    for narrowed in found.ports.compactMap(packet.narrowed) {
                        go(through: index + 1, registers, narrowed, .maybe, &step)
                    }
                    step.goesOn = true
                    return
                }
                truth = isInverted ? !found.truth : found.truth
            case .verdictMap(let register, let name):
                guard let found = look(up: register, in: name, registers, step.chain.table) else {
                    note(.undecided("map \(name)"), step.chain, step.rule, false, packet)
                    step.mayAccept = true
                    break
                }
                for hit in found.hits {
                    let met = match && hit.truth
                    guard let narrowed = hit.ports.map(packet.narrowed) ?? packet else { continue }
                    decide(hit.verdict ?? .continue, met, narrowed, &step)
                    if hit.truth == .yes, match == .yes, hit.verdict?.endsRule ?? false { return }
                }
            case .counter, .log: break
            case .limit(let limit):
                // Those within the limit are meant.
                truth = limit.isInverted ? .no : .yes
            case .verdict(let verdict):
                decide(verdict, match, packet, &step)
                return
            case .reject:
                decide(.drop, match, packet, &step)
                return
            case .translate(let translation):
                translate(translation, registers, match, packet, &step)
                return
            case .notrack:
                noteUntracked(match, packet, step)
            case .offload: break
            case .xtables(let part) where part.isTarget:
                guard obey(part, match, packet, &step) else { return }
            case .xtables(let part):
                (truth, packet) = part.matches(packet, isTracked: isTracked, isMarked: isMarked)
            case .other("reject"):
                // With another answer than this library knows, but the packet is gone all the same.
                decide(.drop, match, packet, &step)
                return
            case .update, .store:
                // Whether the set has room, and what the packet is then, only the kernel knows.
                truth = .maybe
            case .other(let name):
                registers.forget()
                if name == "meta" || name == "ct" { isMarked = .maybe }
                if Self.deciding.contains(name) {
                    note(.undecided(name), step.chain, step.rule, false, packet)
                    step.mayAccept = true
                } else if !Self.harmless.contains(name) {
                    truth = .maybe
                }
            }
            match = match && truth
            if match == .no { break }
        }
        // Without a verdict, or not matched: the next rule.
        step.goesOn = true
    }

    /// Expressions that neither decide nor break a rule off.
    private static let harmless: Set = ["meta", "ct", "byteorder", "numgen", "hash", "rt", "last"]
    /// Expressions after which the packet may be gone.
    private static let deciding: Set = ["queue", "synproxy", "fwd"]

    private mutating func decide(
        _ verdict: Verdict,
        _ match: Truth,
        _ packet: Packet,
        _ step: inout Step
    ) {
        guard match != .no else {
            step.goesOn = true
            return
        }
        let isCertain = step.isCertain && match == .yes
        if match == .maybe { step.goesOn = true }
        switch verdict {
        case .accept:
            note(.accept, step.chain, step.rule, isCertain, packet)
            step.mayAccept = true
        case .drop: note(.drop, step.chain, step.rule, isCertain, packet)
        case .continue: step.goesOn = true
        case .return: step.mayReturn = true
        case .jump(let name):
            let target = Chain(name, in: step.chain.table)
            let flow = run(target, packet, isCertain, depth: step.depth + 1)
            step.mayAccept = step.mayAccept || flow.mayAccept
            step.goesOn = step.goesOn || flow.mayFall
        case .goto(let name):
            let target = Chain(name, in: step.chain.table)
            let flow = run(target, packet, isCertain, depth: step.depth + 1)
            step.mayAccept = step.mayAccept || flow.mayAccept
            step.mayReturn = step.mayReturn || flow.mayFall
        }
    }

    private mutating func noteUntracked(_ match: Truth, _ packet: Packet, _ step: Step) {
        note(.notrack, step.chain, step.rule, step.isCertain && match == .yes, packet)
        isTracked = step.isCertain && match == .yes ? .no : .maybe
    }

    private mutating func translate(
        _ translation: Expression.Translation,
        _ registers: Registers,
        _ match: Truth,
        _ packet: Packet,
        _ step: inout Step
    ) {
        var target = Target()
        switch translation.kind {
        case .source, .masquerade: return decide(.accept, match, packet, &step)
        case .redirect: target.isThisHost = true
        case .destination: break
        }
        if let register = translation.address {
            let count = packet.family.bits / 8
            let values = registers.read(slot: Int(register.slot), count: count)
            let isRange = translation.lastAddress.map { $0 != register } ?? false
            if !isRange, values.count == 1, values[0].isExact {
                target.address = values[0].bytes
            } else {
                target.isUnknown = true
            }
        }
        if let register = translation.port {
            let first = registers.read(slot: Int(register.slot), count: 2)
            let last = registers.read(slot: Int((translation.lastPort ?? register).slot), count: 2)
            if first.count == 1, last.count == 1, first[0].isExact, last[0].isExact,
                first[0].low <= last[0].low
            {
                target.ports = UInt16(first[0].low)...UInt16(last[0].low)
            } else {
                target.isUnknown = true
            }
        }
        noteTranslation(target, match, packet, &step)
    }

    private mutating func noteTranslation(
        _ target: Target,
        _ match: Truth,
        _ packet: Packet,
        _ step: inout Step
    ) {
        note(
            .translate(target),
            step.chain,
            step.rule,
            step.isCertain && match == .yes,
            packet
        )
        step.mayAccept = true
        if match == .maybe { step.goesOn = true }
    }

    /// Does what a target of xtables does; answers whether the rule goes on.
    private mutating func obey(
        _ target: Expression.Extension,
        _ match: Truth,
        _ packet: Packet,
        _ step: inout Step
    ) -> Bool {
        switch target.effect {
        case .none: return true
        case .marks:
            isMarked = .maybe
            return true
        case .untracks:
            noteUntracked(match, packet, step)
            return true
        case .drops: decide(.drop, match, packet, &step)
        case .accepts: decide(.accept, match, packet, &step)
        case .translates(let target): noteTranslation(target, match, packet, &step)
        case .unknown:
            note(.undecided(target.name), step.chain, step.rule, false, packet)
            step.mayAccept = true
            step.goesOn = true
        }
        return false
    }

    // MARK: What packets are compared by

    private func connection(_ key: Expression.ConnectionKey, _ packet: Packet) -> Value {
        let state: UInt32
        switch key {
        case .state:
            switch isTracked {
            case .yes:
                state = (packet.isReply ? ConnectionState.established : .new).rawValue
            case .no: state = ConnectionState.untracked.rawValue
            case .maybe: return .unknown(length: 4)
            }
        case .direction: return Value(packet.isReply ? 1 : 0, length: 1)
        // IPS_DST_NAT; IPS_SEEN_REPLY and IPS_CONFIRMED (linux/netfilter/nf_conntrack_common.h).
        case .status:
            state = (packet.isTranslated ? 1 << 5 : 0) | (packet.isReply ? 1 << 1 | 1 << 3 : 0)
        case .mark:
            if isMarked != .no { return .unknown(length: 4) }
            state = 0
        }
        return Value(native(state))
    }

    private func addressType(_ key: Expression.RouteKey, _ packet: Packet) -> Value {
        // RTN_UNICAST is 1, RTN_LOCAL 2 (linux/rtnetlink.h).
        let isLocal =
            key.contains(.destination) && packet.isForThisHost
            || key.contains(.source) && packet.isFromThisHost
        return Value(native(isLocal ? 2 : 1))
    }

    private func masked(_ values: [Value], _ mask: [UInt8], _ xor: [UInt8]) -> [Value] {
        var offset = 0
        return values.map { value in
            defer { offset += value.length }
            guard value.length <= 16, !value.isUnknown else { return value }
            let place = offset..<offset + value.length
            return value.masked(Value(mask[place]).low, xor: Value(xor[place]).low)
        }
    }

    private func compare(
        _ values: [Value],
        _ comparison: Expression.Comparison,
        _ bytes: [UInt8]
    ) -> Truth {
        switch comparison {
        case .equal, .notEqual:
            var (truth, offset) = (Truth.yes, 0)
            for value in values {
                let place = bytes[offset..<offset + value.length]
                offset += value.length
                guard value.length <= 16 else {
                    truth = truth && .maybe
                    continue
                }
                let number = Value(place).low
                truth = truth && value.lies(in: number...number)
            }
            return comparison == .equal ? truth : !truth
        case .less, .lessOrEqual, .greater, .greaterOrEqual:
            guard values.count == 1, let range = comparison.range(bytes) else { return .maybe }
            return values[0].lies(in: range)
        }
    }

    /// Leaves of the packet's ports those that go on, where some do and others not; answers whether
    /// any does.
    private func narrow(
        _ packet: inout Packet,
        to range: ClosedRange<UInt128>,
        where truth: Truth,
        _ values: [Value]
    ) -> Truth {
        guard truth == .maybe, values.count == 1, values[0].isDestinationPort else { return truth }
        guard let narrowed = packet.narrowed(to: range) else { return .no }
        packet = narrowed
        return .maybe
    }

    private func look(
        up register: Register,
        in name: String,
        _ registers: Registers,
        _ table: Table
    ) -> PreparedSet.Found? {
        sets[.init(name, in: table)]?.look(up: registers, slot: Int(register.slot))
    }
}

extension Expression.Comparison {
    /// The numbers that compare so with some bytes; nil where they are no range.
    fileprivate func range(_ bytes: [UInt8]) -> ClosedRange<UInt128>? {
        guard bytes.count <= 16 else { return nil }
        let number = Value(bytes).low
        switch self {
        case .equal: return number...number
        case .notEqual: return nil
        case .less: return number > 0 ? 0...number - 1 : nil
        case .lessOrEqual: return 0...number
        case .greater: return number < .max ? number + 1 ... .max : nil
        case .greaterOrEqual: return number ... .max
        }
    }
}

extension Verdict {
    fileprivate var endsRule: Bool { self != .continue }
}

extension Chain {
    var id: Evaluator.ChainID { .init(family: table.family, table: table.name, name: name) }
}

extension Value {
    /// The bytes of an exact value.
    var bytes: [UInt8] {
        (0..<length).map { UInt8(truncatingIfNeeded: low >> UInt128(8 * (length - 1 - $0))) }
    }
}

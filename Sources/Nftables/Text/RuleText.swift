extension [Expression] {
    /// The expressions in nft's syntax, dependencies spelled out: `meta l4proto tcp th dport 22`.
    var nftText: String {
        var registers: [UInt8: Operand] = [:]
        return compactMap { $0.text(&registers) }.joined(separator: " ")
    }
}

/// What a register holds.
private struct Operand {
    /// Decides how values that it is compared with are written.
    enum Kind {
        case data(DataType), family, states, tcpFlags, direction, hexadecimal
    }

    var text: String
    var kind: Kind
    var mask: [UInt8]?

    init(_ text: String, _ kind: Kind) {
        self.text = text
        self.kind = kind
    }

    /// With its mask, as it stands in a lookup.
    var masked: String {
        mask.map { "\(text) & \(kind.text($0))" } ?? text
    }

    func comparison(_ comparison: Expression.Comparison, _ value: [UInt8]) -> String {
        guard let mask else { return "\(text) \(comparison.text)\(kind.text(value))" }
        switch (kind, comparison) {
        case (.states, .notEqual) where value.allSatisfy({ $0 == 0 }):
            return "\(text) \(kind.text(mask))"
        case (.data(let type), .equal):
            let last = zip(value, mask).map { $0 | ~$1 }
            return "\(text) \(type.text(value, through: last))"
        case (.tcpFlags, .equal):
            return "\(text) \(kind.text(value)) / \(kind.text(mask))"
        default:
            let sign = comparison == .equal ? "== " : comparison.text
            return "\(text) & \(kind.text(mask)) \(sign)\(kind.text(value))"
        }
    }
}

extension Operand.Kind {
    fileprivate func text(_ bytes: [UInt8]) -> String {
        switch self {
        case .data(let type): return type.text(bytes)
        case .family:
            let family = bytes.first.flatMap(Family.init)
            return family == .ip ? "ipv4" : family == .ip6 ? "ipv6" : hex(bytes)
        case .direction: return bytes == [0] ? "original" : "reply"
        case .hexadecimal: return hex(bytes)
        case .states:
            let names: [(ConnectionState, String)] = [
                (.invalid, "invalid"), (.established, "established"), (.related, "related"),
                (.new, "new"), (.untracked, "untracked"),
            ]
            let states = ConnectionState(rawValue: native(bytes))
            return names.filter { states.contains($0.0) }.map(\.1).joined(separator: ",")
        case .tcpFlags:
            let names: [(TCPFlags, String)] = [
                (.fin, "fin"), (.syn, "syn"), (.rst, "rst"), (.psh, "psh"), (.ack, "ack"),
                (.urg, "urg"),
            ]
            let flags = TCPFlags(rawValue: bytes.first ?? 0)
            let text = names.filter { flags.contains($0.0) }.map(\.1).joined(separator: ",")
            return text.isEmpty ? "0x0" : text
        }
    }
}

extension Expression {
    /// The expression in nft's syntax; nil for those that only fill a register.
    fileprivate func text(_ registers: inout [UInt8: Operand]) -> String? {
        switch self {
        case .payload(let base, let offset, let length, let register):
            registers.load(Self.operand(base, offset, length), into: register)
            return nil
        case .meta(let key, let register):
            registers.load(key.operand, into: register)
            return nil
        case .connection(let key, let register):
            registers.load(key.operand, into: register)
            return nil
        case .bitwise(let source, let register, let mask, _):
            var operand = registers[source.slot]
            operand?.mask = mask
            registers[register.slot] = operand
            return nil
        case .compare(let register, let comparison, let value):
            return registers[register.slot]?.comparison(comparison, value)
        case .range(let register, let isInverted, let from, let through):
            guard let operand = registers[register.slot] else { return nil }
            return "\(operand.text) \(isInverted ? "!= " : "")"
                + "\(operand.kind.text(from))-\(operand.kind.text(through))"
        case .lookup(let register, let set, let isInverted):
            return "\(registers.text(from: register)) \(isInverted ? "!= " : "")@\(set)"
        case .verdictMap(let register, let map):
            return "\(registers.text(from: register)) vmap @\(map)"
        case .counter(let counter) where counter == Counter(): return "counter"
        case .counter(let counter):
            return "counter packets \(counter.packets) bytes \(counter.bytes)"
        case .limit(let limit): return limit.text
        case .log(let log): return log.text
        case .verdict(let verdict): return verdict.description
        case .reject(.tcpReset): return "reject with tcp reset"
        case .reject(.icmpx(let code)): return "reject with icmpx \(code.text)"
        case .other(let name): return "[\(name)]"
        }
    }

    private static func operand(
        _ base: PayloadBase,
        _ offset: UInt32,
        _ length: UInt32
    ) -> Operand {
        // nft counts in bits.
        let bits = "\(UInt64(offset) * 8),\(UInt64(length) * 8)"
        return switch (base, offset, length) {
        case (.network, 12, 4): Operand("ip saddr", .data(.ipv4Address))
        case (.network, 16, 4): Operand("ip daddr", .data(.ipv4Address))
        case (.network, 8, 16): Operand("ip6 saddr", .data(.ipv6Address))
        case (.network, 24, 16): Operand("ip6 daddr", .data(.ipv6Address))
        case (.transport, 0, 2): Operand("th sport", .data(.port))
        case (.transport, 2, 2): Operand("th dport", .data(.port))
        case (.transport, 13, 1): Operand("tcp flags", .tcpFlags)
        case (.linkLayer, _, _): Operand("@ll,\(bits)", .hexadecimal)
        case (.network, _, _): Operand("@nh,\(bits)", .hexadecimal)
        case (.transport, _, _): Operand("@th,\(bits)", .hexadecimal)
        }
    }
}

extension [UInt8: Operand] {
    /// Loading starts a value or adds to a concatenation: what lay behind is no part of it.
    fileprivate mutating func load(_ operand: Operand, into register: Register) {
        self = filter { $0.key < register.slot }
        self[register.slot] = operand
    }

    /// The concatenation that starts at a register.
    fileprivate func text(from register: Register) -> String {
        filter { $0.key >= register.slot }.sorted { $0.key < $1.key }
            .map(\.value.masked).joined(separator: " . ")
    }
}

extension Expression.MetaKey {
    fileprivate var operand: Operand {
        switch self {
        case .mark: Operand("meta mark", .data(.mark))
        case .inputInterface: Operand("iif", .data(.interfaceIndex))
        case .outputInterface: Operand("oif", .data(.interfaceIndex))
        case .inputInterfaceName: Operand("iifname", .data(.interfaceName))
        case .outputInterfaceName: Operand("oifname", .data(.interfaceName))
        case .networkProtocol: Operand("meta nfproto", .family)
        case .transportProtocol: Operand("meta l4proto", .data(.transportProtocol))
        }
    }
}

extension Expression.ConnectionKey {
    fileprivate var operand: Operand {
        switch self {
        case .state: Operand("ct state", .states)
        case .direction: Operand("ct direction", .direction)
        case .status: Operand("ct status", .data(.mark))
        case .mark: Operand("ct mark", .data(.mark))
        }
    }
}

extension Expression.Comparison {
    /// The sign with a space behind it; equality needs none.
    fileprivate var text: String {
        switch self {
        case .equal: ""
        case .notEqual: "!= "
        case .less: "< "
        case .lessOrEqual: "<= "
        case .greater: "> "
        case .greaterOrEqual: ">= "
        }
    }
}

extension Limit {
    fileprivate var text: String {
        let units: [UInt64: String] = [
            1: "second", 60: "minute", 3600: "hour", 86_400: "day", 604_800: "week",
        ]
        return
            "limit rate \(isInverted ? "over " : "")\(packets)/\(units[seconds] ?? "\(seconds)s")"
            + " burst \(burst) packets"
    }
}

extension Log {
    fileprivate var text: String {
        let levels = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"]
        var text = "log"
        if let prefix { text += " prefix \"\(prefix)\"" }
        if let level { text += " level \(levels[min(7, Int(level))])" }
        if let group { text += " group \(group)" }
        return text
    }
}

extension Reject.ICMPCode {
    fileprivate var text: String {
        switch self {
        case .noRoute: "no-route"
        case .portUnreachable: "port-unreachable"
        case .hostUnreachable: "host-unreachable"
        case .adminProhibited: "admin-prohibited"
        }
    }
}

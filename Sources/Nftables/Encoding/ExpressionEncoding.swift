internal import Netlink

extension Expression {
    /// Makes libnftnl's object of an expression.
    func encoded() throws(NetlinkError) -> ExpressionHandle {
        let made = try ExpressionHandle(named: kernelName)
        switch self {
        case .payload(let base, let offset, let length, let register):
            made.set(Nftnl.Payload.destination, register)
            made.set(Nftnl.Payload.base, base.rawValue)
            made.set(Nftnl.Payload.offset, offset)
            made.set(Nftnl.Payload.length, length)
        case .meta(let key, let register):
            made.set(Nftnl.Meta.destination, register)
            made.set(Nftnl.Meta.key, key.rawValue)
        case .connection(let key, let register):
            made.set(Nftnl.Connection.destination, register)
            made.set(Nftnl.Connection.key, key.rawValue)
        case .routeExists(let key, let register):
            made.set(Nftnl.Route.destination, register)
            made.set(Nftnl.Route.result, Kernel.routeInterface)
            made.set(Nftnl.Route.flags, key.rawValue | Kernel.routePresence)
        case .addressType(let key, let register):
            made.set(Nftnl.Route.destination, register)
            made.set(Nftnl.Route.result, Kernel.routeAddressType)
            made.set(Nftnl.Route.flags, key.rawValue)
        case .load(let bytes, let register):
            made.set(Nftnl.Immediate.destination, register)
            try made.set(Nftnl.Immediate.data, bytes)
        case .compare(let register, let comparison, let value):
            made.set(Nftnl.Compare.source, register)
            made.set(Nftnl.Compare.comparison, comparison.rawValue)
            try made.set(Nftnl.Compare.value, value)
        case .range(let register, let isInverted, let from, let through):
            // enum nft_range_ops has the same two numbers: equal 0, not equal 1.
            let comparison: Comparison = isInverted ? .notEqual : .equal
            made.set(Nftnl.Range.source, register)
            made.set(Nftnl.Range.comparison, comparison.rawValue)
            try made.set(Nftnl.Range.from, from)
            try made.set(Nftnl.Range.through, through)
        case .bitwise(let source, let destination, let mask, let xor):
            made.set(Nftnl.Bitwise.source, source)
            made.set(Nftnl.Bitwise.destination, destination)
            made.set(Nftnl.Bitwise.length, UInt32(mask.count))
            try made.set(Nftnl.Bitwise.mask, mask)
            try made.set(Nftnl.Bitwise.xor, xor)
        case .lookup(let register, let set, let isInverted):
            made.set(Nftnl.Lookup.source, register)
            try made.set(Nftnl.Lookup.set, set)
            if isInverted { made.set(Nftnl.Lookup.flags, Kernel.lookupInverted) }
        case .update(let register, let set, let timeout):
            made.set(Nftnl.Update.source, register)
            made.set(Nftnl.Update.operation, Kernel.updateElement)
            made.set(Nftnl.Update.timeout, timeout.kernelMilliseconds)
            try made.set(Nftnl.Update.set, set)
        case .verdictMap(let register, let map):
            made.set(Nftnl.Lookup.source, register)
            try made.set(Nftnl.Lookup.set, map)
            made.set(Nftnl.Lookup.destination, Kernel.verdictRegister)
        case .counter(let counter):
            made.set(Nftnl.Counter.packets, counter.packets)
            made.set(Nftnl.Counter.bytes, counter.bytes)
        case .limit(let limit):
            made.set(Nftnl.Limit.rate, limit.packets)
            made.set(Nftnl.Limit.unit, limit.seconds)
            made.set(Nftnl.Limit.burst, limit.burst)
            made.set(Nftnl.Limit.type, Kernel.limitPackets)
            made.set(Nftnl.Limit.flags, limit.isInverted ? Kernel.limitInverted : 0)
        case .log(let log):
            if let prefix = log.prefix { try made.set(Nftnl.Log.prefix, prefix) }
            if let level = log.level { made.set(Nftnl.Log.level, level) }
            if let group = log.group { made.set(Nftnl.Log.group, group) }
        case .verdict(let verdict):
            made.set(Nftnl.Immediate.destination, Kernel.verdictRegister)
            made.set(Nftnl.Immediate.verdict, UInt32(bitPattern: verdict.code))
            if let chain = verdict.chain { try made.set(Nftnl.Immediate.chain, chain) }
        case .reject(.tcpReset):
            made.set(Nftnl.Reject.type, Kernel.rejectReset)
            made.set(Nftnl.Reject.code, UInt8(0))
        case .reject(.icmpx(let code)):
            made.set(Nftnl.Reject.type, Kernel.rejectICMPX)
            made.set(Nftnl.Reject.code, code.rawValue)
        case .notrack, .option, .translate, .offload, .xtables, .other:
            break
        }
        return made
    }

    /// What the kernel calls the expression (`NFTA_EXPR_NAME`).
    var kernelName: String {
        switch self {
        case .payload: "payload"
        case .meta: "meta"
        case .connection: "ct"
        case .routeExists, .addressType: "fib"
        case .compare: "cmp"
        case .range: "range"
        case .bitwise: "bitwise"
        case .lookup, .verdictMap: "lookup"
        case .update: "dynset"
        case .counter: "counter"
        case .limit: "limit"
        case .log: "log"
        case .verdict, .load: "immediate"
        case .reject: "reject"
        case .translate(let translation):
            switch translation.kind {
            case .source, .destination: "nat"
            case .redirect: "redir"
            case .masquerade: "masq"
            }
        case .notrack: "notrack"
        case .option: "exthdr"
        case .offload: "flow_offload"
        case .xtables(let part): part.isTarget ? "target" : "match"
        case .other(let name): name
        }
    }

    /// Why the expression cannot be sent; nil if it can.
    var defect: String? {
        switch self {
        case .compare(_, _, let value) where !(1...64).contains(value.count):
            "a comparison takes 1 to 64 bytes, not \(value.count)"
        case .range(_, _, let from, let through)
        where !(1...64).contains(from.count) || from.count != through.count:
            "a range takes two values of the same length, 1 to 64 bytes"
        case .bitwise(_, _, let mask, let xor)
        where !(1...64).contains(mask.count) || mask.count != xor.count:
            "bitwise takes a mask and an operand of the same length, 1 to 64 bytes"
        case .lookup(_, let set, _), .update(_, let set, _): nameDefect(set, of: "set")
        case .verdictMap(_, let map): nameDefect(map, of: "map")
        case .verdict(let verdict): verdict.chain.flatMap { nameDefect($0, of: "chain") }
        case .log(let log):
            if (log.prefix?.utf8.count ?? 0) > Kernel.longestLogPrefix {
                "a log prefix has at most \(Kernel.longestLogPrefix) bytes"
            } else {
                nil
            }
        case .load(let bytes, _) where !(1...64).contains(bytes.count):
            "a constant has 1 to 64 bytes, not \(bytes.count)"
        case .option, .translate, .offload, .xtables:
            "the expression \(kernelName) is only listed by this library"
        case .other(let name): "the expression \(name) is not known to this library"
        default: nil
        }
    }
}

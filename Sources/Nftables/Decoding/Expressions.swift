package import Netlink

extension Expression {
    /// Reads `nft_expr_attributes`; ``other(name:)`` for what this library does not know.
    package init(in datagram: RawSpan, at range: Range<Int>) throws(NetlinkError) {
        var name = ""
        var data = range.upperBound..<range.upperBound
        var cursor = AttributeCursor(range)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.ExpressionAttribute.name:
                name = try datagram.string(in: attribute.payload)
            case Kernel.ExpressionAttribute.data: data = attribute.payload
            default: break
            }
        }
        let fields = try ExpressionFields(in: datagram, at: data)
        self = try fields.expression(named: name, in: datagram) ?? .other(name: name)
    }
}

/// The attributes of one expression's data, by type.
private struct ExpressionFields {
    private var attributes: [Int: Attribute] = [:]

    init(in datagram: RawSpan, at range: Range<Int>) throws(NetlinkError) {
        var cursor = AttributeCursor(range)
        while let attribute = try cursor.next(in: datagram) {
            attributes[attribute.type] = attribute
        }
    }

    func expression(named name: String, in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        switch name {
        case "payload": try payload(in: datagram)
        case "meta": try meta(in: datagram)
        case "ct": try connection(in: datagram)
        case "fib": try route(in: datagram)
        case "cmp": try compare(in: datagram)
        case "range": try range(in: datagram)
        case "bitwise": try bitwise(in: datagram)
        case "lookup": try lookup(in: datagram)
        case "dynset": try update(in: datagram)
        case "immediate": try immediate(in: datagram)
        case "counter": try counter(in: datagram)
        case "limit": try limit(in: datagram)
        case "log": try log(in: datagram)
        case "reject": try reject(in: datagram)
        case "nat", "redir", "masq": try translation(named: name, in: datagram)
        case "notrack": .notrack
        case "exthdr": try option(in: datagram)
        case "flow_offload":
            try string(Kernel.OffloadAttribute.flowtable, in: datagram)
                .map { .offload(flowtable: $0) }
        case "match", "target": try xtables(isTarget: name == "target", in: datagram)
        default: nil
        }
    }

    private func payload(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let register = try register(Kernel.PayloadAttribute.destination, in: datagram),
            let base = try number(Kernel.PayloadAttribute.base, in: datagram)
                .flatMap(Expression.PayloadBase.init),
            let offset = try number(Kernel.PayloadAttribute.offset, in: datagram),
            let length = try number(Kernel.PayloadAttribute.length, in: datagram)
        else { return nil }
        return .payload(base, offset: offset, length: length, into: register)
    }

    private func meta(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let register = try register(Kernel.MetaAttribute.destination, in: datagram),
            let key = try number(Kernel.MetaAttribute.key, in: datagram)
                .flatMap(Expression.MetaKey.init)
        else { return nil }
        return .meta(key, into: register)
    }

    private func connection(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        // A key of one direction only ("ct original saddr") is another expression.
        guard attributes[Kernel.ConnectionAttribute.direction] == nil,
            let register = try register(Kernel.ConnectionAttribute.destination, in: datagram),
            let key = try number(Kernel.ConnectionAttribute.key, in: datagram)
                .flatMap(Expression.ConnectionKey.init)
        else { return nil }
        return .connection(key, into: register)
    }

    private func route(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let register = try register(Kernel.RouteAttribute.destination, in: datagram),
            let flags = try number(Kernel.RouteAttribute.flags, in: datagram)
        else { return nil }
        switch try number(Kernel.RouteAttribute.result, in: datagram) {
        case Kernel.routeAddressType:
            return .addressType(.init(rawValue: flags), into: register)
        case Kernel.routeInterface:
            // Asked without presence, it is missing where the interface is 0.
            return .routeExists(.init(rawValue: flags & ~Kernel.routePresence), into: register)
        default:
            return nil
        }
    }

    private func translation(
        named name: String,
        in datagram: RawSpan
    ) throws(NetlinkError) -> Expression? {
        let kind: Expression.Translation.Kind
        var translation: Expression.Translation
        switch name {
        case "masq": return .translate(.init(kind: .masquerade))
        case "redir":
            translation = .init(kind: .redirect)
            translation.port = try register(Kernel.TranslationAttribute.redirectPort, in: datagram)
            translation.lastPort = try register(
                Kernel.TranslationAttribute.lastRedirectPort,
                in: datagram
            )
            return .translate(translation)
        default:
            switch try number(Kernel.TranslationAttribute.kind, in: datagram) {
            case Kernel.sourceTranslation: kind = .source
            case Kernel.destinationTranslation: kind = .destination
            default: return nil
            }
        }
        translation = .init(kind: kind)
        translation.address = try register(Kernel.TranslationAttribute.address, in: datagram)
        translation.lastAddress = try register(
            Kernel.TranslationAttribute.lastAddress,
            in: datagram
        )
        translation.port = try register(Kernel.TranslationAttribute.port, in: datagram)
        translation.lastPort = try register(Kernel.TranslationAttribute.lastPort, in: datagram)
        return .translate(translation)
    }

    private func option(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        // Without a destination it is written or taken away.
        guard let register = try register(Kernel.OptionAttribute.destination, in: datagram),
            let kind = Expression.OptionKind(
                rawValue: try number(Kernel.OptionAttribute.operation, in: datagram) ?? 0
            )
        else { return nil }
        let flags = try number(Kernel.OptionAttribute.flags, in: datagram) ?? 0
        return .option(kind, tellsPresence: flags & Kernel.optionPresence != 0, into: register)
    }

    private func xtables(
        isTarget: Bool,
        in datagram: RawSpan
    ) throws(NetlinkError) -> Expression? {
        guard let name = try string(Kernel.ExtensionAttribute.name, in: datagram),
            let revision = try number(Kernel.ExtensionAttribute.revision, in: datagram),
            let info = attributes[Kernel.ExtensionAttribute.info]
        else { return nil }
        return .xtables(
            .init(
                isTarget: isTarget,
                name: name,
                revision: revision,
                info: try datagram.bytes(in: info.payload)
            )
        )
    }

    private func compare(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let register = try register(Kernel.CompareAttribute.source, in: datagram),
            let comparison = try number(Kernel.CompareAttribute.comparison, in: datagram)
                .flatMap(Expression.Comparison.init),
            let value = try value(Kernel.CompareAttribute.value, in: datagram)
        else { return nil }
        return .compare(register, comparison, value: value)
    }

    private func range(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let register = try register(Kernel.RangeAttribute.source, in: datagram),
            let comparison = try number(Kernel.RangeAttribute.comparison, in: datagram),
            let from = try value(Kernel.RangeAttribute.from, in: datagram),
            let through = try value(Kernel.RangeAttribute.through, in: datagram)
        else { return nil }
        return .range(register, isInverted: comparison != 0, from: from, through: through)
    }

    private func bitwise(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        // Operations other than 0 are shifts and the like.
        guard try number(Kernel.BitwiseAttribute.operation, in: datagram) ?? 0 == 0,
            let source = try register(Kernel.BitwiseAttribute.source, in: datagram),
            let destination = try register(Kernel.BitwiseAttribute.destination, in: datagram),
            let mask = try value(Kernel.BitwiseAttribute.mask, in: datagram),
            let xor = try value(Kernel.BitwiseAttribute.xor, in: datagram)
        else { return nil }
        return .bitwise(source, into: destination, mask: mask, xor: xor)
    }

    private func lookup(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let register = try register(Kernel.LookupAttribute.source, in: datagram),
            let set = try string(Kernel.LookupAttribute.set, in: datagram)
        else { return nil }
        guard let destination = try number(Kernel.LookupAttribute.destination, in: datagram) else {
            let flags = try number(Kernel.LookupAttribute.flags, in: datagram) ?? 0
            let isInverted = flags & Kernel.lookupInverted != 0
            return .lookup(register, set: set, isInverted: isInverted)
        }
        guard destination == Kernel.verdictRegister else { return nil }
        return .verdictMap(register, map: set)
    }

    private func update(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        // What maps to data or counts in its elements is another expression.
        guard attributes[Kernel.UpdateAttribute.data] == nil,
            try number(Kernel.UpdateAttribute.flags, in: datagram) ?? 0 == 0,
            try number(Kernel.UpdateAttribute.operation, in: datagram) == Kernel.updateElement,
            let register = try register(Kernel.UpdateAttribute.source, in: datagram),
            let timeout = try bigNumber(Kernel.UpdateAttribute.timeout, in: datagram),
            let set = try string(Kernel.UpdateAttribute.set, in: datagram)
        else { return nil }
        return .update(register, set: set, timeout: .milliseconds(timeout))
    }

    private func immediate(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let data = attributes[Kernel.ImmediateAttribute.data] else { return nil }
        if let register = try register(Kernel.ImmediateAttribute.destination, in: datagram) {
            return try value(Kernel.ImmediateAttribute.data, in: datagram)
                .map { .load($0, into: register) }
        }
        return try verdict(in: datagram, at: data.payload).map { .verdict($0) }
    }

    private func counter(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        .counter(
            Counter(
                packets: try bigNumber(Kernel.CounterAttribute.packets, in: datagram) ?? 0,
                bytes: try bigNumber(Kernel.CounterAttribute.bytes, in: datagram) ?? 0
            )
        )
    }

    private func limit(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        guard let rate = try bigNumber(Kernel.LimitAttribute.rate, in: datagram),
            let unit = try bigNumber(Kernel.LimitAttribute.unit, in: datagram),
            try number(Kernel.LimitAttribute.type, in: datagram) ?? 0 == Kernel.limitPackets
        else { return nil }
        let flags = try number(Kernel.LimitAttribute.flags, in: datagram) ?? 0
        return .limit(
            Limit(
                packets: rate,
                perSeconds: unit,
                burst: try number(Kernel.LimitAttribute.burst, in: datagram) ?? 0,
                isInverted: flags & Kernel.limitInverted != 0
            )
        )
    }

    private func log(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        var group: UInt16?
        if let attribute = attributes[Kernel.LogAttribute.group] {
            group = UInt16(bigEndian: try datagram.uint16(at: attribute.payload.lowerBound))
        }
        return .log(
            Log(
                prefix: try string(Kernel.LogAttribute.prefix, in: datagram),
                level: try number(Kernel.LogAttribute.level, in: datagram),
                group: group
            )
        )
    }

    private func reject(in datagram: RawSpan) throws(NetlinkError) -> Expression? {
        switch try number(Kernel.RejectAttribute.type, in: datagram) {
        case Kernel.rejectReset: return .reject(.tcpReset)
        case Kernel.rejectICMPX:
            guard let attribute = attributes[Kernel.RejectAttribute.code] else { return nil }
            let code = try datagram.uint8(at: attribute.payload.lowerBound)
            return Reject.ICMPCode(rawValue: code).map { .reject(.icmpx($0)) }
        default: return nil
        }
    }

    private func number(_ type: Int, in datagram: RawSpan) throws(NetlinkError) -> UInt32? {
        guard let attribute = attributes[type] else { return nil }
        return try datagram.bigEndian32(attribute)
    }

    private func bigNumber(_ type: Int, in datagram: RawSpan) throws(NetlinkError) -> UInt64? {
        guard let attribute = attributes[type] else { return nil }
        return try datagram.bigEndian64(attribute)
    }

    private func string(_ type: Int, in datagram: RawSpan) throws(NetlinkError) -> String? {
        guard let attribute = attributes[type] else { return nil }
        return try datagram.string(in: attribute.payload)
    }

    private func register(_ type: Int, in datagram: RawSpan) throws(NetlinkError) -> Register? {
        try number(type, in: datagram).flatMap(Kernel.register)
    }

    /// The bytes within `nft_data_attributes`.
    private func value(_ type: Int, in datagram: RawSpan) throws(NetlinkError) -> [UInt8]? {
        guard let attribute = attributes[type] else { return nil }
        var cursor = AttributeCursor(attribute.payload)
        while let data = try cursor.next(in: datagram) {
            guard data.type == Kernel.DataAttribute.value else { continue }
            return try datagram.bytes(in: data.payload)
        }
        return nil
    }
}

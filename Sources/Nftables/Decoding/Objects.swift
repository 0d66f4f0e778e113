package import Netlink

// Each initialiser reads the attributes of one message, a range of a datagram behind the headers;
// nil when the message is about something this library does not know.

extension Table {
    package init?(
        in datagram: RawSpan,
        at attributes: Range<Int>,
        family: UInt8
    ) throws(NetlinkError) {
        guard let family = Family(rawValue: family) else { return nil }
        self.init(family: family, name: "")
        var cursor = AttributeCursor(attributes)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.TableAttribute.name: name = try datagram.string(in: attribute.payload)
            case Kernel.TableAttribute.flags:
                flags = Flags(rawValue: try datagram.bigEndian32(attribute))
            case Kernel.TableAttribute.owner: owner = try datagram.bigEndian32(attribute)
            default: break
            }
        }
    }
}

extension Chain {
    package init?(
        in datagram: RawSpan,
        at attributes: Range<Int>,
        of table: Table
    ) throws(NetlinkError) {
        self.init("", in: table)
        var tableName = ""
        var hook: (number: UInt32, priority: Int32)?
        var (policy, kind) = (Policy.accept, "")
        var cursor = AttributeCursor(attributes)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.ChainAttribute.table:
                tableName = try datagram.string(in: attribute.payload)
            case Kernel.ChainAttribute.name: name = try datagram.string(in: attribute.payload)
            case Kernel.ChainAttribute.hook:
                hook = try Self.hook(in: datagram, at: attribute.payload)
            case Kernel.ChainAttribute.policy:
                policy = try datagram.bigEndian32(attribute) == 0 ? .drop : .accept
            case Kernel.ChainAttribute.type: kind = try datagram.string(in: attribute.payload)
            default: break
            }
        }
        guard tableName == table.name else { return nil }
        guard let hook else { return }
        guard let kind = Kind(rawValue: kind), let number = Hook(rawValue: hook.number) else {
            return nil
        }
        base = Base(kind: kind, hook: number, priority: hook.priority, policy: policy)
    }

    private static func hook(
        in datagram: RawSpan,
        at range: Range<Int>
    ) throws(NetlinkError) -> (UInt32, Int32) {
        var (number, priority): (UInt32, Int32) = (0, 0)
        var cursor = AttributeCursor(range)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.ChainAttribute.hookNumber: number = try datagram.bigEndian32(attribute)
            case Kernel.ChainAttribute.hookPriority:
                priority = Int32(bitPattern: try datagram.bigEndian32(attribute))
            default: break
            }
        }
        return (number, priority)
    }
}

extension Rule {
    package init?(
        in datagram: RawSpan,
        at attributes: Range<Int>,
        of table: Table
    ) throws(NetlinkError) {
        self.init(in: Chain("", in: table), expressions: [])
        var tableName = ""
        var cursor = AttributeCursor(attributes)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.RuleAttribute.table:
                tableName = try datagram.string(in: attribute.payload)
            case Kernel.RuleAttribute.chain:
                chain.name = try datagram.string(in: attribute.payload)
            case Kernel.RuleAttribute.handle: handle = try datagram.bigEndian64(attribute)
            case Kernel.RuleAttribute.expressions:
                var list = AttributeCursor(attribute.payload)
                while let element = try list.next(in: datagram) {
                    expressions.append(try Expression(in: datagram, at: element.payload))
                }
            case Kernel.RuleAttribute.userData:
                comment = try Nftables.comment(
                    in: datagram,
                    at: attribute.payload,
                    as: Nftnl.UserData.ruleComment
                )
            default: break
            }
        }
        guard tableName == table.name else { return nil }
    }
}

extension NamedSet {
    package init?(
        in datagram: RawSpan,
        at attributes: Range<Int>,
        of table: Table
    ) throws(NetlinkError) {
        self.init("", in: table, key: [])
        var (tableName, keyType, dataType): (String, UInt32, UInt32) = ("", 0, 0)
        var cursor = AttributeCursor(attributes)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.SetAttribute.table:
                tableName = try datagram.string(in: attribute.payload)
            case Kernel.SetAttribute.name: name = try datagram.string(in: attribute.payload)
            case Kernel.SetAttribute.flags:
                flags = Flags(rawValue: try datagram.bigEndian32(attribute))
            case Kernel.SetAttribute.keyType: keyType = try datagram.bigEndian32(attribute)
            case Kernel.SetAttribute.dataType: dataType = try datagram.bigEndian32(attribute)
            case Kernel.SetAttribute.description:
                var description = AttributeCursor(attribute.payload)
                while let field = try description.next(in: datagram) {
                    guard field.type == Kernel.SetAttribute.size else { continue }
                    size = try datagram.bigEndian32(field)
                }
            case Kernel.SetAttribute.userData:
                comment = try Nftables.comment(
                    in: datagram,
                    at: attribute.payload,
                    as: Nftnl.UserData.setComment
                )
            case Kernel.SetAttribute.expression:
                if case .counter = try Expression(in: datagram, at: attribute.payload) {
                    countsPackets = true
                }
            default: break
            }
        }
        guard tableName == table.name else { return nil }
        mapsToVerdict = flags.rawValue & Kernel.SetFlag.map != 0 && dataType == Kernel.verdictType
        while keyType != 0 {
            let number = keyType & 0x3f
            guard let type = DataType.all.first(where: { $0.number == number }) else { return nil }
            key.insert(type, at: 0)
            keyType >>= 6
        }
        // The rest of the kernel's bits are told by other properties.
        flags.formIntersection([.constant, .interval, .timeout, .dynamic])
    }
}

/// The comment within user data: fields of type, length and bytes.
func comment(
    in datagram: RawSpan,
    at range: Range<Int>,
    as type: UInt8
) throws(NetlinkError) -> String? {
    var offset = range.lowerBound
    while offset + 2 <= range.upperBound {
        let start = offset + 2
        let end = start + Int(try datagram.uint8(at: offset + 1))
        // Other programs may keep anything there, so nonsense is no error.
        guard end <= range.upperBound else { return nil }
        if try datagram.uint8(at: offset) == type {
            return try datagram.string(in: start..<end)
        }
        offset = end
    }
    return nil
}

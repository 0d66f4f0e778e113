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
        var hook: (number: UInt32, priority: Int32, devices: [String])?
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
        guard let kind = Kind(rawValue: kind),
            let number = Hook(number: hook.number, in: table.family)
        else { return nil }
        base = Base(kind: kind, hook: number, priority: hook.priority, policy: policy)
        base?.devices = hook.devices
    }

    private static func hook(
        in datagram: RawSpan,
        at range: Range<Int>
    ) throws(NetlinkError) -> (UInt32, Int32, [String]) {
        var (number, priority): (UInt32, Int32) = (0, 0)
        var devices: [String] = []
        var cursor = AttributeCursor(range)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.ChainAttribute.hookNumber: number = try datagram.bigEndian32(attribute)
            case Kernel.ChainAttribute.hookPriority:
                priority = Int32(bitPattern: try datagram.bigEndian32(attribute))
            case Kernel.ChainAttribute.hookDevice:
                devices = [try datagram.string(in: attribute.payload)]
            case Kernel.ChainAttribute.hookDevices:
                devices = try deviceNames(in: datagram, at: attribute.payload)
            default: break
            }
        }
        return (number, priority, devices)
    }
}

/// The names within `nft_devices_attributes`.
private func deviceNames(
    in datagram: RawSpan,
    at range: Range<Int>
) throws(NetlinkError) -> [String] {
    var names: [String] = []
    var cursor = AttributeCursor(range)
    while let device = try cursor.next(in: datagram) {
        names.append(try datagram.string(in: device.payload))
    }
    return names
}

extension Flowtable {
    package init?(
        in datagram: RawSpan,
        at attributes: Range<Int>,
        of table: Table
    ) throws(NetlinkError) {
        self.init(table: table, name: "", priority: 0, devices: [])
        var cursor = AttributeCursor(attributes)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.FlowtableAttribute.name:
                name = try datagram.string(in: attribute.payload)
            case Kernel.FlowtableAttribute.hook:
                var hook = AttributeCursor(attribute.payload)
                while let field = try hook.next(in: datagram) {
                    switch field.type {
                    case Kernel.FlowtableAttribute.hookPriority:
                        priority = Int32(bitPattern: try datagram.bigEndian32(field))
                    case Kernel.FlowtableAttribute.hookDevices:
                        devices = try deviceNames(in: datagram, at: field.payload)
                    default: break
                    }
                }
            default: break
            }
        }
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
        var (keyLength, fieldLengths): (Int, [Int]) = (0, [])
        var cursor = AttributeCursor(attributes)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.SetAttribute.table:
                tableName = try datagram.string(in: attribute.payload)
            case Kernel.SetAttribute.name: name = try datagram.string(in: attribute.payload)
            case Kernel.SetAttribute.flags:
                flags = Flags(rawValue: try datagram.bigEndian32(attribute))
            case Kernel.SetAttribute.keyType: keyType = try datagram.bigEndian32(attribute)
            case Kernel.SetAttribute.keyLength:
                keyLength = Int(try datagram.bigEndian32(attribute))
            case Kernel.SetAttribute.dataType: dataType = try datagram.bigEndian32(attribute)
            case Kernel.SetAttribute.description:
                var description = AttributeCursor(attribute.payload)
                while let field = try description.next(in: datagram) {
                    switch field.type {
                    case Kernel.SetAttribute.size: size = try datagram.bigEndian32(field)
                    case Kernel.SetAttribute.fields:
                        fieldLengths = try Self.lengths(in: datagram, at: field.payload)
                    default: break
                    }
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
        var numbers: [UInt32] = []
        while keyType != 0 {
            numbers.insert(keyType & 0x3f, at: 0)
            keyType >>= 6
        }
        // Who makes a set need not tell the kernel how its keys are to be printed.
        if numbers.isEmpty { numbers = [0] }
        if numbers.count == 1 { fieldLengths = [keyLength] }
        for (index, number) in numbers.enumerated() {
            if let type = DataType.all.first(where: { $0.number == number }) {
                key.append(type)
            } else if numbers.count == fieldLengths.count {
                key.append(DataType(number: number, length: fieldLengths[index]))
            } else {
                return nil
            }
        }
        // The rest of the kernel's bits are told by other properties.
        flags.formIntersection([.constant, .interval, .timeout, .dynamic])
    }

    /// The lengths of the fields of a concatenation, `NFTA_SET_DESC_CONCAT`.
    private static func lengths(
        in datagram: RawSpan,
        at range: Range<Int>
    ) throws(NetlinkError) -> [Int] {
        var lengths: [Int] = []
        var fields = AttributeCursor(range)
        while let field = try fields.next(in: datagram) {
            var cursor = AttributeCursor(field.payload)
            while let attribute = try cursor.next(in: datagram) {
                guard attribute.type == Kernel.SetAttribute.fieldLength else { continue }
                lengths.append(Int(try datagram.bigEndian32(attribute)))
            }
        }
        return lengths
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

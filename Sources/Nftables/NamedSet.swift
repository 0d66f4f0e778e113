/// The type of one field of a key; tells the kernel its length, and `nft list` how to print it.
public struct DataType: Hashable, Sendable {
    /// nft's number of the type (`enum datatypes`, nftables include/datatype.h).
    public let number: UInt32
    /// Bytes of a value, before padding to a multiple of 4 in concatenations.
    public let length: Int

    /// 4 bytes: `ipv4_addr`.
    public static let ipv4Address = DataType(number: 7, length: 4)
    /// 16 bytes: `ipv6_addr`.
    public static let ipv6Address = DataType(number: 8, length: 16)
    /// 1 byte, 6 for TCP, 17 for UDP: `inet_proto`.
    public static let transportProtocol = DataType(number: 12, length: 1)
    /// 2 bytes in network order, a TCP or UDP port: `inet_service`.
    public static let port = DataType(number: 13, length: 2)
    /// 4 bytes in the host's order: packet or connection mark.
    public static let mark = DataType(number: 19, length: 4)
    /// 4 bytes in the host's order: interface index.
    public static let interfaceIndex = DataType(number: 20, length: 4)
    /// 16 bytes, filled up with zeros.
    public static let interfaceName = DataType(number: 41, length: 16)

    /// All types that listed sets are read with.
    static let all: [DataType] = [
        .ipv4Address, .ipv6Address, .transportProtocol, .port, .mark, .interfaceIndex,
        .interfaceName,
    ]
}

/// A set, or a map from keys to verdicts.
public struct NamedSet: Hashable, Sendable {
    /// What a set can hold (`NFT_SET_*`, linux/netfilter/nf_tables.h).
    public struct Flags: OptionSet, Hashable, Sendable {
        /// The kernel's bits.
        public let rawValue: UInt32

        /// Takes the kernel's bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// Its elements never change once a rule uses it.
        public static let constant = Flags(rawValue: 0x2)
        /// Elements may be ranges; they must not overlap.
        public static let interval = Flags(rawValue: 0x4)
        /// Elements may end by themselves.
        public static let timeout = Flags(rawValue: 0x10)
        /// Rules may add elements.
        public static let dynamic = Flags(rawValue: 0x20)
    }

    /// The table it is in.
    public var table: Table
    /// 1 to 255 bytes, unique in the table.
    public var name: String
    /// The fields of a key, at most 64 bytes together.
    public var key: [DataType]
    /// What it can hold.
    public var flags: Flags
    /// Whether each element has a verdict: a verdict map.
    public var mapsToVerdict: Bool
    /// Whether each element counts its packets and bytes.
    public var countsPackets: Bool
    /// How many elements it may have at most; nil for any number.
    public var size: UInt32?
    /// Up to 128 bytes for people.
    public var comment: String?

    /// Describes a set or, with `mapsToVerdict`, a verdict map.
    public init(
        _ name: String,
        in table: Table,
        key: [DataType],
        flags: Flags = [],
        mapsToVerdict: Bool = false,
        countsPackets: Bool = false,
        size: UInt32? = nil,
        comment: String? = nil
    ) {
        self.table = table
        self.name = name
        self.key = key
        self.flags = flags
        self.mapsToVerdict = mapsToVerdict
        self.countsPackets = countsPackets
        self.size = size
        self.comment = comment
    }

    /// Bytes of a key: fields of a concatenation are padded to multiples of 4, a lone one is not.
    public var keyLength: Int {
        key.count == 1 ? key[0].length : key.reduce(0) { $0 + ($1.length + 3) & ~3 }
    }

    /// Whether ranges are pairs of elements, start and end, rather than one element with two keys.
    var pairsElements: Bool { flags.contains(.interval) && key.count == 1 }
}

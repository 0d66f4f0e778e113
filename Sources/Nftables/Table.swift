/// The packets a table sees (`NFPROTO_*`, linux/netfilter.h).
public enum Family: UInt8, Hashable, Sendable, CaseIterable {
    case inet = 1
    case ip = 2
    case arp = 3
    case netdev = 5
    case bridge = 7
    case ip6 = 10
}

/// A table: the name space of chains and sets.
public struct Table: Hashable, Sendable {
    /// How a table lives (`NFT_TABLE_F_*`, linux/netfilter/nf_tables.h).
    public struct Flags: OptionSet, Hashable, Sendable {
        /// The kernel's bits.
        public let rawValue: UInt32

        /// Takes the kernel's bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// Its chains see no packet.
        public static let dormant = Flags(rawValue: 0x1)
        /// Only the socket that made or adopted it may change it; it goes when that socket closes.
        public static let owner = Flags(rawValue: 0x2)
        /// With ``owner``: it stays, without an owner, when the socket closes.
        ///
        /// Linux 6.9 and later; older kernels refuse it with `EOPNOTSUPP`. nft 1.0.6 prints it as
        /// an empty `flags` line.
        public static let persist = Flags(rawValue: 0x4)
    }

    /// The packets its chains see.
    public var family: Family
    /// 1 to 255 bytes, unique in the family.
    public var name: String
    /// How it lives.
    public var flags: Flags
    /// The port id of the socket that owns it, when listed; never sent.
    public var owner: UInt32?

    /// Describes a table.
    public init(family: Family, name: String, flags: Flags = []) {
        self.family = family
        self.name = name
        self.flags = flags
    }
}

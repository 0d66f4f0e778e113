/// A place for data between expressions: sixteen slots of 4 bytes.
///
/// A value takes as many slots in a row as it needs; concatenations are values in adjacent slots.
public struct Register: Hashable, Sendable {
    /// 0 to 15.
    public let slot: UInt8

    /// Names a slot.
    public init(slot: UInt8) { self.slot = slot }

    /// The first slot.
    public static let first = Register(slot: 0)

    /// The slot behind a value of so many bytes that starts here.
    public func advanced(pastBytes count: Int) -> Register {
        Register(slot: slot + UInt8((count + 3) / 4))
    }
}

/// One step of a rule.
public enum Expression: Hashable, Sendable {
    /// Loads bytes of the packet, counted from the start of a header.
    case payload(PayloadBase, offset: UInt32, length: UInt32, into: Register)
    /// Loads a property of the packet.
    case meta(MetaKey, into: Register)
    /// Loads a property of the packet's connection; breaks off when there is none.
    case connection(ConnectionKey, into: Register)
    /// Loads 4 bytes, all 0 if the routing tables have no route for what the key takes from the
    /// packet (`fib`).
    case routeExists(RouteKey, into: Register)
    /// Loads 4 bytes in the host's order: of what type the address is that the key takes from the
    /// packet (`fib daddr type`), `RTN_*` of linux/rtnetlink.h.
    case addressType(RouteKey, into: Register)
    /// Loads bytes of an option or extension header; breaks off where the packet has none, or loads
    /// 1 byte that says whether it has one. It cannot be sent.
    case option(OptionKind, tellsPresence: Bool, into: Register)
    /// Loads a constant.
    case load([UInt8], into: Register)
    /// Goes on only if the register's bytes compare so with `value`.
    case compare(Register, Comparison, value: [UInt8])
    /// Goes on only if the register's bytes are (not) between `from` and `through`.
    case range(Register, isInverted: Bool, from: [UInt8], through: [UInt8])
    /// Masks the register's bytes: `(value & mask) ^ xor`, each as long as the value.
    case bitwise(Register, into: Register, mask: [UInt8], xor: [UInt8])
    /// Goes on only if the set has (not) the register's bytes.
    case lookup(Register, set: String, isInverted: Bool = false)
    /// Puts the register's bytes into a set for so long, or lets them stay for so long; goes on only
    /// if the set has room.
    case update(Register, set: String, timeout: Duration)
    /// Does what the verdict map says of the register's bytes; goes on if it says nothing.
    case verdictMap(Register, map: String)
    /// Counts packets and bytes.
    case counter(Counter = Counter())
    /// Goes on only as often as the limit allows.
    case limit(Limit)
    /// Writes the packet to the kernel's log or to a netlink group.
    case log(Log)
    /// Decides.
    case verdict(Verdict)
    /// Drops the packet and tells its sender.
    case reject(Reject)
    /// Rewrites source or destination of the packet's connection; it cannot be sent.
    case translate(Translation)
    /// Exempts the packet from connection tracking.
    case notrack
    /// Hands the packet's connection over to a flowtable; it cannot be sent.
    case offload(flowtable: String)
    /// A match or target of xtables, as iptables-nft puts it into rules; it cannot be sent.
    case xtables(Extension)
    /// A listed expression that this library does not know; it cannot be sent.
    case other(name: String)

    /// How a connection's addresses and ports are rewritten (`nft_nat_attributes`).
    public struct Translation: Hashable, Sendable {
        /// What is rewritten.
        public enum Kind: Hashable, Sendable, CaseIterable {
            /// The source, to what the registers hold.
            case source
            /// The destination, to what the registers hold.
            case destination
            /// The destination, to this host.
            case redirect
            /// The source, to this host.
            case masquerade
        }

        /// What is rewritten.
        public var kind: Kind
        /// Where the address lies, or the first of a range; nil: it stays, or is this host's.
        public var address: Register?
        /// Where the last address of a range lies.
        public var lastAddress: Register?
        /// Where the port lies, or the first of a range; nil: it stays.
        public var port: Register?
        /// Where the last port of a range lies.
        public var lastPort: Register?

        /// Describes a rewriting that no register tells more of.
        public init(kind: Kind) { self.kind = kind }
    }

    /// A match or target of xtables (`nft_match_attributes`, `nft_target_attributes`).
    public struct Extension: Hashable, Sendable {
        /// Whether it decides, rather than matches.
        public var isTarget: Bool
        /// Its name for iptables: `conntrack`, `DNAT`.
        public var name: String
        /// The revision of its structure.
        public var revision: UInt32
        /// The structure, as the kernel's header `xt_NAME.h` has it.
        public var info: [UInt8]

        /// Takes the parts.
        public init(isTarget: Bool, name: String, revision: UInt32, info: [UInt8]) {
            self.isTarget = isTarget
            self.name = name
            self.revision = revision
            self.info = info
        }
    }

    /// Where offsets of ``Expression/payload(_:offset:length:into:)`` count from
    /// (`enum nft_payload_bases`).
    public enum PayloadBase: UInt32, Hashable, Sendable, CaseIterable {
        case linkLayer, network, transport
    }

    /// A property of a packet (`enum nft_meta_keys`).
    public enum MetaKey: UInt32, Hashable, Sendable, CaseIterable {
        /// 2 bytes in network order: 0x0800, 0x86dd and so on.
        case etherType = 1
        case mark = 3
        case inputInterface = 4
        case outputInterface = 5
        case inputInterfaceName = 6
        case outputInterfaceName = 7
        /// 1 byte: `NFPROTO_IPV4` (2) or `NFPROTO_IPV6` (10).
        case networkProtocol = 15
        /// 1 byte: TCP (6), UDP (17) and so on, behind IPv6's extension headers too.
        case transportProtocol = 16
        /// 1 byte: `PACKET_HOST` (0) and so on, linux/if_packet.h.
        case packetType = 19
        /// 4 bytes in the host's order: the interface of a routing domain (VRF) that the packet came
        /// in by, 0 elsewhere. In the hooks input and forward only.
        case domainInterface = 33
    }

    /// Where an option stands (`enum nft_exthdr_op`).
    public enum OptionKind: UInt32, Hashable, Sendable, CaseIterable {
        case ipv6, tcp, ipv4, sctp
    }

    /// A property of a connection (`enum nft_ct_keys`).
    public enum ConnectionKey: UInt32, Hashable, Sendable, CaseIterable {
        /// 4 bytes in the host's order: bits of ``ConnectionState``.
        case state = 0
        /// 1 byte: 0 original, 1 reply.
        case direction = 1
        /// 4 bytes in the host's order.
        case status = 2
        /// 4 bytes in the host's order.
        case mark = 3
    }

    /// What a route is looked up by (`NFTA_FIB_F_*`): one address, and what narrows the answer.
    public struct RouteKey: OptionSet, Hashable, Sendable {
        /// The kernel's bits.
        public let rawValue: UInt32

        /// Takes the kernel's bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// A route to where the packet came from.
        public static let source = RouteKey(rawValue: 0x1)
        /// A route to where the packet goes.
        public static let destination = RouteKey(rawValue: 0x2)
        /// As for packets of this one's mark.
        public static let mark = RouteKey(rawValue: 0x4)
        /// Through the interface the packet came in by.
        public static let inputInterface = RouteKey(rawValue: 0x8)
        /// Through the interface the packet goes out by.
        public static let outputInterface = RouteKey(rawValue: 0x10)
    }

    /// What kind of address one is, going by the routes (`RTN_*`, linux/rtnetlink.h).
    public enum RouteType: UInt32, Hashable, Sendable, CaseIterable {
        /// Another host's.
        case unicast = 1
        /// This host's.
        case local = 2
        case broadcast = 3
        case anycast = 4
        case multicast = 5
    }

    /// How bytes are compared, as one big number (`enum nft_cmp_ops`).
    public enum Comparison: UInt32, Hashable, Sendable, CaseIterable {
        case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual
    }
}

/// The states of a connection (`NF_CT_STATE_BIT`, linux/netfilter/nf_conntrack_common.h).
public struct ConnectionState: OptionSet, Hashable, Sendable {
    /// The kernel's bits.
    public let rawValue: UInt32

    /// Takes the kernel's bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Fits no connection.
    public static let invalid = ConnectionState(rawValue: 1)
    /// Packets went both ways.
    public static let established = ConnectionState(rawValue: 2)
    /// Foretold by another connection, such as an FTP transfer or an ICMP error.
    public static let related = ConnectionState(rawValue: 4)
    /// The first packet one way.
    public static let new = ConnectionState(rawValue: 8)
    /// Exempt from tracking.
    public static let untracked = ConnectionState(rawValue: 64)
}

/// How often a rule may go on (`nft_limit_attributes`).
public struct Limit: Hashable, Sendable {
    /// Packets per ``seconds``.
    public var packets: UInt64
    /// The length of the period: 1, 60, 3600, 86400 or 604800, as nft prints.
    public var seconds: UInt64
    /// How many packets beyond the rate may come at once.
    public var burst: UInt32
    /// Whether to go on when the limit *is* exceeded instead.
    public var isInverted: Bool

    /// Describes a limit, with nft's burst of 5.
    public init(
        packets: UInt64,
        perSeconds seconds: UInt64,
        burst: UInt32 = 5,
        isInverted: Bool = false
    ) {
        self.packets = packets
        self.seconds = seconds
        self.burst = burst
        self.isInverted = isInverted
    }
}

/// How a packet is logged (`nft_log_attributes`).
public struct Log: Hashable, Sendable {
    /// Up to 127 bytes in front of each line.
    public var prefix: String?
    /// The kernel log's level, 0 (emergency) to 7 (debug); nil for 4, or with ``group``.
    public var level: UInt32?
    /// The netlink group (nfnetlink_log) to send to, instead of the kernel's log.
    public var group: UInt16?

    /// Describes where to log.
    public init(prefix: String? = nil, level: UInt32? = nil, group: UInt16? = nil) {
        self.prefix = prefix
        self.level = level
        self.group = group
    }
}

/// How a refused packet is answered (`enum nft_reject_types`).
public enum Reject: Hashable, Sendable {
    /// A TCP reset; the rule must have matched TCP before.
    case tcpReset
    /// An ICMP or ICMPv6 answer fitting the packet (`enum nft_reject_inet_code`).
    case icmpx(ICMPCode)

    /// Why, in both families.
    public enum ICMPCode: UInt8, Hashable, Sendable, CaseIterable {
        case noRoute, portUnreachable, hostUnreachable, adminProhibited
    }
}

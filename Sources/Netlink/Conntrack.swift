internal import CLinux
internal import Synchronization

/// A connection as connection tracking knows it.
public struct ConntrackEntry: Hashable, Sendable {
    /// What has become of a connection.
    public struct Status: OptionSet, Hashable, Sendable {
        /// `IPS_*` of linux/netfilter/nf_conntrack_common.h.
        public let rawValue: UInt32

        /// Takes the kernel's number.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// Packets were seen in both directions.
        public static let seenReply = Self(rawValue: IPS_SEEN_REPLY.rawValue)
        /// It is not thrown out early.
        public static let assured = Self(rawValue: IPS_ASSURED.rawValue)
        /// Its source is translated.
        public static let sourceTranslated = Self(rawValue: IPS_SRC_NAT.rawValue)
        /// Its destination is translated.
        public static let destinationTranslated = Self(rawValue: IPS_DST_NAT.rawValue)
    }

    /// Where a TCP connection stands (linux/netfilter/nf_conntrack_tcp.h).
    public enum TCPState: UInt8, Hashable, Sendable, CaseIterable {
        case none, synSent, synReceived, established, finWait, closeWait, lastAck, timeWait, close
        /// Both ends have sent a SYN.
        case synSent2
    }

    /// What went through in one direction.
    public struct Counters: Hashable, Sendable {
        /// Packets.
        public var packets: UInt64
        /// Their bytes, IP headers included.
        public var bytes: UInt64

        /// Takes both.
        public init(packets: UInt64, bytes: UInt64) {
            self.packets = packets
            self.bytes = bytes
        }
    }

    /// The direction of the first packet, as it arrives: before any translation of addresses.
    public var original: Flow
    /// The other direction, as answers arrive.
    public var reply: Flow
    /// The kernel's number for it; another entry of the same addresses has another.
    public var id: UInt32
    /// The conntrack zone.
    public var zone: UInt16
    /// What has become of it.
    public var status: Status
    /// Where it stands; nil for other protocols than TCP.
    public var tcpState: TCPState?
    /// Seconds until it is forgotten, if nothing is sent.
    public var timeout: UInt32
    /// What went through from the side that began it; nil unless the kernel counts
    /// (`net.netfilter.nf_conntrack_acct`).
    public var originalCounters: Counters?
    /// What went through to that side.
    public var replyCounters: Counters?
    /// When it began, in nanoseconds since 1970; nil unless the kernel notes that
    /// (`net.netfilter.nf_conntrack_timestamp`).
    public var startedAt: UInt64?

    /// A connection that nothing else is known of.
    public init(original: Flow, reply: Flow, status: Status = []) {
        self.original = original
        self.reply = reply
        self.status = status
        (id, zone, timeout) = (0, 0, 0)
    }
}

/// The connection tracking of the network namespace of the thread that made it
/// (nfnetlink_conntrack, the kernel's net/netfilter/nf_conntrack_netlink.c).
///
/// Everything needs CAP_NET_ADMIN in the namespace. Calls of several threads take turns.
public final class Conntrack: Sendable {
    private let socket: Mutex<NetlinkSocket>

    /// Asks the kernel from now on.
    public init() throws(NetlinkError) {
        socket = Mutex(try NetlinkSocket.open(.netfilter))
    }

    /// The connections that are tracked, in no order.
    ///
    /// Protocols without ports are left out. What comes or goes meanwhile may be missed.
    ///
    /// - Parameter port: Only those that go to this port of a protocol, before any translation.
    /// - Returns: What is tracked.
    /// - Throws: `refused` where the kernel has no connection tracking.
    public func connections(
        to port: (transport: UInt8, number: UInt16)? = nil
    ) throws(NetlinkError) -> [ConntrackEntry] {
        var found: [ConntrackEntry] = []
        // The kernel filters within one family.
        for family in port == nil ? [AF_UNSPEC] : [AF_INET, AF_INET6] {
            var header = nfgenmsg()
            header.nfgen_family = UInt8(family)
            var content = MessageContent(header)
            if let port { content.add(filterFor: port) }
            try socket.withLock { (socket) throws(NetlinkError) in
                try socket.ask(
                    message(IPCTNL_MSG_CT_GET),
                    flags: NLM_F_DUMP,
                    content,
                    "list tracked connections"
                ) { (datagram, body) throws(NetlinkError) in
                    guard let entry = try ConntrackEntry(in: datagram, at: body) else { return }
                    let (transport, number) = port ?? (0, 0)
                    let isWanted =
                        entry.original.transport == transport
                        && entry.original.destinationPort == number
                    if isWanted || port == nil { found.append(entry) }
                }
            }
        }
        return found
    }

    /// Makes the kernel forget a connection, where it still is the one that was listed.
    ///
    /// - Returns: Whether it was there.
    /// - Throws: `refused` for other reasons.
    @discardableResult
    public func forget(_ entry: ConntrackEntry) throws(NetlinkError) -> Bool {
        let flow = entry.original
        let isIPv4 = flow.source.count == 4
        var header = nfgenmsg()
        header.nfgen_family = UInt8(isIPv4 ? AF_INET : AF_INET6)
        var content = MessageContent(header)
        content.add(CTA_TUPLE_ORIG.rawValue) {
            $0.add(CTA_TUPLE_IP.rawValue) {
                $0.add((isIPv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC).rawValue, flow.source)
                $0.add((isIPv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST).rawValue, flow.destination)
            }
            $0.add(CTA_TUPLE_PROTO.rawValue) {
                $0.add(CTA_PROTO_NUM.rawValue, [flow.transport])
                $0.add(CTA_PROTO_SRC_PORT.rawValue, bigEndian: flow.sourcePort)
                $0.add(CTA_PROTO_DST_PORT.rawValue, bigEndian: flow.destinationPort)
            }
        }
        if entry.zone != 0 { content.add(CTA_ZONE.rawValue, bigEndian: entry.zone) }
        content.add(CTA_ID.rawValue, bigEndian: entry.id)
        do throws(NetlinkError) {
            try socket.withLock { (socket) throws(NetlinkError) in
                try socket.ask(
                    message(IPCTNL_MSG_CT_DELETE),
                    flags: NLM_F_ACK,
                    content,
                    "forget a tracked connection"
                )
            }
            return true
        } catch  where error.isNotFound {
            return false
        }
    }

    private func message(_ type: cntl_msg_types) -> UInt16 {
        UInt16(NFNL_SUBSYS_CTNETLINK) << 8 | UInt16(type.rawValue)
    }
}

extension MessageContent {
    /// Has the kernel list only what goes to a port; one older than 5.8 lists all.
    fileprivate mutating func add(filterFor port: (transport: UInt8, number: UInt16)) {
        add(CTA_TUPLE_ORIG.rawValue) {
            $0.add(CTA_TUPLE_PROTO.rawValue) {
                $0.add(CTA_PROTO_NUM.rawValue, [port.transport])
                $0.add(CTA_PROTO_DST_PORT.rawValue, bigEndian: port.number)
            }
        }
        // Neither is named in the headers: CTA_FILTER_ORIG_FLAGS, and of the kernel's own
        // net/netfilter/nf_internals.h CTA_FILTER_F_CTA_PROTO_NUM and _DST_PORT, in its byte order.
        let (originalFlags, wanted): (UInt32, UInt32) = (1, 1 << 3 | 1 << 5)
        add(CTA_FILTER.rawValue) { $0.add(originalFlags, bigEndian: wanted.bigEndian) }
    }
}

extension ConntrackEntry {
    /// Reads `struct nfgenmsg` and attributes; nil for a protocol without ports.
    package init?(in datagram: RawSpan, at body: Range<Int>) throws(NetlinkError) {
        guard body.count >= MemoryLayout<nfgenmsg>.size else {
            throw .malformedReply(offset: body.lowerBound)
        }
        var (original, reply): (Flow?, Flow?)
        let none = Flow(
            transport: 0,
            source: [],
            sourcePort: 0,
            destination: [],
            destinationPort: 0
        )
        self.init(original: none, reply: none)
        var cursor = AttributeCursor(body.dropFirst(MemoryLayout<nfgenmsg>.size))
        while let attribute = try cursor.next(in: datagram) {
            switch UInt32(attribute.type) {
            case CTA_TUPLE_ORIG.rawValue:
                original = try Flow(in: datagram, at: attribute.payload, zone: &zone)
            case CTA_TUPLE_REPLY.rawValue:
                reply = try Flow(in: datagram, at: attribute.payload, zone: &zone)
            case CTA_STATUS.rawValue: status = .init(rawValue: try datagram.bigEndian32(attribute))
            case CTA_TIMEOUT.rawValue: timeout = try datagram.bigEndian32(attribute)
            case CTA_ID.rawValue: id = try datagram.bigEndian32(attribute)
            case CTA_ZONE.rawValue: zone = try datagram.bigEndian16(attribute)
            case CTA_PROTOINFO.rawValue: tcpState = try Self.state(in: datagram, attribute.payload)
            case CTA_COUNTERS_ORIG.rawValue:
                originalCounters = try Counters(in: datagram, at: attribute.payload)
            case CTA_COUNTERS_REPLY.rawValue:
                replyCounters = try Counters(in: datagram, at: attribute.payload)
            case CTA_TIMESTAMP.rawValue:
                try datagram.forEachAttribute(of: attribute.payload) {
                    (attribute) throws(NetlinkError) in
                    guard attribute.type == Int(CTA_TIMESTAMP_START.rawValue) else { return }
                    startedAt = try datagram.bigEndian64(attribute)
                }
            default: break
            }
        }
        guard let original, let reply else { return nil }
        self.original = original
        self.reply = reply
    }

    private static func state(
        in datagram: RawSpan,
        _ range: Range<Int>
    ) throws(NetlinkError) -> TCPState? {
        var state: TCPState?
        try datagram.forEachAttribute(of: range) { (attribute) throws(NetlinkError) in
            guard attribute.type == Int(CTA_PROTOINFO_TCP.rawValue) else { return }
            try datagram.forEachAttribute(of: attribute.payload) {
                (attribute) throws(NetlinkError) in
                guard attribute.type == Int(CTA_PROTOINFO_TCP_STATE.rawValue) else { return }
                state = TCPState(rawValue: try datagram.uint8(at: attribute.payload.lowerBound))
            }
        }
        return state
    }
}

extension ConntrackEntry.Counters {
    fileprivate init(in datagram: RawSpan, at range: Range<Int>) throws(NetlinkError) {
        self.init(packets: 0, bytes: 0)
        try datagram.forEachAttribute(of: range) { (attribute) throws(NetlinkError) in
            switch UInt32(attribute.type) {
            case CTA_COUNTERS_PACKETS.rawValue: packets = try datagram.bigEndian64(attribute)
            case CTA_COUNTERS_BYTES.rawValue: bytes = try datagram.bigEndian64(attribute)
            default: break
            }
        }
    }
}

extension Flow {
    /// Reads a tuple; nil where the protocol has no ports.
    fileprivate init?(
        in datagram: RawSpan,
        at range: Range<Int>,
        zone: inout UInt16
    ) throws(NetlinkError) {
        var (source, destination): ([UInt8]?, [UInt8]?)
        var (transport, sourcePort, destinationPort): (UInt8?, UInt16?, UInt16?)
        try datagram.forEachAttribute(of: range) { (part) throws(NetlinkError) in
            // A zone of one direction alone stands here.
            if part.type == Int(CTA_TUPLE_ZONE.rawValue) { zone = try datagram.bigEndian16(part) }
            try datagram.forEachAttribute(of: part.payload) { (attribute) throws(NetlinkError) in
                switch (UInt32(part.type), UInt32(attribute.type)) {
                case (CTA_TUPLE_IP.rawValue, CTA_IP_V4_SRC.rawValue),
                    (CTA_TUPLE_IP.rawValue, CTA_IP_V6_SRC.rawValue):
                    source = try datagram.bytes(in: attribute.payload)
                case (CTA_TUPLE_IP.rawValue, CTA_IP_V4_DST.rawValue),
                    (CTA_TUPLE_IP.rawValue, CTA_IP_V6_DST.rawValue):
                    destination = try datagram.bytes(in: attribute.payload)
                case (CTA_TUPLE_PROTO.rawValue, CTA_PROTO_NUM.rawValue):
                    transport = try datagram.uint8(at: attribute.payload.lowerBound)
                case (CTA_TUPLE_PROTO.rawValue, CTA_PROTO_SRC_PORT.rawValue):
                    sourcePort = try datagram.bigEndian16(attribute)
                case (CTA_TUPLE_PROTO.rawValue, CTA_PROTO_DST_PORT.rawValue):
                    destinationPort = try datagram.bigEndian16(attribute)
                default: break
                }
            }
        }
        guard let source, let destination, source.count == destination.count,
            [4, 16].contains(source.count), let transport, let sourcePort, let destinationPort
        else { return nil }
        self.init(
            transport: transport,
            source: source,
            sourcePort: sourcePort,
            destination: destination,
            destinationPort: destinationPort
        )
    }
}

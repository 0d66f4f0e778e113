internal import CLinux
internal import Glibc

/// A network interface, and what in it meets packets before netfilter does.
public struct NetworkInterface: Hashable, Sendable {
    /// Its number.
    public var index: UInt32
    /// Its name.
    public var name: String
    /// Whether it is up.
    public var isUp: Bool
    /// Whether it is loopback.
    public var isLoopback: Bool
    /// Whether a default route leads through it.
    public var hasDefaultRoute = false
    /// The number of the XDP program that sees each packet first (`IFLA_XDP_PROG_ID`); nil where
    /// there is none, 0 where it has no number.
    public var xdpProgram: UInt32?
    /// The kinds of the tc filters that see what comes in: `bpf`, `u32`.
    public var ingressFilters: [String] = []
    /// Its addresses, each 4 or 16 bytes.
    public var addresses: [Address] = []

    /// An address of an interface.
    public struct Address: Hashable, Sendable {
        /// 4 bytes or 16.
        public var bytes: [UInt8]
        /// How many of its bits name the network.
        public var prefixLength: Int
        /// Whether it means something on this link alone (`RT_SCOPE_LINK` and narrower).
        public var isLinkLocal: Bool

        /// Takes the parts.
        public init(bytes: [UInt8], prefixLength: Int, isLinkLocal: Bool = false) {
            self.bytes = bytes
            self.prefixLength = prefixLength
            self.isLinkLocal = isLinkLocal
        }
    }

    /// Describes an interface.
    public init(index: UInt32, name: String, isUp: Bool = true, isLoopback: Bool = false) {
        self.index = index
        self.name = name
        self.isUp = isUp
        self.isLoopback = isLoopback
    }

    /// The interfaces of the calling thread's network namespace (rtnetlink(7)).
    ///
    /// Programs that were attached as links of the newer kind (`tcx`, Linux 6.6) are not listed by
    /// rtnetlink, and thus not here.
    public static func all() throws(NetlinkError) -> [NetworkInterface] {
        var socket = try NetlinkSocket.open(.route)
        var found: [NetworkInterface] = []
        try socket.ask(
            UInt16(RTM_GETLINK),
            flags: NLM_F_DUMP,
            MessageContent(ifinfomsg()),
            "list interfaces"
        ) {
            (datagram, body) throws(NetlinkError) in
            if let interface = try NetworkInterface(in: datagram, at: body) {
                found.append(interface)
            }
        }
        try readAddresses(of: &found, over: &socket)
        try readDefaultRoutes(of: &found, over: &socket)
        try readFilters(of: &found, over: &socket)
        return found
    }

    /// Reads a message about an interface (`struct ifinfomsg`, then `IFLA_*`).
    package init?(in datagram: RawSpan, at body: Range<Int>) throws(NetlinkError) {
        // u8 family, u8 pad, u16 type, i32 index, u32 flags, u32 change.
        let start = body.lowerBound
        guard body.count >= 16 else { throw .malformedReply(offset: start) }
        let flags = try datagram.uint32(at: start + 8)
        self.init(
            index: try datagram.uint32(at: start + 4),
            name: "",
            isUp: flags & UInt32(IFF_UP) != 0,
            isLoopback: flags & UInt32(IFF_LOOPBACK) != 0
        )
        var cursor = AttributeCursor(start + 16..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Int(IFLA_IFNAME): name = try datagram.string(in: attribute.payload)
            case Int(IFLA_XDP):
                xdpProgram = try Self.xdp(in: datagram, at: attribute.payload)
            default: break
            }
        }
    }

    private static func xdp(in datagram: RawSpan, at range: Range<Int>) throws(NetlinkError)
        -> UInt32?
    {
        var (isAttached, program): (Bool, UInt32) = (false, 0)
        var cursor = AttributeCursor(range)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Int(IFLA_XDP_ATTACHED):
                isAttached = try datagram.uint8(at: attribute.payload.lowerBound) != 0
            case Int(IFLA_XDP_PROG_ID):
                program = try datagram.uint32(at: attribute.payload.lowerBound)
            default: break
            }
        }
        return isAttached ? program : nil
    }

    private static func readAddresses(
        of interfaces: inout [NetworkInterface],
        over socket: inout NetlinkSocket
    ) throws(NetlinkError) {
        try socket.forEachAddress { (index, address) in
            guard let place = interfaces.firstIndex(where: { $0.index == index }) else { return }
            interfaces[place].addresses.append(address)
        }
    }

    private static func readDefaultRoutes(
        of interfaces: inout [NetworkInterface],
        over socket: inout NetlinkSocket
    ) throws(NetlinkError) {
        for family in [AF_INET, AF_INET6] {
            var request = rtmsg()
            request.rtm_family = UInt8(family)
            try socket.ask(
                UInt16(RTM_GETROUTE),
                flags: NLM_F_DUMP,
                MessageContent(request),
                "list routes"
            ) {
                (datagram, body) throws(NetlinkError) in
                let route = try RouteMessage(in: datagram, at: body)
                guard route.destinationLength == 0, route.type == UInt8(RTN_UNICAST),
                    let place = interfaces.firstIndex(where: { $0.index == route.interface })
                else { return }
                interfaces[place].hasDefaultRoute = true
            }
        }
    }

    private static func readFilters(
        of interfaces: inout [NetworkInterface],
        over socket: inout NetlinkSocket
    ) throws(NetlinkError) {
        // linux/pkt_sched.h: TC_H_CLSACT is also TC_H_INGRESS.
        var filtered: [UInt32: [UInt32]] = [:]
        try socket.ask(
            UInt16(RTM_GETQDISC),
            flags: NLM_F_DUMP,
            MessageContent(tcmsg()),
            "list queues"
        ) {
            (datagram, body) throws(NetlinkError) in
            let (index, kind) = try queue(in: datagram, at: body)
            switch kind {
            case "clsact": filtered[index] = [0xffff_fff2]
            case "ingress": filtered[index] = [0xffff_0000]
            default: break
            }
        }
        for place in interfaces.indices {
            for parent in filtered[interfaces[place].index] ?? [] {
                var request = tcmsg()
                request.tcm_ifindex = Int32(bitPattern: interfaces[place].index)
                request.tcm_parent = parent
                var kinds: Set<String> = []
                try socket.ask(
                    UInt16(RTM_GETTFILTER),
                    flags: NLM_F_DUMP,
                    MessageContent(request),
                    "list filters"
                ) {
                    (datagram, body) throws(NetlinkError) in
                    kinds.insert(try queue(in: datagram, at: body).kind)
                }
                interfaces[place].ingressFilters += kinds.sorted()
            }
        }
    }

    /// Interface and kind of `struct tcmsg` and its attributes.
    package static func queue(
        in datagram: RawSpan,
        at body: Range<Int>
    ) throws(NetlinkError) -> (interface: UInt32, kind: String) {
        // u8 family, 3 bytes of padding, i32 interface, u32 handle, u32 parent, u32 info.
        let start = body.lowerBound
        guard body.count >= 20 else { throw .malformedReply(offset: start) }
        var kind = ""
        var cursor = AttributeCursor(start + 20..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            guard attribute.type == Int(TCA_KIND) else { continue }
            kind = try datagram.string(in: attribute.payload)
        }
        return (try datagram.uint32(at: start + 4), kind)
    }
}

extension NetlinkSocket {
    /// Lists the addresses of all devices, each with its device's index (rtnetlink(7)).
    mutating func forEachAddress(
        _ body: (UInt32, NetworkInterface.Address) -> Void
    ) throws(NetlinkError) {
        try ask(
            UInt16(RTM_GETADDR),
            flags: NLM_F_DUMP,
            MessageContent(ifaddrmsg()),
            "list addresses"
        ) { (datagram, object) throws(NetlinkError) in
            guard let address = try NetworkInterface.Address(in: datagram, at: object) else {
                return
            }
            body(try datagram.uint32(at: object.lowerBound + 4), address)
        }
    }
}

extension NetworkInterface.Address {
    /// Reads a message about an address (`struct ifaddrmsg`, then `IFA_*`); nil where it is of neither
    /// family.
    package init?(in datagram: RawSpan, at body: Range<Int>) throws(NetlinkError) {
        // u8 family, u8 prefix length, u8 flags, u8 scope, u32 interface.
        let start = body.lowerBound
        guard body.count >= 8 else { throw .malformedReply(offset: start) }
        var (local, remote): ([UInt8]?, [UInt8]?)
        var cursor = AttributeCursor(start + 8..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Int(IFA_LOCAL): local = try datagram.bytes(in: attribute.payload)
            case Int(IFA_ADDRESS): remote = try datagram.bytes(in: attribute.payload)
            default: break
            }
        }
        // IFA_ADDRESS is the peer's on a point-to-point link; IPv6 has nothing else.
        guard let bytes = local ?? remote, [4, 16].contains(bytes.count) else { return nil }
        self.init(
            bytes: bytes,
            prefixLength: Int(try datagram.uint8(at: start + 1)),
            isLinkLocal: try datagram.uint8(at: start + 3) >= UInt8(RT_SCOPE_LINK.rawValue)
        )
    }
}

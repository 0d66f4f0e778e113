internal import CLinux
internal import Glibc
internal import SystemPackage

/// Where the kernel sends packets for an address, as it is asked by `ip route get` (rtnetlink(7)).
public enum Route: Hashable, Sendable {
    /// Out by the interface of this index.
    case through(UInt32)
    /// To this host itself.
    case here
    /// Nowhere: no route leads there, or one that says so.
    case nowhere

    /// Asks for the routes to addresses of 4 or 16 bytes, from the calling thread's network
    /// namespace.
    public static func all(
        to addresses: some Collection<[UInt8]>
    ) throws(NetlinkError) -> [[UInt8]: Route] {
        var socket = try NetlinkSocket.open(.route)
        var found: [[UInt8]: Route] = [:]
        for address in addresses { found[address] = try socket.route(to: address) }
        return found
    }

    /// What the kernel answers with where routes lead nowhere: none, and the kinds `unreachable`,
    /// `blackhole` and `prohibit` (fib_props, net/ipv4/fib_semantics.c).
    fileprivate static let unreachable = [ENETUNREACH, EHOSTUNREACH, EINVAL, EACCES]

    /// Reads a message about a route (`struct rtmsg`, then `RTA_*`).
    package init(in datagram: RawSpan, at body: Range<Int>) throws(NetlinkError) {
        let route = try RouteMessage(in: datagram, at: body)
        switch (route.type, route.interface) {
        case (UInt8(RTN_LOCAL), _): self = .here
        case (UInt8(RTN_UNICAST), let interface?): self = .through(interface)
        default: self = .nowhere
        }
    }
}

extension NetlinkSocket {
    /// Asks for the route to an address; nil where the kernel tells of none.
    mutating func route(to address: [UInt8]) throws(NetlinkError) -> Route? {
        var request = rtmsg()
        request.rtm_family = UInt8(address.count == 4 ? AF_INET : AF_INET6)
        request.rtm_dst_len = UInt8(address.count * 8)
        var content = MessageContent(request)
        content.add(RTA_DST.rawValue, address)
        var found: Route?
        do throws(NetlinkError) {
            try ask(UInt16(RTM_GETROUTE), flags: NLM_F_ACK, content, "ask for a route") {
                (datagram, body) throws(NetlinkError) in
                found = try Route(in: datagram, at: body)
            }
        } catch .refused(_, _, let errno, _) where Route.unreachable.contains(errno.rawValue) {
            return .nowhere
        }
        return found
    }
}

/// What is read of a message about a route.
struct RouteMessage {
    var destinationLength: UInt8
    /// `RTN_UNICAST` and the like.
    var type: UInt8
    /// The index of the interface that it leads out by.
    var interface: UInt32?

    init(in datagram: RawSpan, at body: Range<Int>) throws(NetlinkError) {
        // u8 family, u8 destination's length, u8 source's, u8 tos, u8 table, u8 protocol, u8 scope,
        // u8 type, u32 flags.
        let start = body.lowerBound
        guard body.count >= 12 else { throw .malformedReply(offset: start) }
        destinationLength = try datagram.uint8(at: start + 1)
        type = try datagram.uint8(at: start + 7)
        var cursor = AttributeCursor(start + 12..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            guard attribute.type == Int(RTA_OIF.rawValue) else { continue }
            interface = try datagram.uint32(at: attribute.payload.lowerBound)
        }
    }
}

internal import CLinux
internal import Glibc

/// A TCP connection of this host, as the kernel's socket table has it.
public struct TCPSocket: Hashable, Sendable {
    /// The state, numbered as in the kernel's include/net/tcp_states.h.
    public enum State: UInt8, Hashable, Sendable, CaseIterable {
        case established = 1
        case synSent, synReceived, finWait1, finWait2, timeWait, close, closeWait, lastAck, listen
        case closing, newSynReceived
    }

    /// 4 bytes for IPv4, also where an IPv6 socket serves an IPv4 client; 16 for IPv6.
    public let localAddress: [UInt8]
    /// The port at this host, in the host's byte order.
    public let localPort: UInt16
    /// As long as ``localAddress``.
    public let remoteAddress: [UInt8]
    /// The port at the other end, in the host's byte order.
    public let remotePort: UInt16
    /// Where the connection stands.
    public let state: State
}

/// A socket that takes what comes in for its port.
public struct Listener: Hashable, Sendable {
    /// The number of the IP header: 6 for TCP, 17 for UDP.
    public var transport: UInt8
    /// 4 bytes for IPv4, 16 for IPv6; all zeros where it takes what comes to any address.
    public var address: [UInt8]
    /// The port, in the host's byte order.
    public var port: UInt16
    /// The index of the interface it is bound to; 0 for any.
    public var interface: UInt32
    /// The user whose it is.
    public var uid: UInt32
    /// What `/proc/PID/fd` calls it: `socket:[INODE]`.
    public var inode: UInt32

    /// Takes the parts.
    public init(
        transport: UInt8,
        address: [UInt8],
        port: UInt16,
        interface: UInt32 = 0,
        uid: UInt32 = 0,
        inode: UInt32 = 0
    ) {
        self.transport = transport
        self.address = address
        self.port = port
        self.interface = interface
        self.uid = uid
        self.inode = inode
    }
}

/// Lists the sockets of a network namespace (NETLINK_SOCK_DIAG, linux/inet_diag.h).
public enum SocketDiagnostics {
    /// The TCP connections of the calling thread's network namespace, in no order.
    ///
    /// Listening, closed and TIME_WAIT sockets are left out: they are no connections of anybody.
    /// Connections that are still being made (SYN_RECV) are in.
    public static func connections() throws(NetlinkError) -> [TCPSocket] {
        var socket = try NetlinkSocket.open(.socketDiagnostics)
        var found: [TCPSocket] = []
        for family in [AF_INET, AF_INET6] {
            try list(family: UInt8(family), over: &socket, into: &found)
        }
        return found
    }

    /// The sockets of the calling thread's network namespace that take what comes in: listening TCP
    /// sockets, and UDP sockets that are bound and not connected, in no order.
    public static func listeners() throws(NetlinkError) -> [Listener] {
        var socket = try NetlinkSocket.open(.socketDiagnostics)
        var found: [Listener] = []
        for family in [AF_INET, AF_INET6] {
            // A UDP socket without a peer is in the state that is TCP's "close" (net/ipv4/udp.c).
            for (kind, state) in [(IPPROTO_TCP, TCPSocket.State.listen), (IPPROTO_UDP, .close)] {
                let number = UInt8(kind)
                try socket.dump(
                    type: SOCK_DIAG_BY_FAMILY,
                    request(UInt8(family), number, [state]),
                    purpose: "list listening sockets"
                ) { (datagram, body) throws(NetlinkError) in
                    found.append(try listener(in: datagram, at: body, transport: number))
                }
            }
        }
        return found
    }

    private static func request(
        _ family: UInt8,
        _ transport: UInt8,
        _ states: [TCPSocket.State]
    ) -> inet_diag_req_v2 {
        var request = inet_diag_req_v2()
        request.sdiag_family = family
        request.sdiag_protocol = transport
        request.idiag_states = states.reduce(0) { $0 | 1 << UInt32($1.rawValue) }
        return request
    }

    private static func list(
        family: UInt8,
        over socket: inout NetlinkSocket,
        into found: inout [TCPSocket]
    ) throws(NetlinkError) {
        let left: [TCPSocket.State] = [.listen, .close, .timeWait]
        try socket.dump(
            type: SOCK_DIAG_BY_FAMILY,
            request(
                family,
                UInt8(IPPROTO_TCP),
                TCPSocket.State.allCases.filter { !left.contains($0) }
            ),
            purpose: "list TCP sockets"
        ) { (datagram, body) throws(NetlinkError) in
            if let socket = try connection(in: datagram, at: body) { found.append(socket) }
        }
    }

    /// Reads `struct inet_diag_msg` of a socket without a peer.
    package static func listener(
        in datagram: RawSpan,
        at body: Range<Int>,
        transport: UInt8
    ) throws(NetlinkError) -> Listener {
        // Behind inet_diag_sockid (at 4: two ports, two addresses of 16 bytes, an interface, 8 bytes
        // of cookie): be32 expires, two queues, u32 uid, u32 inode.
        let start = body.lowerBound
        guard body.count >= 72 else { throw .malformedReply(offset: start) }
        let isIPv4 = try datagram.uint8(at: start) == UInt8(AF_INET)
        return Listener(
            transport: transport,
            address: try datagram.bytes(in: start + 8..<start + 8 + (isIPv4 ? 4 : 16)),
            port: UInt16(bigEndian: try datagram.uint16(at: start + 4)),
            interface: try datagram.uint32(at: start + 40),
            uid: try datagram.uint32(at: start + 64),
            inode: try datagram.uint32(at: start + 68)
        )
    }

    /// Reads `struct inet_diag_msg`; nil for a state that is unknown here.
    package static func connection(
        in datagram: RawSpan,
        at body: Range<Int>
    ) throws(NetlinkError) -> TCPSocket? {
        // u8 family, u8 state, u8 timer, u8 retransmissions, then inet_diag_sockid:
        // be16 local port, be16 remote port, 16 bytes local and 16 bytes remote address.
        let start = body.lowerBound
        guard body.count >= 40 else { throw .malformedReply(offset: start) }
        guard let state = TCPSocket.State(rawValue: try datagram.uint8(at: start + 1)) else {
            return nil
        }
        let length = try datagram.uint8(at: start) == UInt8(AF_INET) ? 4 : 16
        var local = try datagram.bytes(in: start + 8..<start + 8 + length)
        var remote = try datagram.bytes(in: start + 24..<start + 24 + length)
        // RFC 4291, 2.5.5.2: ::ffff:a.b.c.d is how an IPv6 socket sees an IPv4 client.
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
        if length == 16, local.starts(with: mapped), remote.starts(with: mapped) {
            local.removeFirst(12)
            remote.removeFirst(12)
        }
        return TCPSocket(
            localAddress: local,
            localPort: UInt16(bigEndian: try datagram.uint16(at: start + 4)),
            remoteAddress: remote,
            remotePort: UInt16(bigEndian: try datagram.uint16(at: start + 6)),
            state: state
        )
    }
}

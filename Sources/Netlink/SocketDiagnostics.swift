internal import CLinux
internal import Glibc
internal import Synchronization

/// A connected socket of this host, as the kernel's socket tables have it.
public struct InternetSocket: Hashable, Sendable {
    /// The state, numbered as in the kernel's include/net/tcp_states.h; a connected UDP socket is
    /// `established`.
    public enum State: UInt8, Hashable, Sendable, CaseIterable {
        case established = 1
        case synSent, synReceived, finWait1, finWait2, timeWait, close, closeWait, lastAck, listen
        case closing, newSynReceived
    }

    /// What comes in for the socket: from the other end to this host.
    ///
    /// The addresses are IPv4 also where an IPv6 socket serves an IPv4 client.
    public var incoming: Flow
    /// Where the connection stands.
    public var state: State
    /// The kernel's number for it, which no other socket of this boot has.
    public var cookie: UInt64
    /// The device that it is bound to, or 0.
    public var device: UInt32
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

/// Lists and ends the sockets of the network namespace of the thread that made it
/// (NETLINK_SOCK_DIAG, linux/inet_diag.h).
///
/// Calls of several threads take turns.
public final class SocketDiagnostics: Sendable {
    private let socket: Mutex<NetlinkSocket>

    /// Asks the kernel from now on.
    public init() throws(NetlinkError) {
        socket = Mutex(try NetlinkSocket.open(.socketDiagnostics))
    }

    /// The protocols whose sockets can be asked for.
    public enum Transport: UInt8, Hashable, Sendable {
        case tcp = 6
        case udp = 17
    }

    /// The connections, in no order.
    ///
    /// Listening, closed and TIME_WAIT sockets are left out, and so those of UDP that are not
    /// connected: they are no connections of anybody. Connections that are still being made
    /// (SYN_RECV) are in.
    public func connections(
        of transport: Transport = .tcp
    ) throws(NetlinkError) -> [InternetSocket] {
        let left: [InternetSocket.State] = [.listen, .close, .timeWait]
        return try sockets(
            of: transport,
            in: InternetSocket.State.allCases.filter { !left.contains($0) }
        )
    }

    /// The TCP ports that something listens on.
    public func listeningPorts() throws(NetlinkError) -> Set<UInt16> {
        Set(try sockets(of: .tcp, in: [.listen]).map(\.incoming.destinationPort))
    }

    /// Ends a connection: the socket is aborted (`ECONNABORTED`), and of a TCP connection the other
    /// end is reset.
    ///
    /// - Returns: Whether the socket was there: it is found by all its numbers and its cookie, so
    ///   that no other is ever ended.
    /// - Throws: `refused` with `ENOTSUP` where the kernel lacks CONFIG_INET_DIAG_DESTROY, see
    ///   ``NetlinkError/isNotSupported``; with `EPERM` without CAP_NET_ADMIN.
    @discardableResult
    public func destroy(_ target: InternetSocket) throws(NetlinkError) -> Bool {
        let flow = target.incoming
        var request = inet_diag_req_v2()
        request.sdiag_family = UInt8(flow.source.count == 4 ? AF_INET : AF_INET6)
        request.sdiag_protocol = flow.transport
        request.idiag_states = .max
        request.id.idiag_sport = flow.destinationPort.bigEndian
        request.id.idiag_dport = flow.sourcePort.bigEndian
        unsafe withUnsafeMutableBytes(of: &request.id.idiag_src) {
            unsafe $0.copyBytes(from: flow.destination)
        }
        unsafe withUnsafeMutableBytes(of: &request.id.idiag_dst) {
            unsafe $0.copyBytes(from: flow.source)
        }
        request.id.idiag_if = target.device
        request.id.idiag_cookie = (
            UInt32(truncatingIfNeeded: target.cookie), UInt32(target.cookie >> 32)
        )
        do throws(NetlinkError) {
            try socket.withLock { (socket) throws(NetlinkError) in
                try socket.ask(
                    UInt16(SOCK_DESTROY),
                    flags: NLM_F_ACK,
                    MessageContent(request),
                    "end a connection"
                )
            }
            return true
        } catch  where error.isNotFound {
            return false
        }
    }

    /// The sockets that take what comes in: listening TCP sockets, and UDP sockets that are bound and
    /// not connected, in no order.
    public func listeners() throws(NetlinkError) -> [Listener] {
        var found: [Listener] = []
        // A UDP socket without a peer is in the state that is TCP's "close" (net/ipv4/udp.c).
        for (transport, state) in [(Transport.tcp, InternetSocket.State.listen), (.udp, .close)] {
            try list(transport, [state]) { (datagram, body) throws(NetlinkError) in
                let listener = try Self.listener(
                    in: datagram,
                    at: body,
                    transport: transport.rawValue
                )
                found.append(listener)
            }
        }
        return found
    }

    private func sockets(
        of transport: Transport,
        in states: [InternetSocket.State]
    ) throws(NetlinkError) -> [InternetSocket] {
        var found: [InternetSocket] = []
        try list(transport, states) { (datagram, body) throws(NetlinkError) in
            let socket = try InternetSocket(of: transport, in: datagram, at: body)
            if let socket { found.append(socket) }
        }
        return found
    }

    private func list(
        _ transport: Transport,
        _ states: [InternetSocket.State],
        _ body: (RawSpan, Range<Int>) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        for family in [AF_INET, AF_INET6] {
            var request = inet_diag_req_v2()
            request.sdiag_family = UInt8(family)
            request.sdiag_protocol = transport.rawValue
            request.idiag_states = states.reduce(0) { $0 | 1 << UInt32($1.rawValue) }
            // A connection that comes or goes during the listing is allowed to be missed or listed:
            // there is no moment at which a list of connections is complete.
            try socket.withLock { (socket) throws(NetlinkError) in
                try socket.ask(
                    UInt16(SOCK_DIAG_BY_FAMILY),
                    flags: NLM_F_DUMP,
                    MessageContent(request),
                    "list sockets",
                    body
                )
            }
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
}

extension InternetSocket {
    /// Reads `struct inet_diag_msg`; nil for a state that is unknown here.
    package init?(
        of transport: SocketDiagnostics.Transport,
        in datagram: RawSpan,
        at body: Range<Int>
    ) throws(NetlinkError) {
        // u8 family, u8 state, u8 timer, u8 retransmissions, then inet_diag_sockid: be16 local
        // port, be16 remote port, 16 bytes local and 16 bytes remote address, u32 device, and the
        // cookie as two u32, the lower half first.
        let start = body.lowerBound
        guard body.count >= 52 else { throw .malformedReply(offset: start) }
        guard let state = State(rawValue: try datagram.uint8(at: start + 1)) else { return nil }
        let length = try datagram.uint8(at: start) == UInt8(AF_INET) ? 4 : 16
        var local = try datagram.bytes(in: start + 8..<start + 8 + length)
        var remote = try datagram.bytes(in: start + 24..<start + 24 + length)
        // RFC 4291, 2.5.5.2: ::ffff:a.b.c.d is how an IPv6 socket sees an IPv4 client.
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
        if length == 16, local.starts(with: mapped), remote.starts(with: mapped) {
            local.removeFirst(12)
            remote.removeFirst(12)
        }
        incoming = Flow(
            transport: transport.rawValue,
            source: remote,
            sourcePort: UInt16(bigEndian: try datagram.uint16(at: start + 6)),
            destination: local,
            destinationPort: UInt16(bigEndian: try datagram.uint16(at: start + 4))
        )
        self.state = state
        device = try datagram.uint32(at: start + 40)
        cookie =
            UInt64(try datagram.uint32(at: start + 44))
            | UInt64(try datagram.uint32(at: start + 48)) << 32
    }
}

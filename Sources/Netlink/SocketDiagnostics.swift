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
        var found: [InternetSocket] = []
        try list(transport, InternetSocket.State.allCases.filter { !left.contains($0) }) {
            if let socket = InternetSocket($0, of: transport) { found.append(socket) }
        }
        return found
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
    public func listeners(
        of transports: [Transport] = [.tcp, .udp]
    ) throws(NetlinkError) -> [Listener] {
        // A UDP socket without a peer is in the state that is TCP's "close" (net/ipv4/udp.c).
        var found: [Listener] = []
        for transport in transports {
            try list(transport, [transport == .tcp ? .listen : .close]) { socket in
                found.append(
                    Listener(
                        transport: transport.rawValue,
                        address: socket.local,
                        port: socket.localPort,
                        interface: socket.device,
                        uid: socket.uid,
                        inode: socket.inode
                    )
                )
            }
        }
        return found
    }

    private func list(
        _ transport: Transport,
        _ states: [InternetSocket.State],
        _ body: (SocketMessage) -> Void
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
                    "list sockets"
                ) { (datagram, object) throws(NetlinkError) in
                    body(try SocketMessage(in: datagram, at: object))
                }
            }
        }
    }
}

/// A socket as the kernel tells of it (`struct inet_diag_msg`).
package struct SocketMessage {
    fileprivate var state: UInt8
    fileprivate var local: [UInt8]
    fileprivate var localPort: UInt16
    fileprivate var remote: [UInt8]
    fileprivate var remotePort: UInt16
    fileprivate var device: UInt32
    fileprivate var cookie: UInt64
    fileprivate var uid: UInt32
    fileprivate var inode: UInt32

    /// Reads it.
    package init(in datagram: RawSpan, at body: Range<Int>) throws(NetlinkError) {
        // u8 family, u8 state, u8 timer, u8 retransmissions, then inet_diag_sockid: be16 local
        // port, be16 remote port, 16 bytes local and 16 bytes remote address, u32 device, and the
        // cookie as two u32, the lower half first. Behind it u32 expires, two queues, u32 uid, u32
        // inode.
        let start = body.lowerBound
        guard body.count >= 72 else { throw .malformedReply(offset: start) }
        let length = try datagram.uint8(at: start) == UInt8(AF_INET) ? 4 : 16
        state = try datagram.uint8(at: start + 1)
        localPort = UInt16(bigEndian: try datagram.uint16(at: start + 4))
        remotePort = UInt16(bigEndian: try datagram.uint16(at: start + 6))
        local = try datagram.bytes(in: start + 8..<start + 8 + length)
        remote = try datagram.bytes(in: start + 24..<start + 24 + length)
        device = try datagram.uint32(at: start + 40)
        cookie =
            UInt64(try datagram.uint32(at: start + 44))
            | UInt64(try datagram.uint32(at: start + 48)) << 32
        uid = try datagram.uint32(at: start + 64)
        inode = try datagram.uint32(at: start + 68)
    }
}

extension InternetSocket {
    /// A connected one; nil for a state that is unknown here.
    package init?(_ socket: SocketMessage, of transport: SocketDiagnostics.Transport) {
        guard let state = State(rawValue: socket.state) else { return nil }
        var (local, remote) = (socket.local, socket.remote)
        // RFC 4291, 2.5.5.2: ::ffff:a.b.c.d is how an IPv6 socket sees an IPv4 client.
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
        if local.starts(with: mapped), remote.starts(with: mapped) {
            local.removeFirst(12)
            remote.removeFirst(12)
        }
        incoming = Flow(
            transport: transport.rawValue,
            source: remote,
            sourcePort: socket.remotePort,
            destination: local,
            destinationPort: socket.localPort
        )
        self.state = state
        device = socket.device
        cookie = socket.cookie
    }
}

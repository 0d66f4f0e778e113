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

    private static func list(
        family: UInt8,
        over socket: inout NetlinkSocket,
        into found: inout [TCPSocket]
    ) throws(NetlinkError) {
        let left: [TCPSocket.State] = [.listen, .close, .timeWait]
        var request = Request()
        request.header.nlmsg_len = UInt32(MemoryLayout<Request>.size)
        request.header.nlmsg_type = UInt16(SOCK_DIAG_BY_FAMILY)
        request.header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        request.header.nlmsg_seq = socket.takeSequence()
        request.body.sdiag_family = family
        request.body.sdiag_protocol = UInt8(IPPROTO_TCP)
        request.body.idiag_states =
            TCPSocket.State.allCases.filter { !left.contains($0) }
            .reduce(0) { $0 | 1 << UInt32($1.rawValue) }
        unsafe try withUnsafeMutableBytes(of: &request) { (bytes) throws(NetlinkError) in
            unsafe try socket.send([UnsafeRawBufferPointer(bytes)])
        }

        var isDone = false
        while !isDone {
            // A connection that comes or goes during the listing is allowed to be missed or listed:
            // there is no moment at which a list of connections is complete.
            _ = try socket.receive(waiting: true) { (datagram) throws(NetlinkError) in
                var cursor = ReplyCursor()
                while let reply = try cursor.next(in: datagram) {
                    guard reply.sequence == request.header.nlmsg_seq else { continue }
                    switch reply.content {
                    case .object(_, let body):
                        if let socket = try connection(in: datagram, at: body) {
                            found.append(socket)
                        }
                    case .refused(let errno, let message, _):
                        throw .refused(
                            operation: 0,
                            description: "list TCP sockets",
                            errno,
                            kernelMessage: message
                        )
                    case .acknowledged, .done:
                        isDone = true
                    }
                }
            }
        }
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

    private struct Request {
        var header = nlmsghdr()
        var body = inet_diag_req_v2()
    }
}

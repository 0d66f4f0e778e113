internal import CLinux
internal import Glibc
internal import SystemPackage

/// A SYN in the name of another host.
///
/// Whoever has a connection of these four numbers answers it with an acknowledgement of what the
/// connection has come to (RFC 5961, 4.2), and nothing else becomes of it.
public struct ForeignHandshake: ~Copyable {
    private let socket: Descriptor
    private let target: SocketAddress

    /// Prepares a SYN.
    ///
    /// - Parameters:
    ///   - source: In whose name: 4 or 16 bytes.
    ///   - sourcePort: Their port; 0 for any, where somebody else puts it into the packet: ports below
    ///     1024 take CAP_NET_BIND_SERVICE.
    ///   - target: To whom: as many bytes.
    ///   - targetPort: Their port.
    ///   - mark: What the packet is known by here (`SO_MARK`).
    /// - Returns: What is to be sent.
    /// - Throws: ``SystemError``, such as `EPERM` without CAP_NET_ADMIN, `EACCES` for a low port.
    public static func prepare(
        from source: [UInt8],
        _ sourcePort: UInt16,
        to target: [UInt8],
        _ targetPort: UInt16,
        mark: UInt32
    ) throws(SystemError) -> ForeignHandshake {
        let isIPv4 = source.count == 4
        let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let number = try systemCall("socket") {
            Glibc.socket(isIPv4 ? AF_INET : AF_INET6, type, 0)
        }
        let socket = Descriptor(owning: number)
        // linux/in.h and linux/in6.h: IP_TRANSPARENT, IPV6_TRANSPARENT.
        try socket.set(CInt(isIPv4 ? IPPROTO_IP : IPPROTO_IPV6), isIPv4 ? 19 : 75, to: 1)
        try socket.set(SOL_SOCKET, SO_MARK, to: CInt(bitPattern: mark))
        // Repair mode lets it be bound beside whatever listens on the port (net/ipv4/tcp.c,
        // tcp_repair_set: SK_FORCE_REUSE). -1 ends it without a packet.
        try socket.set(CInt(IPPROTO_TCP), TCP_REPAIR, to: 1)
        let address = SocketAddress(source, sourcePort)
        try systemCall("bind") { unsafe address.withPointer { unsafe bind(number, $0, $1) } }
        try socket.set(CInt(IPPROTO_TCP), TCP_REPAIR, to: -1)
        return ForeignHandshake(socket: socket, target: SocketAddress(target, targetPort))
    }

    private init(socket: consuming Descriptor, target: SocketAddress) {
        self.socket = socket
        self.target = target
    }

    /// Sends it, once.
    public consuming func send() throws(SystemError) {
        let number = socket.number
        do throws(SystemError) {
            try systemCall("connect") {
                unsafe target.withPointer { unsafe connect(number, $0, $1) }
            }
        } catch  where error.errno == .nowInProgress {
            // The SYN is sent. Closing now says nothing more.
        }
    }
}

/// An empty datagram in the name of another host.
///
/// Where it is rejected on its way out, that host hears of it as if it had sent it.
public enum ForeignDatagram {
    /// Sends a datagram, which a rule of this host may reject.
    ///
    /// - Parameters:
    ///   - source: In whose name: 4 or 16 bytes.
    ///   - sourcePort: Their port; 0 for any, where somebody else puts it into the packet.
    ///   - target: To whom: as many bytes.
    ///   - targetPort: Their port.
    ///   - mark: What the packet is known by here (`SO_MARK`).
    /// - Throws: ``SystemError``, such as `EPERM` without CAP_NET_ADMIN, `EACCES` for a low port.
    public static func send(
        from source: [UInt8],
        _ sourcePort: UInt16,
        to target: [UInt8],
        _ targetPort: UInt16,
        mark: UInt32
    ) throws(SystemError) {
        let isIPv4 = source.count == 4
        let type = CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let number = try systemCall("socket") {
            Glibc.socket(isIPv4 ? AF_INET : AF_INET6, type, 0)
        }
        let socket = Descriptor(owning: number)
        try socket.set(CInt(isIPv4 ? IPPROTO_IP : IPPROTO_IPV6), isIPv4 ? 19 : 75, to: 1)
        try socket.set(SOL_SOCKET, SO_MARK, to: CInt(bitPattern: mark))
        let address = SocketAddress(source, sourcePort)
        do throws(SystemError) {
            try systemCall("bind") { unsafe address.withPointer { unsafe bind(number, $0, $1) } }
        } catch  where error.errno == .addressInUse {
            // A socket of this host, which hears of such errors only where it asks for them.
            return
        }
        let destination = SocketAddress(target, targetPort)
        do throws(SystemError) {
            try systemCall("sendto") {
                unsafe destination.withPointer { unsafe sendto(number, nil, 0, 0, $0, $1) }
            }
        } catch  where error.errno == .notPermitted {
            // Rejected.
        }
        withExtendedLifetime(socket) {}
    }
}

extension Descriptor {
    fileprivate func set(_ level: CInt, _ option: CInt, to value: CInt) throws(SystemError) {
        var value = value
        try systemCall("setsockopt") { unsafe setsockopt(number, level, option, &value, 4) }
    }
}

/// An address and a port as the socket calls take them.
private struct SocketAddress {
    private var storage = sockaddr_in6()
    private let size: socklen_t

    init(_ address: [UInt8], _ port: UInt16) {
        // The port lies at the same place in both families, IPv4's address right behind it.
        storage.sin6_port = port.bigEndian
        if address.count == 4 {
            storage.sin6_family = sa_family_t(AF_INET)
            unsafe withUnsafeMutableBytes(of: &storage.sin6_flowinfo) {
                unsafe $0.copyBytes(from: address)
            }
            size = socklen_t(MemoryLayout<sockaddr_in>.size)
        } else {
            storage.sin6_family = sa_family_t(AF_INET6)
            unsafe withUnsafeMutableBytes(of: &storage.sin6_addr) {
                unsafe $0.copyBytes(from: address)
            }
            size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        }
    }

    func withPointer<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        unsafe withUnsafePointer(to: storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, size) }
        }
    }
}

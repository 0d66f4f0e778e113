internal import CLinux
internal import Glibc
internal import Linux
internal import SystemPackage

/// The kernel subsystem a socket speaks to (`NETLINK_*` of linux/netlink.h).
package struct NetlinkProtocol: Hashable, Sendable {
    let number: Int32

    /// nf_tables, conntrack and their kin (`NETLINK_NETFILTER`).
    package static let netfilter = Self(number: NETLINK_NETFILTER)
    /// Interfaces, addresses, routes and queueing (`NETLINK_ROUTE`).
    package static let route = Self(number: NETLINK_ROUTE)
    /// The sockets of the namespace (`NETLINK_SOCK_DIAG`).
    package static let socketDiagnostics = Self(number: NETLINK_SOCK_DIAG)
}

/// A netlink socket of the network namespace of the thread that opened it.
///
/// The socket keeps that namespace whichever thread uses it later.
package struct NetlinkSocket: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The port id that the kernel chose; it names this socket as the owner of tables.
    package private(set) var portID: UInt32 = 0
    private var lastSequence: UInt32 = 0
    private var sendBuffer = 0
    /// 64 KiB and a page: the kernel's dumps come in datagrams of at most 32 KiB (af_netlink.c,
    /// netlink_recvmsg), acknowledgements are short.
    private var buffer = [UInt8](repeating: 0, count: 68 << 10)

    private init(owning descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// The descriptor, to wait on in an event loop; it stays the socket's own.
    package var fileDescriptor: CInt { descriptor.number }

    /// Opens a socket, asks for extended and short acknowledgements, and lets the kernel name it.
    package static func open(_ kind: NetlinkProtocol) throws(NetlinkError) -> NetlinkSocket {
        let type = CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue)
        let number = try call("socket") { socket(AF_NETLINK, type, kind.number) }
        var opened = NetlinkSocket(owning: Descriptor(owning: number))
        opened.portID = try opened.bindToAnyPort()
        try opened.set(SOL_NETLINK, NETLINK_EXT_ACK, to: 1)
        try opened.set(SOL_NETLINK, NETLINK_CAP_ACK, to: 1)
        return opened
    }

    /// Subscribes to a group of events (`NETLINK_ADD_MEMBERSHIP`).
    package func join(group: UInt32) throws(NetlinkError) {
        try set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, to: Int32(group))
    }

    /// Takes `count` sequence numbers that no request of this socket had before; returns the first.
    ///
    /// Answers to a request that was given up are told from later ones by it.
    package mutating func takeSequence(count: Int = 1) -> UInt32 {
        let first = lastSequence &+ 1
        lastSequence = lastSequence &+ UInt32(truncatingIfNeeded: count)
        return first
    }

    /// Raises the receive buffer to `bytes`, past the system's limit where CAP_NET_ADMIN allows.
    package func growReceiveBuffer(to bytes: Int) throws(NetlinkError) {
        try grow(SO_RCVBUFFORCE, else: SO_RCVBUF, to: bytes)
    }

    /// Sends one datagram to the kernel, which has acted on it when this returns.
    ///
    /// The send buffer is raised to the datagram's size first, since netlink takes it whole or not
    /// at all (`EMSGSIZE`).
    package mutating func send(_ parts: [UnsafeRawBufferPointer]) throws(NetlinkError) {
        let size = unsafe parts.reduce(0) { $0 + $1.count }
        // The default is 208 KiB; the kernel counts 32 bytes of its own (netlink_sendmsg).
        if size + 1024 > max(sendBuffer, 128 << 10) {
            try grow(SO_SNDBUFFORCE, else: SO_SNDBUF, to: size + 1024)
            sendBuffer = size + 1024
        }
        var vectors = unsafe parts.map {
            unsafe iovec(
                iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress),
                iov_len: $0.count
            )
        }
        let descriptor = fileDescriptor
        let sent = unsafe try vectors.withUnsafeMutableBufferPointer {
            (vectors) throws(NetlinkError) in
            var message = unsafe msghdr()
            unsafe message.msg_iov = vectors.baseAddress
            unsafe message.msg_iovlen = vectors.count
            return unsafe try withUnsafePointer(to: &message) { (message) throws(NetlinkError) in
                try call("sendmsg") { unsafe sendmsg(descriptor, message, 0) }
            }
        }
        guard sent == size else {
            throw .systemCall(SystemError(call: "sendmsg", errno: .messageTooLong))
        }
    }

    /// Receives one datagram of the kernel and hands it to `body`.
    ///
    /// - Parameters:
    ///   - waiting: Whether to wait for a datagram when there is none.
    ///   - body: Reads the datagram, which is gone when it returns.
    /// - Returns: What `body` returns; nil when there is none and `waiting` is false.
    /// - Throws: `outcomeUnknown` when the kernel dropped answers (`ENOBUFS`) or one did not fit
    ///   the buffer.
    package mutating func receive<Result>(
        waiting: Bool,
        _ body: (RawSpan) throws(NetlinkError) -> Result
    ) throws(NetlinkError) -> Result? {
        while true {
            var sender = sockaddr_nl()
            let count: Int
            do {
                count = try receive(waiting: waiting, from: &sender)
            } catch .systemCall(let error) where error.errno == .wouldBlock {
                return nil
            } catch .systemCall(let error) where error.errno == .noBufferSpace {
                throw .outcomeUnknown(.noBufferSpace)
            }
            // Any process may send to our port; only port 0 is the kernel.
            guard sender.nl_pid == 0 else { continue }
            guard count <= buffer.count else { throw .outcomeUnknown(.messageTooLong) }
            return unsafe try body(buffer.span.bytes.extracting(first: count))
        }
    }

    private mutating func receive(
        waiting: Bool,
        from sender: inout sockaddr_nl
    ) throws(NetlinkError) -> Int {
        // MSG_TRUNC: the datagram's own size is returned, also when it did not fit.
        let flags = CInt(MSG_TRUNC) | (waiting ? 0 : CInt(MSG_DONTWAIT))
        let descriptor = fileDescriptor
        return unsafe try buffer.withUnsafeMutableBufferPointer { (buffer) throws(NetlinkError) in
            unsafe try withUnsafeMutablePointer(to: &sender) { (sender) throws(NetlinkError) in
                unsafe try sender.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    (sender) throws(NetlinkError) in
                    var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
                    return try call("recvfrom") {
                        unsafe recvfrom(
                            descriptor,
                            buffer.baseAddress,
                            buffer.count,
                            flags,
                            sender,
                            &size
                        )
                    }
                }
            }
        }
    }

    private func bindToAnyPort() throws(NetlinkError) -> UInt32 {
        // Port 0: the kernel picks one, so that a process may have many sockets.
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
        let descriptor = fileDescriptor
        unsafe try withUnsafeMutablePointer(to: &address) { (address) throws(NetlinkError) in
            unsafe try address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                (address) throws(NetlinkError) in
                try call("bind") { unsafe bind(descriptor, address, size) }
                try call("getsockname") { unsafe getsockname(descriptor, address, &size) }
            }
        }
        return address.nl_pid
    }

    /// The forced option needs CAP_NET_ADMIN in the first user namespace; the other has a limit.
    private func grow(
        _ forced: Int32,
        else plain: Int32,
        to bytes: Int
    ) throws(NetlinkError) {
        guard let bytes = Int32(exactly: bytes) else {
            throw .systemCall(SystemError(call: "setsockopt", errno: .messageTooLong))
        }
        do {
            try set(SOL_SOCKET, forced, to: bytes)
        } catch .systemCall(let error) where error.errno == .notPermitted {
            try set(SOL_SOCKET, plain, to: bytes)
        }
    }

    private func set(_ level: Int32, _ option: Int32, to value: Int32) throws(NetlinkError) {
        var value = value
        try call("setsockopt") { unsafe setsockopt(fileDescriptor, level, option, &value, 4) }
    }
}

/// Makes a system call whose failure is an error of the socket.
@discardableResult
private func call<Result: SignedInteger>(
    _ name: StaticString,
    _ body: () -> Result
) throws(NetlinkError) -> Result {
    do throws(SystemError) {
        return try systemCall(name, body)
    } catch {
        throw .systemCall(error)
    }
}

internal import CLinux
internal import Glibc
internal import SystemPackage

/// The address of a Unix socket (unix(7)).
public struct UnixAddress: Sendable {
    private let address: sockaddr_un
    private let size: socklen_t

    /// The address of a file; nil where the path is empty or longer than the 107 bytes a socket's
    /// may have.
    public init?(path: String) {
        // An empty one would be an abstract name.
        guard !path.isEmpty else { return nil }
        // The kernel reads up to the zero byte, which the size counts.
        self.init(name: Array(path.utf8) + [0])
    }

    /// A name in the abstract namespace, which has no file; nil where it is longer than 107 bytes.
    public init?(abstract name: String) { self.init(name: [0] + Array(name.utf8)) }

    private init?(name: [UInt8]) {
        var address = sockaddr_un()
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard name.count <= capacity else { return nil }
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        self.address = address
        size = socklen_t(MemoryLayout<sockaddr_un>.size - capacity + name.count)
    }

    fileprivate func withPointer<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        unsafe withUnsafePointer(to: address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, size) }
        }
    }
}

extension Descriptor {
    /// How the bytes of a socket are kept together.
    public enum SocketKind: Sendable {
        case stream
        case datagram
    }

    /// Makes a Unix socket.
    ///
    /// - Parameters:
    ///   - kind: Stream or datagram.
    ///   - isBlocking: Whether calls wait for the other end.
    /// - Returns: The socket, without an address.
    /// - Throws: ``SystemError``, such as `EMFILE`.
    public static func unixSocket(
        _ kind: SocketKind,
        isBlocking: Bool = true
    ) throws(SystemError) -> Descriptor {
        let type = kind.number | (isBlocking ? 0 : CInt(SOCK_NONBLOCK.rawValue))
        return Descriptor(owning: try systemCall("socket") { socket(AF_UNIX, type, 0) })
    }

    /// Gives a socket its address; its file has the socket's own permissions, see
    /// ``setPermissions(_:)``.
    public func bind(to address: UnixAddress) throws(SystemError) {
        try systemCall("bind") { unsafe address.withPointer { unsafe Glibc.bind(number, $0, $1) } }
    }

    /// Sets the permissions that `bind` gives the file (net/unix/af_unix.c, unix_bind_bsd).
    public func setPermissions(_ permissions: UInt32) throws(SystemError) {
        try systemCall("fchmod") { fchmod(number, permissions) }
    }

    /// Connects a socket.
    ///
    /// Where the queue of the one that listens is full, waits for room, `waitingAtMost`
    /// milliseconds (0: for ever); it is asked again where a signal interrupts.
    ///
    /// - Throws: ``SystemError``, `EAGAIN` where there was no room in time, or at once where the
    ///   socket does not block.
    public func connect(
        to address: UnixAddress,
        waitingAtMost milliseconds: @autoclosure () -> CInt = 0
    ) throws(SystemError) {
        // The kernel wakes those who wait for room in turn, which no retry of ours could do
        // (net/unix/af_unix.c, unix_stream_connect).
        let size = socklen_t(MemoryLayout<timeval>.size)
        try systemCall("connect") {
            let left = Int(milliseconds())
            var limit = timeval(tv_sec: left / 1000, tv_usec: left % 1000 * 1000)
            let set = unsafe setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
            guard set == 0 else { return set }
            return unsafe address.withPointer { unsafe Glibc.connect(number, $0, $1) }
        }
    }

    /// Sends one datagram to an address, or fails.
    public func send(_ bytes: [UInt8], to address: UnixAddress) throws(SystemError) {
        try systemCall("sendto") {
            unsafe address.withPointer {
                unsafe sendto(number, bytes, bytes.count, CInt(MSG_NOSIGNAL), $0, $1)
            }
        }
    }

    /// Sends as many bytes of a stream as there is room for, without waiting or `SIGPIPE`.
    ///
    /// - Returns: How many were taken.
    /// - Throws: ``SystemError``, `EAGAIN` where there is no room at all.
    public func sendAvailable(_ bytes: RawSpan) throws(SystemError) -> Int {
        let flags = CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT)
        return unsafe try bytes.withUnsafeBytes { (bytes) throws(SystemError) in
            try systemCall("send") {
                unsafe Glibc.send(number, bytes.baseAddress, bytes.count, flags)
            }
        }
    }

    /// Receives what has come, at most what there is room for, without waiting.
    ///
    /// Appends nothing at the end of the stream.
    ///
    /// - Throws: ``SystemError``, `EAGAIN` where nothing has come.
    public func receiveAvailable(into bytes: inout OutputRawSpan) throws(SystemError) {
        unsafe try bytes.withUnsafeMutableBytes { (buffer, count) throws(SystemError) in
            let free = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
            count += try systemCall("recv") {
                unsafe recv(number, free.baseAddress, free.count, CInt(MSG_DONTWAIT))
            }
        }
    }
}

/// The two ends of a stream within this process.
public struct UnixSocketPair: ~Copyable {
    private let first: Descriptor
    private let second: Descriptor

    /// Makes both ends.
    public static func make() throws(SystemError) -> UnixSocketPair {
        var ends: [CInt] = [-1, -1]
        let type = Descriptor.SocketKind.stream.number
        try systemCall("socketpair") { unsafe socketpair(AF_UNIX, type, 0, &ends) }
        return UnixSocketPair(
            first: Descriptor(owning: ends[0]),
            second: Descriptor(owning: ends[1])
        )
    }

    /// Hands both over to an owner of another kind, such as NIO.
    public consuming func release() -> (CInt, CInt) { (first.release(), second.release()) }
}

extension Descriptor.SocketKind {
    fileprivate var number: CInt {
        let kind = self == .stream ? SOCK_STREAM : SOCK_DGRAM
        return CInt(kind.rawValue | SOCK_CLOEXEC.rawValue)
    }
}

/// Functions over sockets that others own, such as NIO or systemd.
public enum UnixSocket {
    /// Lets a bound socket be connected to.
    ///
    /// - Parameters:
    ///   - socket: The socket; one that listens already gets the new backlog.
    ///   - backlog: Connections that may wait to be accepted; the kernel cuts it to
    ///     net.core.somaxconn.
    /// - Throws: ``SystemError`` where it is no bound socket.
    public static func listen(_ socket: CInt, backlog: CInt) throws(SystemError) {
        try systemCall("listen") { Glibc.listen(socket, backlog) }
    }

    /// Whether a descriptor is a Unix stream socket that listens.
    public static func isListening(_ socket: CInt) -> Bool {
        option(SO_DOMAIN, of: socket) == AF_UNIX
            && option(SO_TYPE, of: socket) == CInt(SOCK_STREAM.rawValue)
            && option(SO_ACCEPTCONN, of: socket) == 1
    }

    /// The path of a socket's file; nil where it has none.
    public static func path(of socket: CInt) -> String? {
        var address = sockaddr_un()
        var size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let status = unsafe withUnsafeMutablePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getsockname(socket, $0, &size)
            }
        }
        guard status == 0, address.sun_family == sa_family_t(AF_UNIX) else { return nil }
        let path = unsafe withUnsafeBytes(of: &address.sun_path) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return path.isEmpty ? nil : path
    }

    /// Takes the next one of those who wait to be connected.
    ///
    /// - Parameter socket: One that listens and does not block.
    /// - Returns: The connected socket, which does not block either.
    /// - Throws: ``SystemError``, `EAGAIN` where nobody waits.
    public static func accept(from socket: CInt) throws(SystemError) -> Descriptor {
        let flags = CInt(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        return Descriptor(
            owning: try systemCall("accept") { accept4(socket, nil, nil, flags) }
        )
    }

    private static func option(_ name: CInt, of socket: CInt) -> CInt? {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        let status = unsafe getsockopt(socket, SOL_SOCKET, name, &value, &size)
        return status == 0 ? value : nil
    }
}

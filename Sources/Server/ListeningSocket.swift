import Glibc
import NIOCore

/// A Unix socket that listens for the agent's clients.
public struct ListeningSocket: Sendable {
    /// Why the agent cannot listen.
    public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// What was refused and why: "cannot listen on /run/x.sock: …".
        public var description: String
    }

    /// A file, by the numbers that are its own for as long as the socket is open.
    private struct FileNumber: Hashable, Sendable {
        var device: dev_t
        var inode: ino_t
    }

    /// Connections that wait to be accepted: the kernel cuts it to net.core.somaxconn, whose
    /// default this is.
    private static let backlog: CInt = 4096
    /// Read and write for the owner and the group: connecting needs write (unix(7)).
    private static let mode: mode_t = 0o660

    let descriptor: CInt
    /// The file this process made, which it removes again; nil for a socket that was handed over.
    private let made: (path: String, file: FileNumber)?

    /// Makes the socket at a path, readable and writable for its owner and a group.
    ///
    /// Nobody can connect before the file has its final mode and group: it is made with mode 0600
    /// and does not listen until then. A socket that nobody listens on is replaced.
    ///
    /// - Parameters:
    ///   - path: where; at most 107 bytes (unix(7)).
    ///   - group: the group that may connect; where the system has none of that name, the file
    ///     keeps the group of the process.
    /// - Returns: a socket that listens.
    /// - Throws: ``Failure``, also where another process listens on the path.
    public static func make(path: String, group: String) throws(Failure) -> ListeningSocket {
        try removeStale(path)
        let socket = try newSocket(path)
        do throws(Failure) {
            // The kernel gives the file the mode of the socket (net/unix/af_unix.c, unix_bind_bsd).
            try check(fchmod(socket, 0o600), path, "fchmod")
            try check(unsafe withAddress(of: path) { unsafe bind(socket, $0, $1) }, path, "bind")
        } catch {
            close(socket)
            throw error
        }
        do throws(Failure) {
            // A service that has the group as its own may lack the right to change groups.
            if let gid = NameService.gid(ofGroup: group), gid != Self.group(of: path) {
                try check(unsafe lchown(path, uid_t.max, gid), path, "chown to group \(group)")
            }
            try check(unsafe chmod(path, mode), path, "chmod")
            try check(listen(socket, backlog), path, "listen")
            guard let file = fileNumber(of: path) else {
                throw Failure(path, "stat: \(reason())")
            }
            return ListeningSocket(descriptor: socket, made: (path, file))
        } catch {
            close(socket)
            unsafe unlink(path)
            throw error
        }
    }

    /// Takes over a listening socket, such as one of systemd's (sd_listen_fds(3)).
    ///
    /// - Parameter descriptor: the socket, which is closed with the server.
    /// - Returns: the same socket, checked.
    /// - Throws: ``Failure`` where it is not a Unix stream socket that listens.
    public static func adopt(descriptor: CInt) throws(Failure) -> ListeningSocket {
        guard
            option(SO_DOMAIN, of: descriptor) == AF_UNIX,
            option(SO_TYPE, of: descriptor) == CInt(SOCK_STREAM.rawValue),
            option(SO_ACCEPTCONN, of: descriptor) == 1
        else {
            throw Failure(
                description:
                    "cannot listen on descriptor \(descriptor): not a listening Unix stream socket"
            )
        }
        return ListeningSocket(descriptor: descriptor, made: nil)
    }

    /// Lets as many connections wait as the kernel allows.
    ///
    /// To be called after the socket was handed to NIO, which sets a backlog of its own (128), and
    /// for a socket of systemd's, whose default is another one.
    func extendBacklog() throws(Failure) {
        guard listen(descriptor, Self.backlog) == 0 else {
            throw Failure(description: "cannot listen: \(Self.reason())")
        }
    }

    /// Removes the file from its path, if this process made it and it is still the same.
    ///
    /// To be called before the socket is closed.
    func removeFile() {
        guard let made, Self.fileNumber(of: made.path) == made.file else { return }
        unsafe unlink(made.path)
    }

    /// Removes what a dead agent left; a socket that somebody listens on is no such thing.
    private static func removeStale(_ path: String) throws(Failure) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw Failure(path, reason())
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw Failure(path, "the file there is not a socket")
        }
        let probe = try newSocket(path)
        defer { close(probe) }
        let connected = try unsafe withAddress(of: path) { unsafe connect(probe, $0, $1) } == 0
        // EAGAIN: somebody listens, but is too busy to accept.
        if connected || errno == EAGAIN {
            throw Failure(path, "another process listens there; is sallyportd running already?")
        }
        guard errno == ECONNREFUSED else { throw Failure(path, reason()) }
        try check(unsafe unlink(path), path, "unlink")
    }

    private static func newSocket(_ path: String) throws(Failure) -> CInt {
        let type = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let socket = socket(AF_UNIX, CInt(type), 0)
        try check(socket, path, "socket")
        return socket
    }

    private static func withAddress(
        of path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) throws(Failure) -> CInt {
        do {
            let address = try SocketAddress(unixDomainSocketPath: path)
            return unsafe address.withSockAddr { unsafe body($0, socklen_t($1)) }
        } catch {
            throw Failure(path, "the path is longer than the 107 bytes a socket's may have")
        }
    }

    private static func check(
        _ result: CInt,
        _ path: String,
        _ call: String
    ) throws(Failure) {
        if result < 0 { throw Failure(path, "\(call): \(reason())") }
    }

    private static func fileNumber(of path: String) -> FileNumber? {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return nil }
        return FileNumber(device: status.st_dev, inode: status.st_ino)
    }

    private static func group(of path: String) -> gid_t? {
        var status = stat()
        return unsafe lstat(path, &status) == 0 ? status.st_gid : nil
    }

    private static func option(_ name: CInt, of descriptor: CInt) -> CInt? {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        guard unsafe getsockopt(descriptor, SOL_SOCKET, name, &value, &size) == 0 else {
            return nil
        }
        return value
    }

    private static func reason() -> String {
        unsafe String(cString: strerror(errno)).lowercased()
    }
}

extension ListeningSocket.Failure {
    fileprivate init(_ path: String, _ reason: String) {
        description = "cannot listen on \(path): \(reason)"
    }
}

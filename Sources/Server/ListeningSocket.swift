import Linux
import NIOCore
import SystemPackage

/// A Unix socket that listens for the agent's clients.
public struct ListeningSocket: Sendable {
    /// Why the agent cannot listen.
    public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// What was refused and why: "cannot listen on /run/x.sock: …".
        public var description: String
    }

    /// A file, by the numbers that are its own for as long as the socket is open.
    private struct FileNumber: Hashable, Sendable {
        var device: DeviceID
        var inode: Inode
    }

    /// Connections that wait to be accepted: the kernel cuts it to net.core.somaxconn, whose
    /// default this is.
    private static let backlog: CInt = 4096

    let descriptor: CInt
    /// Where it can be connected to; nil for a socket without a file.
    let path: String?
    /// The file this process made, which it removes again; nil for a socket that was handed over.
    private let made: FileNumber?

    /// Makes the agent's socket, which every user of this host may connect to: who they are decides
    /// what they may.
    ///
    /// - Parameter path: where; at most 107 bytes (unix(7)).
    /// - Returns: a socket that listens.
    /// - Throws: ``Failure``, also where another process listens on the path.
    public static func make(path: String) throws(Failure) -> ListeningSocket {
        try make(path: path, permissions: 0o666, group: nil)
    }

    /// Makes a socket at a path.
    ///
    /// Nobody can connect before the file has its final mode and group: it is made with mode 0600
    /// and does not listen until then. A socket that nobody listens on is replaced, and a folder that
    /// is missing is made.
    ///
    /// - Parameters:
    ///   - path: where.
    ///   - permissions: who may connect, which takes the right to write (unix(7)).
    ///   - group: whose file it is to be, where this process may give it to that group.
    /// - Returns: a socket that listens.
    /// - Throws: ``Failure``, also where another process listens on the path.
    static func make(
        path: String,
        permissions: UInt32,
        group: UInt32?
    ) throws(Failure) -> ListeningSocket {
        guard let address = UnixAddress(path: path) else {
            throw Failure(path, "the path is longer than the 107 bytes a socket's may have")
        }
        makeFolder(folder(of: path))
        try removeStale(path, address)
        do throws(SystemError) {
            let socket = try Descriptor.unixSocket(.stream, isBlocking: false)
            try socket.setPermissions(0o600)
            try socket.bind(to: address)
            do throws(SystemError) {
                // Without the right to it (CAP_CHOWN, or being of the group) it stays as it is.
                if let group { try? setGroup(group, of: path) }
                try setPermissions(FilePermissions(rawValue: permissions), of: path)
                try UnixSocket.listen(socket.number, backlog: backlog)
                let number = try fileNumber(of: path)
                return ListeningSocket(descriptor: socket.release(), path: path, made: number)
            } catch {
                try? removeFile(path)
                throw error
            }
        } catch {
            throw Failure(path, error.description)
        }
    }

    /// Takes over a listening socket, such as one of systemd's (sd_listen_fds(3)).
    ///
    /// - Parameter descriptor: the socket, which is closed with the server.
    /// - Returns: the same socket, checked.
    /// - Throws: ``Failure`` where it is not a Unix stream socket that listens.
    public static func adopt(descriptor: CInt) throws(Failure) -> ListeningSocket {
        guard UnixSocket.isListening(descriptor) else {
            throw Failure(
                description:
                    "cannot listen on descriptor \(descriptor): not a listening Unix stream socket"
            )
        }
        return ListeningSocket(
            descriptor: descriptor,
            path: UnixSocket.path(of: descriptor),
            made: nil
        )
    }

    /// Lets as many connections wait as the kernel allows.
    ///
    /// To be called after the socket was handed to NIO, which sets a backlog of its own (128), and
    /// for a socket of systemd's, whose default is another one.
    func extendBacklog() throws(Failure) {
        do {
            try UnixSocket.listen(descriptor, backlog: Self.backlog)
        } catch {
            throw Failure(description: "cannot listen: \(error)")
        }
    }

    /// The folder of its file; nil for a socket without one.
    var folder: String? { path.map(Self.folder(of:)) }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Makes the folder of a socket, which everybody may look into, where it is missing.
    ///
    /// Whoever needs it next will say why it is not there, should that fail.
    static func makeFolder(_ folder: String) {
        do throws(SystemError) {
            try Linux.makeFolder(folder, permissions: .ownerReadWriteExecute)
            // Whatever the umask is.
            try setPermissions(FilePermissions(rawValue: 0o755), of: folder)
        } catch {}
    }

    /// Makes the agent's socket anew; nil for one that another made.
    var maker: (() throws -> ListeningSocket)? {
        guard let path, made != nil else { return nil }
        return { try Self.make(path: path) }
    }

    /// Whether its file is still there, and still leads here.
    var isInPlace: Bool {
        guard let path, let made else { return true }
        return (try? Self.fileNumber(of: path)) == made
    }

    /// The group of its file; nil where that is gone.
    var group: UInt32? {
        path.flatMap { try? fileStatus($0, followsLink: false).groupID.rawValue }
    }

    /// Removes the file from its path, if this process made it and it is still the same.
    ///
    /// To be called before the socket is closed.
    func removeItsFile() {
        if let path, made != nil, isInPlace { try? removeFile(path) }
    }

    /// Removes what a dead agent left; a socket that somebody listens on is no such thing.
    private static func removeStale(_ path: String, _ address: UnixAddress) throws(Failure) {
        let type: FileType
        do throws(SystemError) {
            type = try fileStatus(path, followsLink: false).type
        } catch {
            if error.errno == .noSuchFileOrDirectory { return }
            throw Failure(path, error.description)
        }
        guard type == .socket else { throw Failure(path, "the file there is not a socket") }
        do throws(SystemError) {
            try Descriptor.unixSocket(.stream, isBlocking: false).connect(to: address)
        } catch {
            switch error.errno {
            case .connectionRefused:
                do {
                    return try removeFile(path)
                } catch {
                    throw Failure(path, error.description)
                }
            // Somebody listens, but is too busy to accept.
            case .resourceTemporarilyUnavailable: break
            default: throw Failure(path, error.description)
            }
        }
        throw Failure(path, "another process listens there; is sallyportd running already?")
    }

    private static func fileNumber(of path: String) throws(SystemError) -> FileNumber {
        let status = try fileStatus(path, followsLink: false)
        return FileNumber(device: status.deviceID, inode: status.inode)
    }
}

extension ListeningSocket.Failure {
    fileprivate init(_ path: String, _ reason: String) {
        description = "cannot listen on \(path): \(reason)"
    }
}

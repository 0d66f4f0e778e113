internal import CLinux
internal import SystemPackage

/// The ids of the process at the other end of a Unix socket, as the kernel noted them when it
/// connected (unix(7): SO_PEERCRED, SO_PEERGROUPS).
public struct PeerCredentials: Hashable, Sendable {
    /// The user the process acted as.
    public var uid: UInt32
    /// The primary group and the supplementary ones.
    public var gids: [UInt32]
    /// The process, which may have ended since; 0 where it is in another PID namespace.
    public var pid: Int32

    /// Supplementary groups that are tried first: more than people have.
    private static let usualGroups = 64
    /// NGROUPS_MAX of Linux (include/uapi/linux/limits.h).
    private static let mostGroups = 65_536

    /// Takes the ids.
    public init(uid: UInt32, gids: [UInt32], pid: Int32) {
        self.uid = uid
        self.gids = gids
        self.pid = pid
    }

    /// Reads the credentials of a connected socket's peer.
    public init(ofPeerOf socket: CInt) throws(SystemError) {
        let peer = try Self.peer(of: socket)
        var groups: [UInt32]
        do throws(SystemError) {
            groups = try Self.groups(of: socket, capacity: Self.usualGroups)
        } catch  where error.errno == .outOfRange {
            groups = try Self.groups(of: socket, capacity: Self.mostGroups)
        }
        self.init(uid: peer.uid, gids: [peer.gid] + groups, pid: peer.pid)
    }

    /// The user alone, in one system call.
    public static func uid(ofPeerOf socket: CInt) throws(SystemError) -> UInt32 {
        try peer(of: socket).uid
    }

    private static func peer(of socket: CInt) throws(SystemError) -> sallyport_peer {
        var peer = sallyport_peer()
        try systemCall("getsockopt SO_PEERCRED") {
            unsafe sallyport_peer_credentials(socket, &peer)
        }
        return peer
    }

    private static func groups(of socket: CInt, capacity: Int) throws(SystemError) -> [UInt32] {
        var groups = [UInt32](repeating: 0, count: capacity)
        let count = try systemCall("getsockopt SO_PEERGROUPS") {
            unsafe sallyport_peer_groups(socket, &groups, CInt(capacity))
        }
        return Array(groups.prefix(Int(count)))
    }
}

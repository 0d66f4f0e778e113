import CLinux
import Glibc
import NIOCore

/// The ids of the process at the other end of a Unix socket, read when it connected.
struct PeerCredentials: Hashable, Sendable {
    var uid: UInt32
    /// The primary group and the supplementary ones.
    var gids: [UInt32]
    var pid: Int32
}

extension PeerCredentials {
    /// Supplementary groups that are tried first: more than people have, on the stack of no one.
    private static let usualGroups = 64
    /// NGROUPS_MAX of Linux (include/uapi/linux/limits.h).
    private static let mostGroups = 65_536

    /// Reads the credentials of a connected socket's peer (unix(7): SO_PEERCRED, SO_PEERGROUPS).
    init(socket: CInt) throws(IOError) {
        var peer = sallyport_peer()
        guard unsafe sallyport_peer_credentials(socket, &peer) == 0 else {
            throw IOError(errnoCode: errno, reason: "getsockopt SO_PEERCRED")
        }
        var groups = Self.groups(socket: socket, capacity: Self.usualGroups)
        if groups == nil, errno == ERANGE {
            groups = Self.groups(socket: socket, capacity: Self.mostGroups)
        }
        guard let groups else {
            throw IOError(errnoCode: errno, reason: "getsockopt SO_PEERGROUPS")
        }
        self.init(uid: peer.uid, gids: [peer.gid] + groups, pid: peer.pid)
    }

    private static func groups(socket: CInt, capacity: Int) -> [UInt32]? {
        var failed = false
        let groups = unsafe [UInt32](unsafeUninitializedCapacity: capacity) { buffer, count in
            let found = unsafe sallyport_peer_groups(
                socket,
                buffer.baseAddress,
                CInt(buffer.count)
            )
            failed = found < 0
            count = failed ? 0 : Int(found)
        }
        return failed ? nil : groups
    }
}

import Linux
import Policy

/// Which of the agent's sockets a connection came by.
enum Door: Hashable, Sendable {
    /// Where everybody speaks for themselves.
    case people
    /// Where delegates speak for people.
    case delegates
}

/// The process at the other end of a connection, as it was when it connected.
struct Peer: Hashable, Sendable {
    var door: Door
    var credentials: PeerCredentials
    /// What of it can be told only while it runs; nil where it had ended.
    var process: PeerProcess?

    var uid: UInt32 { credentials.uid }
    /// Whether it is root, whom no limit keeps out.
    var isRoot: Bool { uid == 0 && door == .people }

    init(door: Door, credentials: PeerCredentials, process: PeerProcess? = nil) {
        self.door = door
        self.credentials = credentials
        self.process = process
    }

    /// Where its requests come from; `login` is who logged in to its session.
    func origin(login: Origin.Login? = nil) -> Origin {
        .process(
            Origin.Process(pid: credentials.pid, startedAt: process?.startedAt, login: login)
        )
    }

    /// Reads who is at the other end of a socket.
    init(door: Door, socket: CInt) throws(SystemError) {
        let credentials = try PeerCredentials(ofPeerOf: socket)
        self.init(
            door: door,
            credentials: credentials,
            process: PeerProcess(id: credentials.pid, ofPeerOf: socket)
        )
    }
}

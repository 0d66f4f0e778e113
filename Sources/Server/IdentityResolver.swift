import NIOPosix
import Policy
import Synchronization

/// Gives the ids of a peer their names.
///
/// Names come from the system's name service, which may ask a directory server and take seconds;
/// so they are looked up on a thread of their own, once for all requests that wait for the same
/// person, and remembered for a while.
final class IdentityResolver: Sendable {
    /// The names of one user.
    struct Names: Hashable, Sendable {
        var user: String
        var groups: Set<String>
    }

    private struct Ids: Hashable, Sendable {
        var uid: UInt32
        var gids: [UInt32]
    }

    private struct Entry {
        var names: Task<Names?, Never>
        var until: ContinuousClock.Instant
    }

    /// How long names are believed: a renamed group counts within a minute.
    private static let lifetime: Duration = .seconds(60)
    /// Beyond this many people all is forgotten, so that the cache cannot grow.
    private static let capacity = 1024

    private let entries = Mutex<[Ids: Entry]>([:])
    private let executor: LoopExecutor
    private let lookUp: @Sendable (_ uid: UInt32, _ gids: [UInt32]) -> Names?

    init(
        executor: LoopExecutor,
        lookUp: @escaping @Sendable (_ uid: UInt32, _ gids: [UInt32]) -> Names? = NameService.names
    ) {
        self.executor = executor
        self.lookUp = lookUp
    }

    /// The identity of a peer; nil where its uid has no name.
    func identity(of peer: PeerCredentials) async -> Identity? {
        let names = await task(for: Ids(uid: peer.uid, gids: peer.gids)).value
        return names.map {
            Identity(uid: peer.uid, user: $0.user, groups: $0.groups, pid: peer.pid)
        }
    }

    private func task(for ids: Ids) -> Task<Names?, Never> {
        let now = ContinuousClock.now
        return entries.withLock { entries in
            if let entry = entries[ids], entry.until > now { return entry.names }
            let names = Task(executorPreference: executor) { [lookUp] in
                // A pool that was shut down knows nobody: no access.
                try? await NIOThreadPool.singleton.runIfActive { lookUp(ids.uid, ids.gids) }
            }
            if entries.count >= Self.capacity { entries.removeAll() }
            entries[ids] = Entry(names: names, until: now + Self.lifetime)
            return names
        }
    }
}

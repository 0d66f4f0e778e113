import Linux
import NIOPosix
import Policy
import Synchronization

/// Gives the ids of a peer their names.
///
/// Names come from the system's name service, which may ask a directory server and take seconds;
/// so they are looked up on a thread of their own, once for all requests that wait for the same
/// person, and remembered for a while.
final class IdentityResolver: Sendable {
    /// What is looked up.
    enum Question: Hashable, Sendable {
        /// The names of a process' user and groups, and of who logged in to its session.
        case process(uid: UInt32, gids: [UInt32], login: UInt32?)
        /// The groups that a user would have after logging in anew.
        case memberships(uid: UInt32)
    }

    /// The names of one user.
    struct Names: Hashable, Sendable {
        var user: String
        var groups: Set<String>
        /// Who logged in; nil where nobody did.
        var login: String?
    }

    private struct Entry {
        var names: Task<Names?, Never>
        /// What came of it, once somebody has waited for it.
        var known: Names?
        var until: ContinuousClock.Instant
    }

    /// How long names are believed: a renamed group counts within a minute.
    private static let lifetime: Duration = .seconds(60)
    /// Beyond this many people all is forgotten, so that the cache cannot grow.
    private static let capacity = 1024

    private let entries = Mutex<[Question: Entry]>([:])
    private let executor: LoopExecutor
    private let lookUp: @Sendable (Question) -> Names?

    init(
        executor: LoopExecutor,
        lookUp: @escaping @Sendable (Question) -> Names? = IdentityResolver.askNameService
    ) {
        self.executor = executor
        self.lookUp = lookUp
    }

    /// The identity of a peer; nil where its uid has no name.
    func identity(of peer: Peer) async -> Identity? {
        let question = Question(peer)
        guard let names = await task(for: question).value else { return nil }
        entries.withLock { $0[question]?.known = names }
        return identity(of: peer, names)
    }

    /// The identity of a peer for which nobody has to wait: the names were looked up just now.
    func known(_ peer: Peer) -> Identity? {
        let question = Question(peer)
        let names = entries.withLock { entries in
            entries[question].flatMap { $0.until > .now ? $0.known : nil }
        }
        return names.map { identity(of: peer, $0) }
    }

    private func identity(of peer: Peer, _ names: Names) -> Identity {
        Identity(
            subject: .local(uid: peer.uid),
            name: names.user,
            groups: names.groups,
            origin: peer.origin(
                login: peer.process?.loginUID.map {
                    Origin.Login(uid: $0, name: names.login ?? String($0))
                }
            )
        )
    }

    /// The groups that a user would have after logging in anew.
    func memberships(uid: UInt32) async -> Set<String> {
        await task(for: .memberships(uid: uid)).value?.groups ?? []
    }

    private func task(for question: Question) -> Task<Names?, Never> {
        let now = ContinuousClock.now
        return entries.withLock { entries in
            if let entry = entries[question], entry.until > now { return entry.names }
            let names = Task(executorPreference: executor) { [lookUp] in
                // A pool that was shut down knows nobody: no access.
                try? await NIOThreadPool.singleton.runIfActive { lookUp(question) }
            }
            if entries.count >= Self.capacity { entries.removeAll() }
            entries[question] = Entry(names: names, until: now + Self.lifetime)
            return names
        }
    }

    private static func askNameService(_ question: Question) -> Names? {
        switch question {
        case .process(let uid, let gids, let login):
            NameService.user(uid).map {
                Names(
                    user: $0,
                    groups: Set(gids.compactMap(NameService.group)),
                    login: login.flatMap(NameService.user)
                )
            }
        case .memberships(let uid):
            NameService.user(uid).map {
                let groups = NameService.memberships(ofUser: $0)
                return Names(user: $0, groups: Set(groups.compactMap(NameService.group)))
            }
        }
    }
}

extension IdentityResolver.Question {
    fileprivate init(_ peer: Peer) {
        let ids = peer.credentials
        self = .process(uid: ids.uid, gids: ids.gids, login: peer.process?.loginUID)
    }
}

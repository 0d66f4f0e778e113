import NIOCore

/// What the connections of one user share.
final class User {
    /// A user, at one of the doors: who is welcome at one may be a stranger at another.
    struct ID: Hashable {
        var uid: UInt32
        var door: Door
    }

    /// Whether it is known to have a role or to be a delegate.
    fileprivate var isWelcome = false
    fileprivate var open: [ObjectIdentifier: ConnectionGuard] = [:]
    /// The connections that were idle when all were looked at, the longest last.
    private var idle: [(id: ObjectIdentifier, since: NIODeadline)] = []

    fileprivate init() {}

    /// The connection that has been idle longest; nil where all are busy.
    ///
    /// All are looked at only when those found the last time are used up: who became idle since then
    /// has been so for less time.
    fileprivate func longestIdle() -> ConnectionGuard? {
        for _ in 0..<2 {
            while let (id, since) = idle.last {
                if let guardian = open[id], guardian.idleSince == since { return guardian }
                idle.removeLast()
            }
            idle = open.compactMap { id, guardian in guardian.idleSince.map { (id, $0) } }
            idle.sort { $0.since > $1.since }
        }
        return nil
    }
}

/// The open connections, which are limited per user and in total.
///
/// Where a limit is reached, the connection that has been idle longest makes room; so connections
/// that are only held open keep nobody out, neither their own user nor another. Strangers, of whom
/// a single user can make thousands (user_namespaces(7)), have to do with what one user may have,
/// all together, and make room first.
final class Connections {
    /// A connection is refused: as many requests as allowed are being answered.
    struct Refused: Error {}

    /// Strangers that are remembered, beyond which all are forgotten.
    private static let mostStrangers = 65_536

    private let limits: Limits
    private let ended: EventLoopPromise<Void>
    private var users: [User.ID: User] = [:]
    private let strangers = User()
    /// Who was a stranger when last seen.
    private var strangerIDs: Set<User.ID> = []
    /// Connections of all users but root.
    private var count = 0
    /// How often each user has connected since a second began; nil for all strangers.
    private var connects: [User.ID?: Int] = [:]
    private var second = NIODeadline.now()
    private var isStopping = false

    /// Makes an empty table; `ended` succeeds once the last connection has closed after a stop.
    init(limits: Limits, ended: EventLoopPromise<Void>) {
        self.limits = limits
        self.ended = ended
    }

    /// Takes a connection, which may close others.
    func add(_ guardian: ConnectionGuard, closing: EventLoopFuture<Void>) throws {
        if isStopping { throw Refused() }
        let id = guardian.userID
        let user = strangerIDs.contains(id) ? strangers : users[id] ?? User()
        if user.open.count >= limits.connectionsPerUser { try closeLongestIdle(of: user) }
        if !guardian.peer.isRoot, count >= limits.connections { try makeRoom(for: user) }
        if user !== strangers { users[id] = user }
        enter(guardian, user)
        if !guardian.peer.isRoot { count += 1 }
        closing.assumeIsolated().whenComplete { _ in self.remove(guardian) }
    }

    /// Takes note of whether who holds a connection may do anything here.
    func settle(_ guardian: ConnectionGuard, isWelcome: Bool) {
        guard let user = guardian.user, !guardian.peer.isRoot, !(isWelcome && user.isWelcome)
        else { return }
        let id = guardian.userID
        if isWelcome {
            strangerIDs.remove(id)
            let own = user === strangers ? users[id] ?? User() : user
            own.isWelcome = true
            users[id] = own
            if own !== user { move(guardian, to: own) }
        } else {
            if strangerIDs.count >= Self.mostStrangers { strangerIDs.removeAll() }
            strangerIDs.insert(id)
            guard user !== strangers else { return }
            users[id] = nil
            for guardian in user.open.values { move(guardian, to: strangers) }
            while strangers.open.count > limits.connectionsPerUser,
                (try? closeLongestIdle(of: strangers)) != nil
            {}
        }
    }

    /// Whether a user may connect once more in this second.
    func admits(_ id: User.ID) -> Bool {
        if id == User.ID(uid: 0, door: .people) { return true }
        let now = NIODeadline.now()
        if now - second >= .seconds(1) {
            second = now
            connects.removeAll(keepingCapacity: true)
        }
        let key = strangerIDs.contains(id) ? nil : id
        connects[key, default: 0] += 1
        return connects[key, default: 0] <= limits.connectsPerSecond
    }

    /// Closes idle connections now, the others after their answer or when the time is over.
    func stop(within timeout: TimeAmount, on eventLoop: any EventLoop) {
        if isStopping { return }
        isStopping = true
        if all.isEmpty { return ended.succeed() }
        for guardian in all { guardian.stop() }
        let timer = eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            for guardian in self.all { guardian.close() }
        }
        ended.futureResult.whenComplete { _ in timer.cancel() }
    }

    private var all: [ConnectionGuard] {
        users.values.flatMap(\.open.values) + strangers.open.values
    }

    /// Makes room for a user's next connection: strangers first, then those of whom nothing is
    /// known yet, then whoever has the most and so can spare one.
    private func makeRoom(for newcomer: User) throws {
        if (try? closeLongestIdle(of: strangers)) != nil { return }
        guard newcomer !== strangers else { throw Refused() }
        for isWelcome in [false, true] {
            let most = users.lazy
                .filter { $0.key != User.ID(uid: 0, door: .people) }
                .filter { $0.value.isWelcome == isWelcome }
                .max { $0.value.open.count < $1.value.open.count }
            if let most, (try? closeLongestIdle(of: most.value)) != nil { return }
        }
        throw Refused()
    }

    private func closeLongestIdle(of user: User) throws {
        guard let guardian = user.longestIdle() else { throw Refused() }
        // Its place is free at once, though its socket closes a moment later.
        remove(guardian)
        guardian.close()
    }

    private func enter(_ guardian: ConnectionGuard, _ user: User) {
        user.open[ObjectIdentifier(guardian)] = guardian
        guardian.user = user
    }

    private func move(_ guardian: ConnectionGuard, to user: User) {
        guardian.user?.open[ObjectIdentifier(guardian)] = nil
        enter(guardian, user)
    }

    private func remove(_ guardian: ConnectionGuard) {
        guard let user = guardian.user else { return }
        guardian.user = nil
        user.open[ObjectIdentifier(guardian)] = nil
        if !guardian.peer.isRoot { count -= 1 }
        if user.open.isEmpty, user !== strangers { users[guardian.userID] = nil }
        if isStopping, all.isEmpty { ended.succeed() }
    }
}

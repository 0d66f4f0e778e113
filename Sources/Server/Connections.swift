import NIOCore

/// The open connections, which are limited per user and in total.
///
/// Where a limit is reached, the connection that has been idle longest makes room; so connections
/// that are only held open keep nobody out, neither their own user nor another.
final class Connections {
    /// A connection is refused: as many requests as allowed are being answered.
    struct Refused: Error {}

    private let limits: Limits
    private let ended: EventLoopPromise<Void>
    private var users: [UInt32: User] = [:]
    /// Connections of all users but root.
    private var count = 0
    /// How often each user has connected since a second began.
    private var connects: [UInt32: Int] = [:]
    private var second = NIODeadline.now()
    private var isStopping = false

    /// Makes an empty table; `ended` succeeds once the last connection has closed after a stop.
    init(limits: Limits, ended: EventLoopPromise<Void>) {
        self.limits = limits
        self.ended = ended
    }

    /// Takes a connection, which may close others; answers its guard.
    func add(
        of uid: UInt32,
        turns: Turns,
        closing: EventLoopFuture<Void>
    ) throws -> ConnectionGuard {
        if isStopping { throw Refused() }
        if let user = users[uid], user.open.count >= limits.connectionsPerUser {
            try closeLongestIdle(of: user)
        }
        if uid != 0, count >= limits.connections {
            // Whoever has the most can spare one.
            let others = users.values.filter { $0.uid != 0 }
            guard let user = others.max(by: { $0.open.count < $1.open.count }) else {
                throw Refused()
            }
            try closeLongestIdle(of: user)
        }
        let user = users[uid] ?? User(uid: uid, requestLimit: limits.requestsPerUser)
        users[uid] = user
        let guardian = ConnectionGuard(limits, user: user, turns: turns)
        user.open[ObjectIdentifier(guardian)] = guardian
        if uid != 0 { count += 1 }
        closing.assumeIsolated().whenComplete { _ in self.remove(guardian) }
        return guardian
    }

    /// Whether a user may connect once more in this second.
    func admits(_ uid: UInt32) -> Bool {
        if uid == 0 { return true }
        let now = NIODeadline.now()
        if now - second >= .seconds(1) {
            second = now
            connects.removeAll(keepingCapacity: true)
        }
        connects[uid, default: 0] += 1
        return connects[uid, default: 0] <= limits.connectsPerSecond
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

    private var all: [ConnectionGuard] { users.values.flatMap(\.open.values) }

    private func closeLongestIdle(of user: User) throws {
        let longest = user.open.values.lazy
            .compactMap { guardian in guardian.idleSince.map { (guardian, since: $0) } }
            .min { $0.since < $1.since }
        guard let (guardian, _) = longest else { throw Refused() }
        // Its place is free at once, though its socket closes a moment later.
        remove(guardian)
        guardian.close()
    }

    private func remove(_ guardian: ConnectionGuard) {
        let user = guardian.user
        guard user.open.removeValue(forKey: ObjectIdentifier(guardian)) != nil else { return }
        if user.uid != 0 { count -= 1 }
        // Requests in work still count against their user.
        if user.open.isEmpty, user.inWork == 0 { users[user.uid] = nil }
        if isStopping, all.isEmpty { ended.succeed() }
    }
}

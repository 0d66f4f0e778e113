import NIOCore

/// The open connections, which are limited per user and in total.
///
/// Where a limit is reached, the connection that has been idle longest makes room; so connections
/// that are only held open keep nobody out, neither their own user nor another.
final class Connections {
    /// A connection is refused: as many requests as allowed are being answered.
    struct Refused: Error {}

    private struct Connection {
        var guardian: ConnectionGuard
        var uid: UInt32
    }

    private let limits: Limits
    private let ended: EventLoopPromise<Void>
    private var open: [ObjectIdentifier: Connection] = [:]
    private var count: [UInt32: Int] = [:]
    private var isStopping = false

    /// Makes an empty table; `ended` succeeds once the last connection has closed after a stop.
    init(limits: Limits, ended: EventLoopPromise<Void>) {
        self.limits = limits
        self.ended = ended
    }

    /// Takes a connection, which may close others.
    func add(_ guardian: ConnectionGuard, of uid: UInt32, closing: EventLoopFuture<Void>) throws {
        if isStopping { throw Refused() }
        if count[uid, default: 0] >= limits.connectionsPerUser {
            try closeLongestIdle { $0 == uid }
        }
        if uid != 0, open.count - count[0, default: 0] >= limits.connections {
            try closeLongestIdle { $0 != 0 }
        }
        let id = ObjectIdentifier(guardian)
        open[id] = Connection(guardian: guardian, uid: uid)
        count[uid, default: 0] += 1
        closing.assumeIsolated().whenComplete { _ in self.remove(id) }
    }

    /// Closes idle connections now, the others after their answer or when the time is over.
    func stop(within timeout: TimeAmount, on eventLoop: any EventLoop) {
        if isStopping { return }
        isStopping = true
        if open.isEmpty { return ended.succeed() }
        for connection in open.values { connection.guardian.stop() }
        let timer = eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            for connection in self.open.values { connection.guardian.close() }
        }
        ended.futureResult.whenComplete { _ in timer.cancel() }
    }

    private func closeLongestIdle(ofUser matches: (UInt32) -> Bool) throws {
        let idle = open.values.filter { matches($0.uid) && $0.guardian.idleSince != nil }
        let longest = idle.min {
            ($0.guardian.idleSince ?? .distantFuture) < ($1.guardian.idleSince ?? .distantFuture)
        }
        guard let longest else { throw Refused() }
        // Its place is free at once, though its socket closes a moment later.
        remove(ObjectIdentifier(longest.guardian))
        longest.guardian.close()
    }

    private func remove(_ id: ObjectIdentifier) {
        guard let connection = open.removeValue(forKey: id) else { return }
        count[connection.uid, default: 0] -= 1
        if count[connection.uid] == 0 { count[connection.uid] = nil }
        if isStopping, open.isEmpty { ended.succeed() }
    }
}

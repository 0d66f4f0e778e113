import Gate
import Policy

/// Tells the audit trail of tampering: of the first time at once, of a storm of it all together.
struct TamperingStorm {
    /// How long it has to be quiet for a storm to be over.
    static let calm = Duration.seconds(5)
    /// How long a storm is told of at the latest.
    private static let longest = Duration.seconds(60)

    private struct Untold {
        var commits = 0
        var last = ""
        var since: BootTime
        var lastAt: BootTime
    }

    private var untold: Untold?

    /// Notes that the gate was tampered with.
    ///
    /// - Returns: Whether it is told at once; else ``summary(at:)`` will be asked for it.
    mutating func note(_ text: String, commits: Int, at now: BootTime) -> Bool {
        guard untold != nil else {
            untold = Untold(since: now, lastAt: now)
            return true
        }
        untold?.commits += commits
        untold?.last = text
        untold?.lastAt = now
        return false
    }

    /// Whether a storm goes on.
    var isOn: Bool { untold != nil }

    /// What was not told yet, where it is quiet now or the storm lasts long.
    mutating func summary(at now: BootTime) -> String? {
        guard let storm = untold,
            now - storm.lastAt >= Self.calm || now - storm.since >= Self.longest
        else { return nil }
        untold = now - storm.lastAt >= Self.calm ? nil : Untold(since: now, lastAt: storm.lastAt)
        guard storm.commits > 0 else { return nil }
        let time = (storm.lastAt - storm.since).compactDescription
        return "\(counted(storm.commits, "more time", "more times")) in \(time), the last: "
            + storm.last
    }
}

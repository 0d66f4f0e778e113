import Linux
import Policy

/// How instants are told to people: local, and relative to now.
struct TimeTeller: Sendable {
    var now: Timestamp
    var local: @Sendable (Timestamp) -> LocalTime

    /// `17:03`, or `2026-12-02 01:03` on another day than today.
    func clock(_ instant: Timestamp) -> String {
        let then = local(instant)
        let today = local(now)
        let time = twoDigits(then.hour) + ":" + twoDigits(then.minute)
        if (then.year, then.month, then.day) == (today.year, today.month, today.day) { return time }
        return "\(then.year)-\(twoDigits(then.month))-\(twoDigits(then.day)) \(time)"
    }

    /// `in 42m`, `3h5m ago` or `now`; no finer than two units, nor than a minute from one on.
    func relative(_ instant: Timestamp) -> String {
        // To the nearest second, so that what was opened for 45m just now does not end "in 44m".
        let seconds = Int64((Double(instant.milliseconds - now.milliseconds) / 1000).rounded())
        guard seconds != 0 else { return "now" }
        let length = coarse(seconds.magnitude)
        return seconds > 0 ? "in \(length)" : "\(length) ago"
    }

    /// `17:03 (in 42m)`.
    func both(_ instant: Timestamp) -> String { "\(clock(instant)) (\(relative(instant)))" }
}

private func coarse(_ seconds: UInt64) -> String {
    let unit: UInt64 =
        switch seconds {
        case 86_400...: 3600
        case 60...: 60
        default: 1
        }
    return Duration.seconds(Int64(seconds / unit * unit)).compactDescription
}

private func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

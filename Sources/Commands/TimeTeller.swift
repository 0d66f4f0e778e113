import Linux
import Policy

/// How instants are told to people: local, and relative to now.
struct TimeTeller: Sendable {
    var now: Timestamp
    var local: @Sendable (Timestamp) -> LocalTime

    /// `17:03`, `tomorrow 01:03`, or `2026-12-03 01:03` on another day.
    func clock(_ instant: Timestamp) -> String { clock(instant, after: "") }

    /// `at 17:03 (in 42m)`, `tomorrow at 01:03 (in 8h)`: when something begins.
    func start(_ instant: Timestamp) -> String {
        "\(clock(instant, after: "at ")) (\(relative(instant)))"
    }

    private func clock(_ instant: Timestamp, after word: String) -> String {
        let then = local(instant)
        let days: [(name: String, hours: Int)] = [("", 0), ("tomorrow ", 24), ("yesterday ", -24)]
        let near = days.first { local(now + .seconds($0.hours * 3600)).date == then.date }
        guard let near else { return "\(then.date) \(word)\(then.time)" }
        return near.name + word + then.time
    }

    /// `2026-12-02 01:03:07`: as exact as a log is.
    func exact(_ instant: Timestamp) -> String {
        let then = local(instant)
        // Zones are whole minutes away from UTC.
        let second = twoDigits(Int(instant.milliseconds / 1000 % 60))
        return "\(then.date) \(then.time):\(second)"
    }

    /// `12-02 01:03:07`: the same without the year.
    func exactBrief(_ instant: Timestamp) -> String { String(exact(instant).dropFirst(5)) }

    /// When it is `17:00` next, today or tomorrow; nil for what is no time of day.
    func next(_ text: String) -> Timestamp? { instant(text, isAhead: true) }

    /// When it was `17:00` last, today or yesterday; nil for what is no time of day.
    func last(_ text: String) -> Timestamp? { instant(text, isAhead: false) }

    private func instant(_ text: String, isAhead: Bool) -> Timestamp? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...2).contains(parts[0].count), parts[1].count == 2,
            // Int takes a sign, too.
            parts.joined().allSatisfy({ "0123456789".contains($0) }),
            let hour = Int(parts[0]), hour < 24,
            let minute = Int(parts[1]), minute < 60
        else { return nil }
        let today = local(now)
        var minutes = hour * 60 + minute - (today.hour * 60 + today.minute)
        if isAhead, minutes <= 0 { minutes += 24 * 60 }
        if !isAhead, minutes > 0 { minutes -= 24 * 60 }
        let start = Timestamp(milliseconds: now.milliseconds / 60_000 * 60_000)
        let guess = start + .seconds(minutes * 60)
        // Between here and there clocks may go forward or back.
        let shown = local(guess)
        var error = hour * 60 + minute - (shown.hour * 60 + shown.minute)
        if error > 12 * 60 { error -= 24 * 60 }
        if error < -12 * 60 { error += 24 * 60 }
        return guess + .seconds(error * 60)
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

extension LocalTime {
    fileprivate var date: String { "\(year)-\(twoDigits(month))-\(twoDigits(day))" }
    fileprivate var time: String { twoDigits(hour) + ":" + twoDigits(minute) }
}

private func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

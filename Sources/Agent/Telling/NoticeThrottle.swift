import Policy

/// Lets so many notices of a kind about one person through in a minute, and counts the others:
/// somebody who asks in a loop must neither fill the disk nor make others wait for it.
struct NoticeThrottle {
    /// By whose count there may be too many.
    enum Crowd: Hashable {
        case agent
        case person(Subject)
        /// Whom nobody knows, and of whom there may be thousands, count as one; so do all whom a
        /// delegate describes.
        case strangers
        case delegate(String)
    }

    private struct Likeness: Hashable {
        let kind: AuditKind
        let crowd: Crowd
    }

    /// More than a person runs into by hand.
    private static let perMinute = 10

    private var minute: Int64 = 0
    private var counts: [Likeness: Int] = [:]
    /// Those left out since the last one that was let through.
    private var missed: [Likeness: Int] = [:]

    /// The notice as it is to be recorded; nil where it is only counted, by the count of the crowd
    /// or, where that is nil, of who did it.
    mutating func admit(
        _ notice: Notice,
        of crowd: Crowd? = nil,
        at now: BootTime
    ) -> Notice? {
        let own = notice.by.map { Crowd.person($0.subject) } ?? .agent
        let likeness = Likeness(kind: notice.kind, crowd: crowd ?? own)
        if now.milliseconds / 60_000 != minute {
            minute = now.milliseconds / 60_000
            counts = [:]
        }
        counts[likeness, default: 0] += 1
        guard counts[likeness, default: 0] <= Self.perMinute else {
            missed[likeness, default: 0] += 1
            return nil
        }
        guard let left = missed.removeValue(forKey: likeness) else { return notice }
        var notice = notice
        notice.detail =
            [notice.detail, "\(left) more like it were not recorded"]
            .compactMap(\.self).joined(separator: "; ")
        return notice
    }
}

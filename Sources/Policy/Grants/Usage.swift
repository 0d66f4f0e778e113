/// How often each policy was used in the last seven days, by whom, and when last.
///
/// Kept in memory, so that telling it does not read what was opened again: four bytes for each
/// request and policy.
public struct Usage: Sendable {
    /// How far back it goes.
    fileprivate static let window: UInt32 = 7 * 24 * 3_600

    /// The instant from which on what was opened counts.
    public static func start(at now: Timestamp) -> Timestamp {
        now + .seconds(-Int64(window))
    }

    /// How much a policy was used.
    public struct Figures: Hashable, Sendable {
        /// Requests that opened.
        public var requests: Int
        /// The number of the one that opened last.
        public var newest: Int64
    }

    private var entries: [String: [Subject: Entry]] = [:]

    /// Nothing was used.
    public init() {}

    /// Takes note of what happened; only what opened counts.
    public mutating func note(_ events: [Event]) {
        for case .opened(let request) in events {
            for (index, grant) in request.grants.enumerated()
            where !request.grants[..<index].contains(where: { $0.policy == grant.policy }) {
                noteOpening(
                    of: request.id,
                    under: grant.policy,
                    by: request.requester.subject,
                    at: grant.startsAt
                )
            }
        }
    }

    /// Takes note of a request that opened; once for each of its policies.
    public mutating func noteOpening(
        of request: Int64,
        under policy: String,
        by subject: Subject,
        at instant: Timestamp
    ) {
        entries[policy, default: [:]][subject, default: Entry()].note(request, at: instant.second)
    }

    /// Adds what was noted elsewhere of an earlier time.
    public mutating func add(earlier: Usage) {
        for (policy, people) in earlier.entries {
            entries[policy, default: [:]].merge(people) { own, earlier in
                let isNewer = (own.seconds.last ?? 0) >= (earlier.seconds.last ?? 0)
                // In order already, but where the clock was set back.
                return Entry(
                    seconds: (earlier.seconds + own.seconds).sorted(),
                    newest: isNewer ? own.newest : earlier.newest
                )
            }
        }
    }

    /// How much a policy was used in the seven days before now, by somebody or (nil) by all; nil
    /// where it was not.
    ///
    /// What is older is forgotten on the way.
    public mutating func figures(
        of policy: String,
        by subject: Subject? = nil,
        at now: Timestamp
    ) -> Figures? {
        guard var people = entries.removeValue(forKey: policy) else { return nil }
        let start = Self.start(at: now).second
        for person in people.keys { people[person]?.forget(before: start) }
        people = people.filter { !$0.value.seconds.isEmpty }
        if !people.isEmpty { entries[policy] = people }
        let counted = people.filter { subject == nil || $0.key == subject }.values
        let last = counted.max {
            ($0.seconds.last ?? 0, $0.newest) < ($1.seconds.last ?? 0, $1.newest)
        }
        return last.map {
            Figures(requests: counted.reduce(0) { $0 + $1.seconds.count }, newest: $0.newest)
        }
    }
}

/// What one person opened under one policy.
private struct Entry {
    /// When, in seconds since 1970 (until 2106), the first one first.
    var seconds: [UInt32] = []
    /// The request that opened last.
    var newest: Int64 = 0

    mutating func note(_ request: Int64, at second: UInt32) {
        guard let last = seconds.last, second < last else {
            newest = request
            // What is too old makes room before more is taken.
            if seconds.count == seconds.capacity {
                forget(before: second - min(second, Usage.window))
            }
            return seconds.append(second)
        }
        // It waited longer than one that opened before, or the clock was set back.
        let before = seconds.lastIndex { $0 <= second }
        seconds.insert(second, at: before.map { $0 + 1 } ?? 0)
    }

    mutating func forget(before start: UInt32) {
        guard let first = seconds.first, first < start else { return }
        seconds.removeFirst(seconds.firstIndex { $0 >= start } ?? seconds.count)
    }
}

extension Timestamp {
    fileprivate var second: UInt32 { UInt32(clamping: milliseconds / 1000) }
}

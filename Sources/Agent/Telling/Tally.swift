import Policy

/// What the agent has counted since it started, for its metrics.
struct Tally {
    /// What became of a request for access when it was asked.
    enum Outcome: String, CaseIterable {
        /// It opened at once.
        case opened
        /// It waits for others to agree, or for its start.
        case waiting
        /// Policy or a limit refused it.
        case refused
        /// The kernel refused it.
        case failed
        /// The ledger took nothing.
        case unrecorded
    }

    private(set) var requests: [Outcome: UInt64] = [:]
    /// What became of requests that had waited: opened, denied, cancelled, lapsed, failed.
    private(set) var waited: [RequestState: UInt64] = [:]
    private(set) var openedGrants: UInt64 = 0
    private(set) var extendedGrants: UInt64 = 0
    private(set) var endedGrants: [EndReason: UInt64] = [:]
    /// Notices by what they tell, those that were too many to be recorded included.
    private(set) var notices: [AuditKind: UInt64] = [:]
    /// Calls that were refused before any use case was asked.
    private(set) var refusedCallers: UInt64 = 0
    private(set) var openings = Histogram()

    /// Takes note of what happened, once it is in force.
    mutating func note(_ events: [Event]) {
        for event in events {
            switch event {
            case .asked: requests[.waiting, default: 0] += 1
            case .opened(let request):
                openedGrants += UInt64(request.grants.count)
                if request.wait == nil {
                    requests[.opened, default: 0] += 1
                } else {
                    waited[.active, default: 0] += 1
                }
            case .concluded(_, let state, _, _, _): waited[state, default: 0] += 1
            case .ended(_, let reason, _, _, _): endedGrants[reason, default: 0] += 1
            case .extended: extendedGrants += 1
            case .approved, .takenBack, .shortened, .used, .carriedOver, .noted: break
            }
        }
    }

    /// Takes note of requests for access that came to nothing though policy allowed them.
    mutating func note(_ events: [Event], cameTo outcome: Outcome) {
        for event in events {
            switch event {
            case .asked: requests[outcome, default: 0] += 1
            case .opened(let request) where request.wait == nil:
                requests[outcome, default: 0] += 1
            default: break
            }
        }
    }

    /// Takes note of a request for access that was refused.
    mutating func noteRefusal() { requests[.refused, default: 0] += 1 }

    mutating func noteRefusedCaller() { refusedCallers += 1 }

    mutating func note(_ notice: Notice) { notices[notice.kind, default: 0] += 1 }

    /// Takes note of how long a request waited until it was open.
    mutating func noteOpening(within time: Duration) { openings.observe(time) }
}

/// How often something took how long.
struct Histogram {
    /// Microseconds that the buckets go up to; the last takes the rest.
    static let bounds: [Int64] = [
        250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 2_500_000,
    ]

    private(set) var counts = [UInt64](repeating: 0, count: bounds.count + 1)
    /// Microseconds.
    private(set) var sum: Int64 = 0

    mutating func observe(_ time: Duration) {
        let (seconds, attoseconds) = time.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        sum += microseconds
        counts[Self.bounds.firstIndex { microseconds <= $0 } ?? Self.bounds.count] += 1
    }
}

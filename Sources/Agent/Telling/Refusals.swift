public import Policy
import Synchronization

/// What the gate refused, as it is heard of, on whatever thread.
public final class Refusals: Sendable {
    /// Why nothing can be heard; nil where it can.
    public let fault: String?
    private let book = Mutex(RefusedBook())

    /// An empty list; `fault` says why it stays so.
    public init(fault: String? = nil) { self.fault = fault }

    /// Takes note of attempts; answers whether the audit trail is to be told.
    public func note(_ attempts: [RefusedAttempt], at now: Moment) -> Bool {
        book.withLock { book in
            for attempt in attempts { book.note(attempt, at: now) }
            return !attempts.isEmpty && book.isRoundDue(at: now.boot)
        }
    }

    /// How many were noted.
    var count: UInt64 { book.withLock(\.count) }

    func attempts(since instant: Timestamp?) -> [RefusedAttempts] {
        book.withLock { $0.attempts(since: instant) }
    }

    /// What the audit trail is to be told now, and how much is left out.
    func takeNews(
        at now: BootTime
    ) -> (news: [RefusedAttempts], left: (sources: Int, attempts: UInt64)) {
        book.withLock { book in
            var told = book
            let news = told.takeNews(at: now)
            guard book.isRoundDue(at: now), !news.news.isEmpty else {
                return (news: [], left: (sources: 0, attempts: 0))
            }
            book = told
            return news
        }
    }
}

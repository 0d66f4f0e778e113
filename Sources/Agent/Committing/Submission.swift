import API
import Policy

/// What a use case does, and what it answers once that is done.
struct Submission<Answer: Sendable>: Sendable {
    var events: [Event]
    /// Makes the answer; called while the disk is at work.
    ///
    /// Nil for what is postponed.
    ///
    /// A problem that it throws is a refusal, and the answer whatever becomes of the events.
    var answer: (@Sendable () throws -> Answer)?

    init(events: [Event], answer: @escaping @Sendable () throws -> Answer) {
        self.events = events
        self.answer = answer
    }

    private init() { events = [] }

    /// To be decided again in the next commit, since it depends on what becomes of this one.
    static var postponed: Self { Self() }
}

/// What becomes of a change that somebody waits for.
enum Verdict {
    case happens([Event])
    /// It is decided in the next commit.
    case postponed
    /// Nothing happens, and the answer is a refusal.
    case refused
}

/// Somebody who waits for a change.
protocol Pending {
    /// Since when.
    var since: ContinuousClock.Instant { get }
    /// What happens.
    func decide(in committer: isolated Committer, at now: Moment) -> Verdict
    /// Makes the answer.
    func render()
    /// Gives the answer, or says why all was in vain.
    func finish(_ failure: Problem?)
}

/// Somebody whose submission waits for its turn.
///
/// Not generic: a type that is made while the program runs, and looked up at each use, took a
/// twentieth of the time of a request.
final class Waiter: Pending {
    /// Gives the answer, or says why all was in vain.
    typealias Give = @Sendable (Problem?) -> Void
    /// Works out what happens, and how the answer is made; no answer for what is postponed.
    typealias Decide =
        @Sendable (isolated Committer, Moment) throws(Problem)
        -> (events: [Event], answer: (@Sendable () -> Give)?)

    let since = ContinuousClock.now
    private let decide: Decide
    private let refuse: @Sendable (Problem) -> Void
    private var answer: (@Sendable () -> Give)?
    private var give: Give?

    init(_ decide: @escaping Decide, refuse: @escaping @Sendable (Problem) -> Void) {
        self.decide = decide
        self.refuse = refuse
    }

    func decide(in committer: isolated Committer, at now: Moment) -> Verdict {
        do throws(Problem) {
            let decided = try decide(committer, now)
            (answer, give) = (decided.answer, nil)
            return answer == nil ? .postponed : .happens(decided.events)
        } catch {
            give = { [refuse] _ in refuse(error) }
            return .refused
        }
    }

    func render() {
        guard give == nil else { return }
        give = answer?()
    }

    func finish(_ failure: Problem?) {
        render()
        if let give { give(failure) } else if let failure { refuse(failure) }
    }
}

extension Submission {
    /// Makes the answer, once it is asked for, and gives it.
    func giving(
        _ reply: @escaping @Sendable (Result<Answer, any Error>) -> Void
    ) -> (@Sendable () -> Waiter.Give)? {
        guard let answer else { return nil }
        return {
            let rendered = Result { try answer() }
            return { failure in
                if let failure, case .success = rendered {
                    reply(.failure(failure))
                } else {
                    reply(rendered)
                }
            }
        }
    }
}

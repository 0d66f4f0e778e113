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

final class Waiter<Answer: Sendable>: Pending {
    typealias Decide = @Sendable (isolated Committer, Moment) throws(Problem) -> Submission<Answer>

    let since = ContinuousClock.now
    private let decide: Decide
    private let reply: @Sendable (Result<Answer, any Error>) -> Void
    private var answer: (@Sendable () throws -> Answer)?
    private var rendered: Result<Answer, any Error>?

    init(
        _ decide: @escaping Decide,
        _ reply: @escaping @Sendable (Result<Answer, any Error>) -> Void
    ) {
        self.decide = decide
        self.reply = reply
    }

    func decide(in committer: isolated Committer, at now: Moment) -> Verdict {
        do throws(Problem) {
            let submission = try decide(committer, now)
            (answer, rendered) = (submission.answer, nil)
            return answer == nil ? .postponed : .happens(submission.events)
        } catch {
            rendered = .failure(error)
            return .refused
        }
    }

    func render() {
        guard rendered == nil, let answer else { return }
        rendered = Result { try answer() }
    }

    func finish(_ failure: Problem?) {
        render()
        switch (failure, rendered) {
        case (let failure?, .success), (let failure?, nil): reply(.failure(failure))
        case (_, let rendered?): reply(rendered)
        case (nil, nil): break
        }
    }
}

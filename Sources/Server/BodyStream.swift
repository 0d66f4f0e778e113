import NIOCore

/// A body that is made while it is sent.
struct BodyStream: Sendable {
    /// What stands before the first part.
    var start: [UInt8] = []
    /// The next part is made when the client has taken the one before; an empty one is not sent.
    var parts: any AsyncSequence<[UInt8], any Error> & Sendable
    /// Whether it goes on until somebody ends it: then it is no request in work.
    var isEndless = false
}

/// Sends a body part by part, no faster than the client reads; all on the event loop.
final class BodySender {
    private let stream: BodyStream
    private let executor: LoopExecutor
    private var task: Task<Void, Never>?
    /// The task, while the client has to read.
    private var paused: CheckedContinuation<Void, Never>?

    init(_ stream: BodyStream, on executor: LoopExecutor) {
        self.stream = stream
        self.executor = executor
    }

    /// Whether the client has to read before more is sent.
    var isPaused: Bool { paused != nil }
    var isEndless: Bool { stream.isEndless }

    /// Begins.
    ///
    /// - Parameters:
    ///   - send: sends a part; answers whether the next one may follow at once.
    ///   - onEnd: is told in the end why the body is not whole; nil where it is.
    func start(
        send: @escaping ([UInt8]) -> Bool,
        onEnd: @escaping ((any Error)?) -> Void
    ) {
        let (stream, loop) = (stream, executor.eventLoop)
        let bound = NIOLoopBound((sender: self, send: send, onEnd: onEnd), eventLoop: loop)
        task = Task(executorPreference: executor) {
            var failure: (any Error)?
            do {
                if !stream.start.isEmpty { await bound.value.sender.pass(stream.start, bound) }
                for try await part in stream.parts where !part.isEmpty {
                    await bound.value.sender.pass(part, bound)
                    if Task.isCancelled { break }
                }
            } catch {
                if !Task.isCancelled { failure = error }
            }
            bound.value.onEnd(failure)
        }
    }

    private typealias Bound = NIOLoopBound<
        (sender: BodySender, send: ([UInt8]) -> Bool, onEnd: ((any Error)?) -> Void)
    >

    private func pass(_ part: [UInt8], _ bound: Bound) async {
        // Who has ended it already does not wake it up again.
        guard !bound.value.send(part), !Task.isCancelled else { return }
        await withCheckedContinuation { paused = $0 }
    }

    /// Goes on: the client has read.
    func goOn() {
        paused?.resume()
        paused = nil
    }

    /// Ends the body where it is, as if it were whole.
    func cancel() {
        task?.cancel()
        goOn()
    }
}

import API
import Access
import NIOHTTP1
import Policy

extension Call {
    /// The header `Last-Event-ID`: the number of the last event the client knows.
    func lastEventID() throws(Problem) -> Int64? {
        guard let text = headers["last-event-id"].last, !text.isEmpty else { return nil }
        guard let id = Int64(text), id >= 0 else {
            throw Problem(
                .badRequest,
                "cannot read header Last-Event-ID: it is the id of an event, a number"
            )
        }
        return id
    }
}

extension Answer {
    /// Events as they happen.
    static func events(_ events: some AsyncSequence<[StreamedEvent], any Error> & Sendable)
        -> Answer
    {
        let parts = events.map { $0.flatMap(\.lines) }
        var answer = Answer(
            contentType: "text/event-stream",
            stream: BodyStream(
                start: Array("retry: 1000\n\n".utf8),
                parts: parts,
                isEndless: true
            )
        )
        answer.fields = [("cache-control", "no-store")]
        return answer
    }
}

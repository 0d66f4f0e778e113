import API
import Access
import Policy
import ServiceLifecycle
import Testing
import TestSupport

@testable import Server

/// `GET /v1/events`.
@Suite(.blocking) struct EventTests {
    private static let request =
        "GET /v1/events HTTP/1.1\r\nhost: sallyport\r\nlast-event-id: 16\r\n\r\n"

    /// Nothing ever happens.
    private static let quiet = { @Sendable () -> StreamedEvents in
        AsyncThrowingStream<[StreamedEvent], any Error> { _ in }
    }

    @Test func sendsEventsAsTheyHappen() async throws {
        let (events, feed) = AsyncThrowingStream.makeStream(of: [StreamedEvent].self)
        let service = RecordingService(events: { events })
        let text = try await withServer(service) { server in
            let connection = try server.connect()
            connection.send(Self.request.replacing("host", with: "connection: close\r\nhost"))
            feed.yield([StreamedEvent(Samples.auditRow), .stillThere])
            feed.yield([StreamedEvent(Samples.ending)])
            feed.finish()
            #expect(try connection.answer()?.headers["content-type"] == "text/event-stream")
            return try connection.readToEnd()
        }
        #expect(service.asked == [.events(after: 16)])
        let parts = text.split(separator: "\r\n").filter { Int($0, radix: 16) == nil }
        #expect(parts.first == "retry: 1000\n\n")
        let row = String(decoding: JSONWriter.text(of: Samples.auditRow), as: UTF8.self)
        #expect(parts[1] == "id: 17\nevent: ended\ndata: \(row)\n\n:\n\n")
        let ending = String(decoding: JSONWriter.text(of: Samples.ending), as: UTF8.self)
        #expect(parts[2] == "event: ending-soon\ndata: \(ending)\n\n")
        #expect(text.hasSuffix("\r\n0\r\n\r\n"))
    }

    @Test func aStopEndsTheStream() async throws {
        let text = try await withServer(RecordingService(events: Self.quiet)) { server in
            let connection = try server.connect()
            connection.send(Self.request)
            _ = try connection.answer()
            await server.group.triggerGracefulShutdown()
            return try connection.readToEnd()
        }
        #expect(text.hasSuffix("\r\n0\r\n\r\n"))
    }

    /// Somebody who listens is still answered, as often as anybody.
    @Test func aListenerTakesNobodysTurn() async throws {
        var limits = Limits()
        limits.requestsPerUser = 1
        try await withServer(RecordingService(events: Self.quiet), limits: limits) { server in
            let listeners = try (0..<8).map { _ in try server.connect() }
            for listener in listeners {
                listener.send(Self.request)
                #expect(try listener.answer()?.status == 200)
            }
            #expect(try server.connect().ask(get("/v1/status")).status == 200)
        }
    }

    @Test(arguments: ["x", "-1", "1.5", "9223372036854775808"])
    func refusesAnIdThatIsNone(id: String) async throws {
        let answer = try await withServer { server in
            try server.connect().ask(
                "GET /v1/events HTTP/1.1\r\nhost: s\r\nlast-event-id: \(id)\r\n\r\n"
            )
        }
        #expect(answer.status == 400 && answer.body.contains("Last-Event-ID"))
    }
}

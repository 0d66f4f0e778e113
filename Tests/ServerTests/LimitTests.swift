import API
import Access
import FoundationEssentials
import Glibc
import Server
import Synchronization
import Testing
import TestSupport

private let status = get("/v1/status")

/// What an answer with a problem says.
func problem(_ answer: RawConnection.Answer?) throws -> Problem {
    let answer = try #require(answer)
    #expect(answer.headers["content-type"] == "application/problem+json")
    let problem = try JSONDecoder().decode(Problem.self, from: Data(answer.body.utf8))
    #expect(problem.status == answer.status)
    return problem
}

@Suite(.blocking) struct LimitTests {
    /// The head of a change, but for its length.
    private static let head = """
        PUT /v1/policies/ssh HTTP/1.1\r
        host: a\r
        content-type: application/json\r

        """
    /// What an empty object asks for.
    private static let change = RecordingService.Asked.change(
        "ssh",
        .object([]),
        .none
    )

    @Test func takesABodyOfExactlyTheLimit() async throws {
        let text = "{}" + String(repeating: " ", count: 64 * 1024 - 2)
        let service = RecordingService()
        let answer = try await withServer(service) { server in
            try server.connect().ask(put("/v1/policies/ssh", text))
        }
        #expect(answer.status == 200)
        #expect(service.asked == [Self.change])
    }

    @Test func refusesABodyOneByteOverTheLimit() async throws {
        let answer = try await withServer { server in
            try server.connect().ask(
                put("/v1/policies/ssh", "{}" + String(repeating: " ", count: 64 * 1024 - 1))
            )
        }
        #expect(try problem(answer).code == .bodyTooLarge)
        #expect(try problem(answer).detail == "cannot take a body of more than 65536 bytes")
        #expect(answer.headers["connection"] == "close")
    }

    @Test func refusesABodyThatIsAnnouncedAsTooLargeBeforeItComes() async throws {
        let rest = try await withServer { server in
            let connection = try server.connect()
            connection.send(
                "POST /v1/requests HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n"
            )
            #expect(try problem(try connection.answer()).code == .bodyTooLarge)
            return try connection.readToEnd()
        }
        #expect(rest.isEmpty)
    }

    @Test(arguments: ["content-length: 104857600", "transfer-encoding: chunked"])
    func doesNotReadAHundredMegabytes(header: String) async throws {
        let taken = try await withServer { server in
            let connection = try server.connect()
            connection.send("POST /v1/requests HTTP/1.1\r\nhost: a\r\n\(header)\r\n\r\n")
            if header.hasPrefix("transfer") { connection.send("6400000\r\n") }
            let taken = connection.send([UInt8](repeating: 0x20, count: 100 * 1024 * 1024))
            #expect(try problem(try connection.answer()).code == .bodyTooLarge)
            return taken
        }
        #expect(taken < 4 * 1024 * 1024)
    }

    @Test func answersExpectationsAtOnce() async throws {
        try await withServer { server in
            let connection = try server.connect()
            connection.send(Self.head + "expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
            #expect(try connection.answer()?.status == 100)
            connection.send("{}")
            #expect(try connection.answer()?.status == 200)
        }
    }

    @Test func treatsWhatFollowsAShortContentLengthAsTheNextRequest() async throws {
        let service = RecordingService()
        try await withServer(service) { server in
            let connection = try server.connect()
            connection.send(Self.head + "content-length: 2\r\n\r\n{}cdef")
            #expect(try connection.answer()?.status == 200)
            let second = try connection.answer()
            #expect(second == nil || second?.status == 400)
            #expect(try connection.readToEnd().isEmpty)
        }
        #expect(service.asked == [Self.change])
    }

    @Test func doesNotActOnABodyThatEndsEarly() async throws {
        let service = RecordingService()
        try await withServer(service) { server in
            let connection = try server.connect()
            connection.send(Self.head + "content-length: 100\r\n\r\nab")
            connection.endSending()
            let end = try connection.readToEnd()
            #expect(end.isEmpty || end.hasPrefix("HTTP/1.1 400"))
        }
        #expect(service.asked.isEmpty)
    }

    @Test(arguments: [
        ("/v1/status", "x: ", 20_000), ("/v1/status", "x: y\r\n", 100), ("/v1/", "x", 200_000),
    ])
    func refusesAHeadThatIsTooLarge(path: String, repeated: String, count: Int) async throws {
        let many = String(repeating: repeated, count: count)
        let request =
            path == "/v1/"
            ? get(path + many) : "GET \(path) HTTP/1.1\r\nhost: a\r\n\(many)\r\n\r\n"
        let answer = try await withServer { server in try server.connect().ask(request) }
        #expect(
            try problem(answer).detail == "cannot read the request: its head is too large"
        )
        #expect(answer.headers["connection"] == "close")
    }

    @Test func doesNotReadAUriWithoutEnd() async throws {
        let taken = try await withServer { server in
            let connection = try server.connect()
            connection.send("GET /")
            return connection.send([UInt8](repeating: 0x78, count: 100 * 1024 * 1024))
        }
        #expect(taken < 4 * 1024 * 1024)
    }

    @Test(arguments: [
        "\u{16}\u{03}\u{01}\u{02}\0\u{01}\0\u{01}\u{fc}\u{03}\u{03}",  // a TLS ClientHello
        "\0\0\0\0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "GET /v1/sta\0tus HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nho\0st: a\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        "POST /v1/a HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        "\u{a5}\u{5a}\u{fe}\u{7f}\r\n\r\n",
    ])
    func answersWhatIsNoHTTPWithAProblem(text: String) async throws {
        let service = RecordingService()
        try await withServer(service) { server in
            let connection = try server.connect()
            connection.send(text)
            let answer = try #require(try connection.answer())
            #expect(answer.status == 400)
            #expect(try problem(answer).code == .badRequest)
            #expect(try connection.readToEnd().isEmpty)
            #expect(try server.connect().ask(status).status == 200)
        }
        #expect(service.asked == [.status])
    }

    @Test(arguments: [
        "GET /v1/status HTTP/1.0\r\n\r\n",
        "GET /v1/status HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ])
    func closesAfterTheAnswerWhereTheConnectionCannotGoOn(request: String) async throws {
        let service = RecordingService()
        try await withServer(service) { server in
            let connection = try server.connect()
            connection.send(request)
            let answer = try #require(try connection.answer())
            #expect(answer.status == 200)
            #expect(answer.headers["connection"] == "close")
            #expect(try connection.readToEnd().isEmpty)
        }
        #expect(service.asked == [.status])
    }

    @Test func answersPipelinedRequestsInOrder() async throws {
        let service = RecordingService()
        try await withServer(service) { server in
            let connection = try server.connect()
            connection.send((1...500).map { get("/v1/requests/\($0)") }.joined())
            for _ in 1...500 { #expect(try connection.answer()?.status == 200) }
        }
        #expect(service.asked == (1...500).map { .request($0) })
    }

    @Test func answersWhatWasAskedBeforeGarbage() async throws {
        try await withServer { server in
            let connection = try server.connect()
            connection.send(status + "garbage\r\n\r\n")
            #expect(try connection.answer()?.status == 200)
            let end = try connection.readToEnd()
            #expect(end.isEmpty || end.hasPrefix("HTTP/1.1 400"))
        }
    }

    @Test func answersAClientThatEndedItsSide() async throws {
        try await withServer { server in
            let connection = try server.connect()
            connection.send(status + status + status)
            connection.endSending()
            for _ in 0..<3 { #expect(try connection.answer()?.status == 200) }
            #expect(try connection.readToEnd().isEmpty)
        }
    }

    @Test func closesWhenAnIdleClientEndsItsSide() async throws {
        try await withServer { server in
            let connection = try server.connect()
            connection.send(status)
            #expect(try connection.answer()?.status == 200)
            connection.endSending()
            #expect(try connection.readToEnd().isEmpty)
            #expect(connection.isHungUp(within: .seconds(5)))
        }
    }

    @Test func survivesDeepNesting() async throws {
        let deep = String(repeating: "[", count: 30_000) + String(repeating: "]", count: 30_000)
        let body = #"{"targets":\#(deep),"sources":[]}"#
        let answer = try await withServer { server in
            try server.connect().ask(post("/v1/requests", body))
        }
        #expect(try problem(answer).code == .badRequest)
    }

    @Test func finishesWhatAClientAskedThatWentAway() async throws {
        let service = RecordingService(during: { try await Task.sleep(for: .milliseconds(20)) })
        try await withServer(service) { server in
            do {
                let connection = try server.connect()
                connection.send(get("/v1/requests/17/revoke", "POST"))
            }
            while service.asked.isEmpty { usleep(1000) }
            usleep(50_000)
            #expect(try server.connect().ask(status).status == 200)
            #expect(server.log.lines.isEmpty)
        }
        #expect(service.asked == [.revoke(17), .status])
    }
}

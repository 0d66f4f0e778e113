import API
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import Policy
import Synchronization
import Testing
import TestSupport

@testable import Server

/// Answers that are made while they are sent.
@Suite(.blocking) struct StreamTests {
    private func service(
        _ batches: Int,
        of size: Int = 1,
        failing: Bool = false,
        made: Counter = Counter()
    ) -> RecordingService {
        RecordingService(
            rows: AsyncThrowingStream {
                guard made.value < batches else {
                    if failing { throw Problem(.ledgerUnavailable, "the disk is gone") }
                    return nil
                }
                made.add()
                var row = Samples.auditRow
                row.sequence = Int64(made.value)
                return Array(repeating: row, count: size)
            }
        )
    }

    private func ask(_ accept: String, _ version: String = "1.1", _ more: String = "") -> String {
        "GET /v1/audit HTTP/\(version)\r\nhost: sallyport\r\naccept: \(accept)\r\n\(more)\r\n"
    }

    @Test(
        arguments: [
            ("text/csv", .table), ("text/csv, application/jsonl", .table), ("*/*", .page),
            ("application/jsonl;q=0.5, text/csv", .table), ("text/csv;q=0, */*", .page),
            ("text/csv; q=0.1, application/*;q=0.9", .page), ("text/html, */*;q=0.8", .page),
            ("application/json;q=0, */*", .lines), ("TEXT/CSV;header=present;q=1", .table),
            ("text/*", .table), ("image/png", .page), ("text/csv;q=banana", .table), ("", .page),
        ] as [(String, AuditFormat)]
    )
    func theFormatIsTheOneThatIsPreferred(accept: String, format: AuditFormat) {
        #expect(AuditFormat(["accept": accept]) == format)
    }

    /// The body behind the head, without its chunks; nil where the last one is missing.
    private func unchunked(_ answer: String) -> String? {
        let bytes = Array(answer.utf8)
        let blank = Array("\r\n\r\n".utf8)
        guard let head = bytes.indices.first(where: { bytes[$0...].starts(with: blank) }) else {
            return nil
        }
        var rest = bytes[(head + 4)...]
        var body: [UInt8] = []
        while let end = rest.firstIndex(of: 0x0D) {
            guard let size = Int(String(decoding: rest[..<end], as: UTF8.self), radix: 16) else {
                return nil
            }
            rest = rest[(end + 2)...]
            if size == 0 { return String(decoding: body, as: UTF8.self) }
            body += rest.prefix(size)
            rest = rest.dropFirst(size + 2)
        }
        return nil
    }

    @Test func sendsLinesInChunks() async throws {
        let answer = try await withServer(service(3, of: 2)) { server in
            let connection = try server.connect()
            connection.send(ask("application/jsonl"))
            // What follows on the connection is answered, too.
            connection.send(
                "GET /v1/status HTTP/1.1\r\nhost: sallyport\r\nconnection: close\r\n\r\n"
            )
            return try connection.readToEnd()
        }
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\ncontent-type: application/jsonl\r\n"))
        #expect(answer.contains("\r\ntransfer-encoding: chunked\r\n"))
        let lines = try #require(unchunked(answer)).split(separator: "\n")
        let rows = try lines.map { try JSONDecoder().decode(AuditRow.self, from: Data($0.utf8)) }
        #expect(rows.map(\.sequence) == [1, 1, 2, 2, 3, 3])
        #expect(
            rows[0]
                == {
                    var row = Samples.auditRow; row.sequence = 1; return row
                }()
        )
        #expect(answer.contains("\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/json"))
    }

    @Test func answersHeadWithoutABody() async throws {
        let made = Counter()
        let answer = try await withServer(service(2, made: made)) { server in
            let connection = try server.connect()
            for path in ["/v1/audit", "/v1/events"] {
                connection.send(
                    "HEAD \(path) HTTP/1.1\r\nhost: s\r\naccept: application/jsonl\r\n\r\n"
                )
            }
            connection.send(get("/v1/status").replacing("host", with: "connection: close\r\nhost"))
            return try connection.readToEnd()
        }
        #expect(made.value == 0)
        let heads = answer.split(separator: "\r\n\r\n")
        #expect(heads.count == 4)
        #expect(heads[0].contains("content-type: application/jsonl"))
        #expect(heads[1].contains("content-type: text/event-stream"))
        #expect(heads[2].contains("content-type: application/json"))
    }

    @Test func endsTheConnectionForOldClients() async throws {
        let answer = try await withServer(service(2)) { server in
            let connection = try server.connect()
            connection.send(ask("application/jsonl", "1.0"))
            return try connection.readToEnd()
        }
        #expect(!answer.contains("chunked") && answer.contains("connection: close"))
        #expect(answer.split(separator: "\r\n").last?.split(separator: "\n").count == 2)
    }

    @Test(arguments: [
        ("text/csv", "text/csv; charset=utf-8; header=present"),
        ("text/html, Text/CSV;q=0.9", "text/csv; charset=utf-8; header=present"),
        ("application/jsonl ; a=b", "application/jsonl"),
        ("application/json, text/csv", "application/json"),
        ("*/*", "application/json"),
    ])
    func choosesWhatTheClientTakes(accept: String, type: String) async throws {
        let answer = try await withServer(service(1)) { server in
            let connection = try server.connect()
            connection.send(ask(accept, "1.1", "connection: close\r\n"))
            return try connection.readToEnd()
        }
        #expect(answer.contains("\r\ncontent-type: \(type)\r\n"))
    }

    @Test(arguments: ["=1+1", "+1", "-1", "@a", "\t=1", "  =1+1", " \t@a"])
    func givesASpreadsheetNothingToRun(reason: String) {
        var row = Samples.auditRow
        row.reason = reason
        let line = String(decoding: AuditCSV.line(of: row), as: UTF8.self)
        #expect(line.contains(",'\(reason),"))
    }

    @Test func givesNoPageButOfJSON() async throws {
        let service = service(1)
        let answer = try await withServer(service) { server in
            try server.connect().ask(
                "GET /v1/audit?limit=3 HTTP/1.1\r\nhost: s\r\naccept: text/csv\r\n\r\n"
            )
        }
        #expect(answer.status == 400)
        #expect(answer.body.contains("limit: only application/json comes in pages"))
        #expect(service.asked.isEmpty)
    }

    /// A body that nobody reads is not made, and one that is cut short does not look whole.
    @Test func makesNoMoreThanTheClientReads() async throws {
        let made = Counter()
        let service = service(200, of: 100, made: made)
        let body = try await withServer(service) { server in
            let connection = try server.connect()
            connection.send(ask("application/jsonl", "1.1", "connection: close\r\n"))
            // The buffers of the socket are full when the count stands still.
            var seen = -1
            while seen != made.value || seen == 0 {
                seen = made.value
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(seen < 100)
            // Others are answered meanwhile.
            #expect(try server.connect().ask(get("/v1/status")).status == 200)
            return try unchunked(connection.readToEnd())
        }
        #expect(made.value == 200)
        #expect(body?.utf8.count { $0 == 0x0A } == 20_000)
    }

    @Test func cutsOffABodyThatCannotBeMade() async throws {
        let (answer, log) = try await withServer(service(1, failing: true)) { server in
            let connection = try server.connect()
            connection.send(ask("application/jsonl"))
            return (try connection.readToEnd(), server.log.lines)
        }
        #expect(answer.contains("\"sequence\":1"))
        #expect(unchunked(answer) == nil)
        #expect(log.contains { $0.contains("cannot go on answering") })
    }

    @Test func endsABodyWhoseClientIsGone() async throws {
        let made = Counter()
        try await withServer(service(.max, of: 100, made: made)) { server in
            do {
                let connection = try server.connect()
                connection.send(ask("application/jsonl"))
                #expect(try await eventually { made.value > 0 })
            }
            var seen = -1
            while seen != made.value {
                seen = made.value
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(seen < 100)
        }
    }

    /// As where the connection is closed while a part is on its way.
    @Test func aBodyThatIsEndedWaitsForNobody() async throws {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { loops.shutdownGracefully { _ in } }
        let executor = LoopExecutor(loops.next())
        let ends = Counter()
        executor.eventLoop.execute {
            let parts = AsyncThrowingStream<[UInt8], any Error> { [1] }
            let sender = BodySender(BodyStream(parts: parts), on: executor)
            sender.start(
                send: { _ in
                    sender.cancel()
                    return false
                },
                onEnd: { _ in ends.add() }
            )
        }
        #expect(try await eventually { ends.value == 1 })
    }

    @Test func aClientThatDoesNotReadIsCutOff() async throws {
        var limits = Limits()
        limits.requestTimeout = .milliseconds(200)
        let made = Counter()
        try await withServer(service(.max, of: 100, made: made), limits: limits) { server in
            let connection = try server.connect()
            connection.send(ask("application/jsonl"))
            #expect(connection.isHungUp(within: .seconds(20)))
        }
    }

    @Test func defusesWhatASpreadsheetWouldRun() {
        var row = AuditRow(sequence: 1, at: Samples.instant, event: "refused")
        (row.name, row.reason) = ("=cmd|' /C calc'!A0", "say \"hi\",\r\nbye")
        (row.ticket, row.detail) = ("-1+1", "a=b")
        #expect(
            String(decoding: AuditCSV.line(of: row), as: UTF8.self)
                == "1,2026-12-01T17:00:00Z,refused,,'=cmd|' /C calc'!A0,,,,,,,,,,,,,,,"
                + "\"say \"\"hi\"\",\r\nbye\",'-1+1,,a=b,\r\n"
        )
        for start in ["=", "+", "-", "@", "\t", "＝", "＠"] {
            row.source = start + "x"
            let line = String(decoding: AuditCSV.line(of: row), as: UTF8.self)
            #expect(line.contains(",'\(start)x,"))
        }
        row.source = "\rx"
        #expect(String(decoding: AuditCSV.line(of: row), as: UTF8.self).contains(",\"'\rx\","))
        let names = String(decoding: AuditCSV.header, as: UTF8.self)
        #expect(names.hasPrefix("sequence,at,event,") && names.hasSuffix(",detail,hash\r\n"))
    }
}

/// A number that several threads may count.
final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock(\.self) }
    func add() { count.withLock { $0 += 1 } }
}

import API
import FoundationEssentials
import Glibc
import Linux
import Policy
import Synchronization
import TestSupport

@testable import Commands

/// A small HTTP server on a Unix socket that answers from a script and remembers what was asked.
///
/// It serves each connection on a thread of its own until it is released.
final class ScriptedAgent: Sendable {
    /// The path of its socket.
    var socket: String { folder.path + "/s" }
    private let folder: TemporaryFolder
    private let answers: [String: any Encodable & Sendable]
    private let listener: Int32
    private let received = Mutex<[HeardCall]>([])

    /// Answers with documents or problems, by `METHOD /path`; the rest is not found.
    ///
    /// Each connection first goes through `greet`, which tells whether to serve it.
    init(
        _ answers: [String: any Encodable & Sendable] = [:],
        greet: @escaping @Sendable (_ connection: Int32) -> Bool = { _ in true }
    ) throws {
        self.answers = answers
        folder = try TemporaryFolder()
        let socket = folder.path + "/s"
        listener = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socket.utf8) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) }
        }
        try systemCall("bind") { bound }
        try systemCall("listen") { listen(listener, 16) }
        // The threads hold the agent weakly, so that releasing it ends them.
        try OwnThread.start { [weak self, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                // A program that another test starts would keep it open.
                _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
                _ = try? OwnThread.start { [weak self] in
                    if greet(connection) {
                        while let call = HeardCall(from: connection),
                            let agent = self, agent.answer(call, on: connection)
                        {}
                    }
                    close(connection)
                }
            }
            close(listener)
        }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    /// The calls so far: `METHOD /path`, and the body after a space where there is one.
    var calls: [String] {
        heard.map { $0.body.isEmpty ? $0.line : "\($0.line) \($0.body)" }
    }

    /// The same with all that is known of them.
    var heard: [HeardCall] { received.withLock { $0 } }

    /// Answers one call; tells whether the connection stays open.
    private func answer(_ call: HeardCall, on connection: Int32) -> Bool {
        let earlier = received.withLock { received in
            defer { received.append(call) }
            return received.count { $0.line == call.line }
        }
        var answer = answers[call.line] ?? Problem(.notFound, "cannot find it in the script")
        if let sequence = answer as? InTurn {
            answer = sequence.answers[min(earlier, sequence.answers.count - 1)]
        }
        if let stream = answer as? Streamed { return stream.send(to: connection) }
        let problem = answer as? Problem
        let body = (try? json(answer)) ?? ""
        let reply = """
            HTTP/1.1 \(problem?.status ?? 200) x\r
            content-type: application/\(problem == nil ? "json" : "problem+json")\r
            content-length: \(body.utf8.count)\r
            etag: "7"\r
            \r
            \(body)
            """
        return (try? writeAll(Array(reply.utf8), to: connection)) != nil
    }
}

/// One answer for each call after the other, the last for all that follow.
struct InTurn: Encodable, Sendable {
    var answers: [any Encodable & Sendable]

    init(_ answers: any Encodable & Sendable...) { self.answers = answers }

    func encode(to encoder: any Encoder) {}
}

/// An answer that comes in parts, and has no end unless the connection has.
struct Streamed: Encodable, Sendable {
    var parts: [String]
    var type = "text/event-stream"
    /// Whether the body is finished after the parts.
    var isFinished = false
    /// Whether the connection is closed after the parts.
    var hangsUp = false
    /// Done once all is sent.
    var then: @Sendable (_ connection: Int32) -> Void = { _ in }

    func encode(to encoder: any Encoder) {}

    fileprivate func send(to connection: Int32) -> Bool {
        let head = "HTTP/1.1 200 x\r\ncontent-type: \(type)\r\ntransfer-encoding: chunked\r\n\r\n"
        let chunks = parts.map { "\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n" }
        for text in [head] + chunks + (isFinished ? ["0\r\n\r\n"] : []) {
            guard (try? writeAll(Array(text.utf8), to: connection)) != nil else { return false }
        }
        then(connection)
        return !hangsUp
    }
}

/// One request as the agent heard it.
struct HeardCall: Sendable {
    /// `METHOD /path`.
    var line: String
    /// The body.
    var body: String
    /// The idempotency key.
    var key: String?
    /// What has to hold for a change: `if-match "7"`.
    var condition: String?
    /// The event to go on after.
    var lastEvent: String?
    /// What kind of answer is wanted.
    var accepted: String?

    /// Reads it; nil at the end of the connection.
    init?(from connection: Int32) {
        var text = ""
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            if let end = text.firstRange(of: "\r\n\r\n") {
                let head = text[..<end.lowerBound].split(separator: "\r\n")
                func field(_ name: String) -> String? {
                    head.first { $0.lowercased().hasPrefix("\(name): ") }
                        .map { String($0.dropFirst(name.count + 2)) }
                }
                body = String(text[end.upperBound...])
                if body.utf8.count == field("content-length").flatMap({ Int($0) }) ?? 0 {
                    line = head.first?.split(separator: " ").prefix(2).joined(separator: " ") ?? ""
                    key = field("idempotency-key")
                    condition =
                        ["if-match", "if-none-match"].lazy
                        .compactMap { name in field(name).map { "\(name) \($0)" } }.first
                    lastEvent = field("last-event-id")
                    accepted = field("accept")
                    return
                }
            }
            let count = read(connection, &chunk, chunk.count)
            guard count > 0 else { return nil }
            text += String(decoding: chunk[..<count], as: UTF8.self)
        }
    }
}

func json(_ document: any Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(document), as: UTF8.self)
}

/// Carries out a command line, its words separated by spaces, with an agent that has a script.
func carryOut(
    _ line: String,
    _ answers: [String: any Encodable & Sendable] = [:]
) throws -> Printed {
    try carryOut(line, agent: ScriptedAgent(answers))
}

func carryOut(
    _ line: String,
    agent: ScriptedAgent,
    in environment: [String: String] = [:],
    on screen: Screen = .none,
    confirm: (@Sendable (String) -> Bool)? = nil
) throws -> Printed {
    var surroundings = Surroundings.fixed(
        environment.merging(["SALLYPORT_SOCKET": agent.socket]) { $1 }
    )
    surroundings.screen = screen
    surroundings.confirm = confirm
    return carryOut(line.split(separator: " ").map(String.init), in: surroundings)
}

func carryOut(_ words: [String], in surroundings: Surroundings) -> Printed {
    var printed = Printed()
    let status = status(
        of: words,
        in: surroundings,
        tell: { lines in printed.errors += Commands.printed(lines) },
        write: { text in printed.output += text }
    )
    printed.status = status.rawValue
    return printed
}

/// What a command line prints, and the status it exits with.
struct Printed: Hashable {
    var output = ""
    var errors = ""
    var status: Int32 = 0
}

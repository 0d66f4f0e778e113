import API
import FoundationEssentials
import Glibc
import Policy
import Synchronization
import TestSupport

@testable import Commands

/// A small HTTP server on a Unix socket that answers from a script and remembers what was asked.
///
/// It serves one connection after another until it is released.
final class ScriptedAgent: Sendable {
    /// The path of its socket.
    var socket: String { folder.path + "/s" }
    private let folder: TemporaryFolder
    private let answers: [String: any Encodable & Sendable]
    private let listener: Int32
    private let received = Mutex<[String]>([])

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
        try SystemError.check("bind", bound)
        try SystemError.check("listen", listen(listener, 16))
        // The thread holds the agent weakly, so that releasing it ends the thread.
        try startThread { [weak self, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                if greet(connection) {
                    while let call = readCall(connection), let reply = self?.reply(to: call) {
                        try? write(reply, to: connection)
                    }
                }
                close(connection)
            }
            close(listener)
        }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    /// The calls so far: `METHOD /path`, and the body after a space where there is one.
    var calls: [String] { received.withLock { $0 } }

    private func reply(to call: (line: String, body: String)) -> String {
        // In a fixed order, so that tests can compare it.
        let ask = try? JSONDecoder().decode(Ask.self, from: Data(call.body.utf8))
        let asked = (try? ask.map { try json($0) }) ?? call.body
        received.withLock { $0.append(asked.isEmpty ? call.line : "\(call.line) \(asked)") }
        let answer = answers[call.line] ?? Problem(.notFound, "cannot find it in the script")
        let problem = answer as? Problem
        let body = (try? json(answer)) ?? ""
        return """
            HTTP/1.1 \(problem?.status ?? 200) x\r
            content-type: application/\(problem == nil ? "json" : "problem+json")\r
            content-length: \(body.utf8.count)\r
            \r
            \(body)
            """
    }
}

/// Reads one request; nil at the end of the connection.
private func readCall(_ connection: Int32) -> (line: String, body: String)? {
    var text = ""
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        if let end = text.firstRange(of: "\r\n\r\n") {
            let head = text[..<end.lowerBound].split(separator: "\r\n")
            let length = head.lazy.map { $0.lowercased() }
                .first { $0.hasPrefix("content-length: ") }
                .flatMap { Int($0.dropFirst(16)) }
            let body = text[end.upperBound...]
            if body.utf8.count == length ?? 0 {
                let line = head.first?.split(separator: " ").prefix(2).joined(separator: " ")
                return (line ?? "", String(body))
            }
        }
        let count = read(connection, &chunk, chunk.count)
        guard count > 0 else { return nil }
        text += String(decoding: chunk[..<count], as: UTF8.self)
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
) throws -> Outcome {
    try carryOut(line, agent: ScriptedAgent(answers))
}

func carryOut(
    _ line: String,
    agent: ScriptedAgent,
    in environment: [String: String] = [:]
) throws -> Outcome {
    let surroundings = Surroundings.fixed(
        environment.merging(["SALLYPORT_SOCKET": agent.socket]) { $1 }
    )
    return outcome(of: line.split(separator: " ").map(String.init), in: surroundings)
}

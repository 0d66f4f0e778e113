import Glibc
import SystemPackage
import Linux
import Testing
import TestSupport

/// A blocking client that sends whatever bytes a test wants.
final class RawConnection {
    /// One answer.
    struct Answer: Hashable {
        var status: Int
        var headers: [String: String]
        var body: String
    }

    /// Longer than anything a test waits for; a test that meets it fails.
    static let patience: Duration = .seconds(300)

    private let socket: CInt
    private var received: [UInt8] = []

    init(path: String, sendPatience: Duration = patience) throws {
        socket = try systemCall("socket") {
            Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        for (option, patience) in [(SO_RCVTIMEO, Self.patience), (SO_SNDTIMEO, sendPatience)] {
            let microseconds = Int(patience / .microseconds(1))
            var time = timeval(
                tv_sec: microseconds / 1_000_000,
                tv_usec: microseconds % 1_000_000
            )
            setsockopt(socket, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        // Where this throws, `deinit` closes the socket.
        try systemCall("connect") {
            withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
    }

    deinit { Glibc.close(socket) }

    /// Sends bytes until the server takes no more; answers how many it took.
    @discardableResult
    func send(_ bytes: some Collection<UInt8>) -> Int {
        let bytes = Array(bytes)
        var sent = 0
        while sent < bytes.count {
            let result = bytes[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            if result <= 0 { break }
            sent += result
        }
        return sent
    }

    func send(_ text: String) { send(text.utf8) }

    /// Says that nothing more will be sent.
    func endSending() { shutdown(socket, CInt(SHUT_WR)) }

    /// Waits until the server has closed the connection, without reading what it sent.
    func isHungUp(within patience: Duration = patience) -> Bool {
        var state = pollfd(fd: socket, events: 0, revents: 0)
        return poll(&state, 1, CInt(patience / .milliseconds(1))) == 1
            && state.revents & Int16(POLLHUP) != 0
    }

    /// Reads one answer; nil where the server closed the connection instead.
    func answer(toHead: Bool = false) throws -> Answer? {
        var end: Int?
        while end == nil {
            end = received.indices.first { received[$0...].starts(with: "\r\n\r\n".utf8) }
            if end == nil, try !readMore() { return nil }
        }
        let lines = String(decoding: received[..<(end ?? 0)], as: UTF8.self).split(
            separator: "\r\n"
        )
        let headers = Dictionary(
            lines.dropFirst().map { line in
                let parts = line.split(separator: ":", maxSplits: 1)
                return (parts[0].lowercased(), String(parts[1].drop { $0 == " " }))
            },
            uniquingKeysWith: { $1 }
        )
        received.removeFirst((end ?? 0) + 4)
        let status = Int(lines[0].split(separator: " ")[1]) ?? 0
        let length = toHead || status < 200 ? 0 : Int(headers["content-length"] ?? "") ?? 0
        while received.count < length { guard try readMore() else { return nil } }
        let body = String(decoding: received.prefix(length), as: UTF8.self)
        received.removeFirst(length)
        return Answer(status: status, headers: headers, body: body)
    }

    /// Sends a request and reads its answer.
    func ask(
        _ request: String,
        at place: SourceLocation = #_sourceLocation
    ) throws -> Answer {
        send(request)
        return try #require(try answer(), sourceLocation: place)
    }

    /// Reads until the server closes the connection; answers what came before.
    func readToEnd() throws -> String {
        while try readMore() {}
        return String(decoding: received, as: UTF8.self)
    }

    /// Reads what is there or comes; false at the end of the connection.
    private func readMore() throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(socket, &buffer, buffer.count, 0)
        if count > 0 {
            received += buffer[..<count]
            return true
        }
        // The server closed without reading everything: also an end.
        if count == 0 || errno == ECONNRESET { return false }
        throw SystemError(call: "recv", errno: Errno(rawValue: errno))
    }
}

/// A request without a body, for the host every client names.
func get(_ path: String, _ method: String = "GET") -> String {
    "\(method) \(path) HTTP/1.1\r\nhost: sallyport\r\n\r\n"
}

/// A request with a body, of the type that most take.
func post(
    _ path: String,
    _ body: String,
    type: String? = "application/json",
    _ headers: String...
) -> String {
    message("POST", path, body, type, headers)
}

func put(
    _ path: String,
    _ body: String,
    _ headers: String...,
    method: String = "PUT"
) -> String {
    message(method, path, body, "application/json", headers)
}

private func message(
    _ method: String,
    _ path: String,
    _ body: String,
    _ type: String?,
    _ headers: [String]
) -> String {
    let types = type.map { ["content-type: \($0)"] } ?? []
    let more = (types + headers).map { $0 + "\r\n" }.joined()
    return "\(method) \(path) HTTP/1.1\r\nhost: sallyport\r\ncontent-length: \(body.utf8.count)\r\n"
        + more + "\r\n" + body
}

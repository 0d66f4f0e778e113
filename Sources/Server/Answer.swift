import API
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Policy

/// What a request is answered with.
struct Answer: Sendable {
    var status: HTTPResponseStatus
    var contentType: String
    /// Further header fields.
    var fields: [(name: String, value: String)] = []
    var body: Body
    /// Whether there is nothing more to say to this client.
    var isLast = false

    /// What stands behind the head.
    enum Body: Sendable {
        case bytes([UInt8])
        case stream(BodyStream)
    }

    /// An answer with a document of those that many requests are answered with.
    static func json(_ document: some JSONDocument) -> Answer {
        Answer(status: .ok, contentType: "application/json", body: JSONWriter.text(of: document))
    }

    /// An answer with any other document.
    static func json(encoding document: some Encodable) throws -> Answer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return Answer(
            status: .ok,
            contentType: "application/json",
            body: Array(try encoder.encode(document))
        )
    }

    /// The answer that says what went wrong (RFC 9457).
    init(_ problem: Problem) {
        status = HTTPResponseStatus(statusCode: problem.status)
        contentType = "application/problem+json"
        body = .bytes(JSONWriter.text(of: problem))
    }

    private init(status: HTTPResponseStatus, contentType: String, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = .bytes(body)
    }

    /// An answer whose body is made while it is sent.
    init(contentType: String, stream: BodyStream) {
        status = .ok
        self.contentType = contentType
        body = .stream(stream)
    }

    /// The bytes to send (RFC 9112, section 4).
    ///
    /// - Parameters:
    ///   - closing: Whether the connection ends behind it.
    ///   - withBody: False for an answer to `HEAD`.
    ///   - chunked: Whether a stream is sent in chunks; else it ends with the connection.
    ///   - allocator: Makes the buffer.
    /// - Returns: Head and body, but for a stream.
    func message(
        closing: Bool,
        withBody: Bool,
        chunked: Bool,
        _ allocator: ByteBufferAllocator
    ) -> ByteBuffer {
        var bytes: [UInt8]?
        if case .bytes(let body) = body { bytes = body }
        // Put together first: each write to the buffer costs more than what is written.
        var head: [UInt8] = []
        head.reserveCapacity(256)
        head.append(literal: "HTTP/1.1 ")
        head.append(decimal: status.code)
        head.append(literal: " ")
        head.append(text: status.reasonPhrase)
        Self.write("content-type", contentType, to: &head)
        if let bytes {
            Self.write("content-length", String(bytes.count), to: &head)
        } else if chunked {
            Self.write("transfer-encoding", "chunked", to: &head)
        }
        for field in fields { Self.write(field.name, field.value, to: &head) }
        if closing { Self.write("connection", "close", to: &head) }
        head.append(literal: "\r\n\r\n")
        let body = withBody ? bytes ?? [] : []
        var buffer = allocator.buffer(capacity: head.count + body.count)
        buffer.writeBytes(head)
        buffer.writeBytes(body)
        return buffer
    }

    private static func write(_ name: String, _ value: String, to head: inout [UInt8]) {
        head.append(literal: "\r\n")
        head.append(text: name)
        head.append(literal: ": ")
        head.append(text: value)
    }
}

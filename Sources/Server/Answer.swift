import API
import FoundationEssentials
import NIOCore
import NIOHTTP1

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

    /// An answer with figures.
    static func metrics(_ page: MetricsPage) -> Answer {
        Answer(status: .ok, contentType: MetricsPage.contentType, body: Array(page.text.utf8))
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
        // Status line and fields take some 150 bytes.
        var buffer = allocator.buffer(capacity: 256 + (bytes?.count ?? 0))
        buffer.writeString("HTTP/1.1 ")
        buffer.writeString(String(status.code))
        buffer.writeString(" ")
        buffer.writeString(status.reasonPhrase)
        Self.write("content-type", contentType, to: &buffer)
        if let bytes {
            Self.write("content-length", String(bytes.count), to: &buffer)
        } else if chunked {
            Self.write("transfer-encoding", "chunked", to: &buffer)
        }
        for field in fields { Self.write(field.name, field.value, to: &buffer) }
        if closing { Self.write("connection", "close", to: &buffer) }
        buffer.writeString("\r\n\r\n")
        if withBody, let bytes { buffer.writeBytes(bytes) }
        return buffer
    }

    private static func write(_ name: String, _ value: String, to buffer: inout ByteBuffer) {
        buffer.writeString("\r\n")
        buffer.writeString(name)
        buffer.writeString(": ")
        buffer.writeString(value)
    }
}

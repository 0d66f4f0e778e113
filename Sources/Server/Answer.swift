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
    var body: [UInt8]
    /// Whether there is nothing more to say to this client.
    var isLast = false

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
        body = JSONWriter.text(of: problem)
    }

    private init(status: HTTPResponseStatus, contentType: String, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// The bytes to send (RFC 9112, section 4).
    ///
    /// - Parameters:
    ///   - closing: Whether the connection ends behind it.
    ///   - withBody: False for an answer to `HEAD`.
    ///   - allocator: Makes the buffer.
    /// - Returns: Head and body.
    func message(closing: Bool, withBody: Bool, _ allocator: ByteBufferAllocator) -> ByteBuffer {
        // Status line and fields take some 150 bytes.
        var buffer = allocator.buffer(capacity: 256 + body.count)
        buffer.writeString("HTTP/1.1 ")
        buffer.writeString(String(status.code))
        buffer.writeString(" ")
        buffer.writeString(status.reasonPhrase)
        Self.write("content-type", contentType, to: &buffer)
        Self.write("content-length", String(body.count), to: &buffer)
        for field in fields { Self.write(field.name, field.value, to: &buffer) }
        if closing { Self.write("connection", "close", to: &buffer) }
        buffer.writeString("\r\n\r\n")
        if withBody { buffer.writeBytes(body) }
        return buffer
    }

    private static func write(_ name: String, _ value: String, to buffer: inout ByteBuffer) {
        buffer.writeString("\r\n")
        buffer.writeString(name)
        buffer.writeString(": ")
        buffer.writeString(value)
    }
}

import NIOCore
import NIOEmbedded
import NIOHTTP1

/// One request to the agent.
struct Call {
    var method: HTTPMethod
    var target: String
    var headers: HTTPHeaders
    var body: ByteBuffer
    /// How long it may take, connecting included.
    var patience: Duration

    /// Makes a call; a question that takes longer than 5 s is asked of an agent that hangs, but a
    /// change may be on its way to a busy disk.
    init(
        method: HTTPMethod,
        target: String,
        headers: HTTPHeaders = [:],
        body: ByteBuffer = ByteBuffer(),
        patience: Duration? = nil
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.patience = patience ?? .seconds(method == .GET ? 5 : 30)
    }

    /// Whether doing it twice is the same as doing it once, and is answered alike.
    var isRepeatable: Bool { method == .GET || headers.contains(name: "idempotency-key") }
}

/// What the agent answered.
struct Reply {
    var status: Int
    var type: String?
    /// What stands for the state of what was read.
    var tag: String?
    var body = ByteBuffer()
    /// Whether the connection may carry another call.
    var keepsConnection: Bool

    /// Whether the agent did what it was asked.
    var isDone: Bool { (200..<300).contains(status) }
}

/// One call in HTTP/1.1: what to send, and the answer from what was received.
///
/// NIO's codecs do it, in a channel that has neither socket nor thread. They bound the headers:
/// 2 MiB, 256 fields.
final class Exchange {
    private static let largestAnswer = 64 << 20

    /// The bytes of the call.
    let request: ByteBuffer

    private let channel = EmbeddedChannel()
    private let isStreamed: Bool
    private var received = 0
    private var arrived = ByteBuffer()
    private var isWhole = false

    /// What is known of the answer so far; without the body where that is handed out in parts.
    private(set) var reply: Reply?

    /// Begins a call; `streaming` is to hand out the body as it comes, where it is no problem.
    init(_ call: Call, streaming isStreamed: Bool = false) throws(Failure) {
        self.isStreamed = isStreamed
        do {
            request = try channel.encode(call)
        } catch {
            throw .invalidCall("\(error)")
        }
    }

    deinit {
        // Breaks the cycle of channel and handlers.
        _ = try? channel.finish(acceptAlreadyClosed: true)
    }

    /// Takes bytes of the answer, none at the end of the stream; answers it once it is whole.
    func take(_ bytes: ByteBuffer) throws(Failure) -> Reply? {
        if !isStreamed { received += bytes.readableBytes }
        guard received <= Self.largestAnswer else { throw .tooLarge }
        let isEnd = bytes.readableBytes == 0
        do {
            if isEnd {
                _ = try channel.finish()
            } else {
                try channel.writeInbound(bytes)
            }
            while let part = try channel.readInbound(as: HTTPClientResponsePart.self) {
                take(part)
            }
        } catch HTTPParserError.invalidEOFState {
            throw .closed
        } catch {
            throw .notHTTP
        }
        if isEnd {
            guard isWhole else { throw .closed }
            reply?.keepsConnection = false
        }
        return isWhole ? reply : nil
    }

    /// Hands out what came of a streamed body since the last time.
    func takeArrived() -> ByteBuffer {
        defer { arrived = ByteBuffer() }
        return arrived
    }

    private func take(_ part: HTTPClientResponsePart) {
        switch part {
        case .head(let head):
            reply = Reply(
                status: Int(head.status.code),
                type: head.headers.first(name: "content-type"),
                tag: head.headers.first(name: "etag"),
                keepsConnection: head.isKeepAlive
            )
        case .body(var body):
            if isStreamed, reply?.isDone ?? false {
                arrived.writeBuffer(&body)
            } else {
                reply?.body.writeBuffer(&body)
            }
        case .end:
            isWhole = true
        }
    }
}

extension EmbeddedChannel {
    fileprivate func encode(_ call: Call) throws -> ByteBuffer {
        try pipeline.syncOperations.addHTTPClientHandlers()
        var head = HTTPRequestHead(
            version: .http1_1,
            method: call.method,
            uri: call.target,
            headers: call.headers
        )
        head.headers.add(name: "host", value: "sallyport")
        try writeOutbound(HTTPClientRequestPart.head(head))
        if call.body.readableBytes > 0 {
            try writeOutbound(HTTPClientRequestPart.body(.byteBuffer(call.body)))
        }
        try writeOutbound(HTTPClientRequestPart.end(nil))
        var bytes = ByteBuffer()
        while var part = try readOutbound(as: ByteBuffer.self) { bytes.writeBuffer(&part) }
        return bytes
    }
}

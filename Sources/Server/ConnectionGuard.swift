import API
import FoundationEssentials
import NIOCore
import NIOHTTP1

/// Keeps one connection within its limits: the handler next to the HTTP decoder.
///
/// It lets one request at a time through and holds back those that follow, closes a client that
/// takes too long to send or to read, and decides after each answer whether the connection goes
/// on. An answer that is given before the request was read whole is the last one: what the client
/// still sends is not read.
final class ConnectionGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// The client owes a request, or the rest of one.
        case reading
        /// A request was read whole and is being answered.
        case answering
        /// An answer began before the request had ended, or nothing follows: only writing is left.
        case closing
    }

    private let timeout: TimeAmount
    private var state = State.reading
    private var isLast = false
    private var deadline: NIODeadline
    private var timer: Scheduled<Void>?
    /// What arrived while a request is being answered.
    private var held = CircularBuffer<HTTPServerRequestPart>()
    private var wantsRead = false
    private var context: ChannelHandlerContext?

    init(timeout: TimeAmount) {
        self.timeout = timeout
        deadline = .now() + timeout
    }

    /// Since when the client owes a request; nil while one is being answered.
    var idleSince: NIODeadline? {
        if case .answering = state { nil } else { deadline - timeout }
    }

    /// Ends the connection: at once where no request is being answered, after the answer otherwise.
    func stop() {
        isLast = true
        if case .reading = state { close() }
    }

    /// Ends the connection at once.
    func close() {
        context?.close(promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        startTimer(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch state {
        case .reading: pass(part, context)
        case .answering: held.append(part)
        case .closing: break
        }
    }

    private func pass(_ part: HTTPServerRequestPart, _ context: ChannelHandlerContext) {
        switch part {
        case .head(let head):
            // HTTP/1.0 clients may keep a connection only by asking for it, which none needs to.
            isLast = isLast || !head.isKeepAlive || head.version != .http1_1
            // After these the bytes that follow are no HTTP requests.
            isLast = isLast || head.method == .CONNECT || head.headers.contains(name: "upgrade")
            if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
                let go = HTTPResponseHead(version: .http1_1, status: .continue)
                context.writeAndFlush(wrapOutboundOut(.head(go)), promise: nil)
            }
        case .body: break
        case .end: state = .answering
        }
        context.fireChannelRead(wrapInboundOut(part))
    }

    func read(context: ChannelHandlerContext) {
        if held.isEmpty {
            context.read()
        } else {
            wantsRead = true
        }
    }

    func write(
        context: ChannelHandlerContext,
        data: NIOAny,
        promise: EventLoopPromise<Void>?
    ) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            if case .reading = state { isLast = true }
            if isLast {
                state = .closing
                head.headers.replaceOrAdd(name: "connection", value: "close")
                context.write(wrapOutboundOut(.head(head)), promise: promise)
            } else {
                context.write(data, promise: promise)
            }
        case .body:
            context.write(data, promise: promise)
        case .end:
            deadline = .now() + timeout
            startTimer(context)
            if isLast {
                let written = promise ?? context.eventLoop.makePromise()
                written.futureResult.assumeIsolated().whenComplete { _ in self.close() }
                context.writeAndFlush(data, promise: written)
            } else {
                context.write(data, promise: promise)
                state = .reading
                releaseHeld(context)
            }
        }
    }

    /// Lets the next request through, once the one before it is answered.
    private func releaseHeld(_ context: ChannelHandlerContext) {
        guard !held.isEmpty else { return }
        while case .reading = state, let part = held.popFirst() { pass(part, context) }
        context.fireChannelReadComplete()
        if held.isEmpty, wantsRead {
            wantsRead = false
            context.read()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { stop() }
        context.fireUserInboundEventTriggered(event)
    }

    /// Answers what is no HTTP with a problem; the errors of the socket just end the connection.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is HTTPParserError else { return close() }
        isLast = true
        guard case .reading = state else { return }
        let problem = Problem(.badRequest, Self.text(for: error))
        let body = ByteBuffer(bytes: (try? JSONEncoder().encode(problem)) ?? Data())
        let head = HTTPResponseHead(
            version: .http1_1,
            status: .badRequest,
            headers: [
                "content-type": "application/problem+json",
                "content-length": "\(body.readableBytes)",
            ]
        )
        write(context: context, data: NIOAny(OutboundIn.head(head)), promise: nil)
        write(
            context: context,
            data: NIOAny(OutboundIn.body(.byteBuffer(body))),
            promise: nil
        )
        write(context: context, data: NIOAny(OutboundIn.end(nil)), promise: nil)
    }

    private static func text(for error: any Error) -> String {
        switch error as? HTTPParserError {
        case .headerOverflow?: "cannot read the request: its head is too large"
        default: "cannot read the request: it is not HTTP/1.1"
        }
    }

    private func startTimer(_ context: ChannelHandlerContext) {
        guard timer == nil else { return }
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timer = nil
            if case .answering = self.state { return }
            if self.deadline <= .now() {
                self.close()
            } else {
                self.startTimer(context)
            }
        }
    }
}

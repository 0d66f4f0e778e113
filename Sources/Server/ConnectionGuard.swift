import API
import NIOCore
import NIOHTTP1

/// Keeps one connection within its limits: the handler next to the HTTP decoder.
///
/// It lets one request at a time through, when it was read whole and its user has a turn: what a
/// client did not finish to say is not acted on. Of what follows at most one read buffer is taken
/// in meanwhile; the rest stays in the socket until the client blocks. It refuses what is no HTTP or too large, closes a client that
/// takes too long to send or to read, and decides after each answer whether the connection goes on.
final class ConnectionGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// More parts than a read buffer of 4 KiB can hold: the shortest ones, chunks, take 6 bytes.
    private static let mostHeld = 1024

    private enum State {
        /// The client owes a request, or the rest of one.
        case reading
        /// A request was read whole and waits for its user's turn.
        case waiting
        /// A request was read whole and is being answered.
        case answering
        /// The last answer is being written; what the client still sends is not read.
        case closing
    }

    let user: User
    private let turns: Turns
    private let bodyLimit: Int
    private let timeout: TimeAmount
    private var state = State.reading
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()
    private var isLast = false
    /// Whether the client has ended its side; what it asked before is answered.
    private var hasEnded = false
    /// Whether answers wait for the client to read those before.
    private var isStalled = false
    private var deadline: NIODeadline
    private var timer: Scheduled<Void>?
    /// Whether a request counts as one in work of its user.
    private var isInWork = false
    /// What arrived before the request ahead of it was answered.
    private var held = CircularBuffer<HTTPServerRequestPart>()
    private var wantsRead = false
    private var context: ChannelHandlerContext?

    init(_ limits: Limits, user: User, turns: Turns) {
        self.user = user
        self.turns = turns
        bodyLimit = limits.bodyBytes
        timeout = TimeAmount(limits.requestTimeout)
        deadline = .now() + timeout
    }

    /// Since when the client owes a request; nil while one waits or is being answered.
    var idleSince: NIODeadline? {
        switch state {
        case .waiting, .answering: nil
        case .reading, .closing: deadline - timeout
        }
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
        if case .waiting = state { user.waiting.removeAll { $0 === self } }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch state {
        case .reading: pass(part, context)
        case .waiting, .answering: hold(part)
        case .closing: break
        }
    }

    /// Keeps what came ahead, which is the parts of one read buffer.
    ///
    /// When a client hangs up or ends its side, NIO reads all it ever sent: a client that asked
    /// hundreds of requests ahead is then closed, rather than kept in memory.
    private func hold(_ part: HTTPServerRequestPart) {
        if held.count < Self.mostHeld {
            held.append(part)
        } else {
            state = .closing
            isLast = true
            held.removeAll()
            close()
        }
    }

    private func pass(
        _ part: HTTPServerRequestPart,
        _ context: ChannelHandlerContext,
        wasHeld: Bool = false
    ) {
        switch part {
        case .head(let head): take(head, context)
        case .body(var part):
            guard body.readableBytes + part.readableBytes <= bodyLimit else {
                return refuse(tooLarge, context)
            }
            if body.readableBytes == 0 { body = part } else { body.writeBuffer(&part) }
        case .end:
            guard head != nil else { return }
            if wasHeld || !user.hasTurn {
                state = .waiting
                turns.wait(self)
            } else {
                begin(context)
            }
        }
    }

    /// Lets the request through that waited for its turn.
    func takeTurn() {
        guard let context else { return }
        begin(context)
        context.fireChannelReadComplete()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard let head else { return }
        state = .answering
        isInWork = true
        user.inWork += 1
        context.fireChannelRead(wrapInboundOut(.head(head)))
        if body.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(.body(body))) }
        context.fireChannelRead(wrapInboundOut(.end(nil)))
        self.head = nil
        body = ByteBuffer()
    }

    /// The work on the request is over, whether or not its answer could be sent.
    func end() {
        guard isInWork else { return }
        isInWork = false
        user.inWork -= 1
        if !user.waiting.isEmpty { turns.next() }
    }

    private var tooLarge: Problem {
        Problem(.bodyTooLarge, "cannot take a body of more than \(bodyLimit) bytes")
    }

    private func take(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        // HTTP/1.0 clients may keep a connection only by asking for it, which none needs to. After
        // CONNECT or an upgrade the bytes that follow are no HTTP requests.
        isLast =
            isLast || !head.isKeepAlive || head.version != .http1_1
            || head.method == .CONNECT || head.headers.contains(name: "upgrade")
        if let length = head.headers.first(name: "content-length"),
            Int(length).map({ $0 > bodyLimit }) ?? true
        {
            return refuse(tooLarge, context)
        }
        if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
            let go = HTTPResponseHead(version: .http1_1, status: .continue)
            context.writeAndFlush(wrapOutboundOut(.head(go)), promise: nil)
        }
        self.head = head
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
            isLast = isLast || head.headers.contains(name: "connection")
            if isFinal {
                state = .closing
                head.headers.replaceOrAdd(name: "connection", value: "close")
                context.write(wrapOutboundOut(.head(head)), promise: promise)
            } else {
                context.write(data, promise: promise)
            }
        case .body:
            context.write(data, promise: promise)
        case .end:
            end()
            deadline = .now() + timeout
            startTimer(context)
            if isFinal {
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

    /// Whether the connection ends with the answer that is being written.
    private var isFinal: Bool { isLast || hasEnded && held.isEmpty }

    /// Takes up the next request, once the one before it is answered.
    private func releaseHeld(_ context: ChannelHandlerContext) {
        guard !held.isEmpty else { return }
        while case .reading = state, let part = held.popFirst() {
            pass(part, context, wasHeld: true)
        }
        if held.isEmpty, wantsRead {
            wantsRead = false
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isStalled = !context.channel.isWritable
        if isStalled {
            deadline = .now() + timeout
            startTimer(context)
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        hasEnded = true
        if case .reading = state { close() }
    }

    /// Refuses what is no HTTP; the errors of the socket just end the connection.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return close() }
        isLast = true
        guard case .reading = state else { return }
        if error == .headerOverflow {
            refuse(
                Problem(.badRequest, "cannot read the request: its head is too large"),
                context
            )
        } else {
            refuse(Problem(.badRequest, "cannot read the request: it is not HTTP/1.1"), context)
        }
    }

    /// Answers a request that is not let through, and ends the connection.
    private func refuse(_ problem: Problem, _ context: ChannelHandlerContext) {
        isLast = true
        // Without its body the status still says what happened.
        let body = (try? ByteBuffer(json: problem)) ?? ByteBuffer()
        let head = HTTPResponseHead(
            version: .http1_1,
            status: HTTPResponseStatus(statusCode: problem.status),
            headers: [
                "content-type": "application/problem+json",
                "content-length": String(body.readableBytes),
            ]
        )
        write(context: context, data: NIOAny(OutboundIn.head(head)), promise: nil)
        write(context: context, data: NIOAny(OutboundIn.body(.byteBuffer(body))), promise: nil)
        write(context: context, data: NIOAny(OutboundIn.end(nil)), promise: nil)
    }

    private func startTimer(_ context: ChannelHandlerContext) {
        guard timer == nil else { return }
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timer = nil
            if self.idleSince == nil, !self.isStalled { return }
            if self.deadline <= .now() {
                self.close()
            } else {
                self.startTimer(context)
            }
        }
    }
}

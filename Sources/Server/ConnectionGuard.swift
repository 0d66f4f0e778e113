import API
import NIOCore
import NIOHTTP1

/// Keeps one connection within its limits: the handler behind the HTTP decoder.
///
/// It lets one request at a time through, when it was read whole and who asks has a turn: what a
/// client did not finish to say is not acted on. Of what follows at most one read buffer is taken
/// in meanwhile; the rest stays in the socket until the client blocks. It refuses what is no HTTP
/// or too large, closes a client that takes too long to send or to read, and decides after each
/// answer whether the connection goes on.
final class ConnectionGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    /// More parts than a read buffer of 4 KiB can hold: the shortest ones, chunks, take 6 bytes.
    private static let mostHeld = 1024

    private enum State {
        /// The client owes a request, or the rest of one.
        case reading
        /// A request was read whole and waits for its turn.
        case waiting
        /// A request was read whole and is being answered.
        case answering
        /// The head of an answer was written, and its body is being made.
        case streaming(BodySender)
        /// An answer was written, and the client has to read before more is written.
        case draining
        /// The last answer is being written; what the client still sends is not read.
        case closing
    }

    let peer: Peer
    /// Whose connection it counts as; nil once it has lost its place.
    var user: User?
    private let limits: Limits
    private let timeout: TimeAmount
    private let connections: Connections
    private let turns: Turns
    private let responder: Responder
    private var state = State.reading
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()
    /// Who asked the request that waits or is being answered, and for whom.
    private var asker: Asker?
    private var claim = Claim.none
    private var isHead = false
    /// Whether the client takes a body in chunks; else it ends with the connection.
    private var takesChunks = true
    private var isLast = false
    /// Whether the client has ended its side; what it asked before is answered.
    private var hasEnded = false
    /// Whether a request of what is being read has begun; those behind it wait for turns.
    private var hasBegun = false
    private var deadline: NIODeadline
    private var timer: Scheduled<Void>?
    /// What arrived before the request ahead of it was answered.
    private var held = CircularBuffer<HTTPServerRequestPart>()
    private var wantsRead = false
    private var context: ChannelHandlerContext?

    init(
        _ limits: Limits,
        peer: Peer,
        connections: Connections,
        turns: Turns,
        responder: Responder
    ) {
        self.peer = peer
        self.limits = limits
        self.connections = connections
        self.turns = turns
        self.responder = responder
        timeout = TimeAmount(limits.requestTimeout)
        deadline = .now() + timeout
    }

    var userID: User.ID { User.ID(uid: peer.uid, door: peer.door) }

    /// Since when the client owes a request or has not read; nil while a request waits or is being
    /// answered.
    var idleSince: NIODeadline? {
        switch state {
        case .waiting, .answering: nil
        case .streaming(let sender): sender.isPaused ? deadline - timeout : nil
        case .reading, .draining, .closing: deadline - timeout
        }
    }

    /// Ends the connection: at once where no request is being answered, after the answer otherwise.
    func stop() {
        isLast = true
        switch state {
        case .reading: close()
        case .streaming(let sender) where sender.isEndless: sender.cancel()
        default: break
        }
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
        switch state {
        case .waiting: if let asker { turns.forget(self, asker) }
        case .streaming(let sender): sender.cancel()
        default: break
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch state {
        case .reading: pass(part, context)
        case .waiting, .answering, .streaming, .draining: hold(part)
        case .closing: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) { hasBegun = false }

    /// Keeps what came ahead, which is the parts of one read buffer.
    ///
    /// When a client hangs up or ends its side, NIO reads all it ever sent: a client that asked
    /// hundreds of requests ahead is then closed, rather than kept in memory.
    private func hold(_ part: HTTPServerRequestPart) {
        if held.count < Self.mostHeld {
            held.append(part)
        } else {
            switch state {
            case .waiting: if let asker { turns.forget(self, asker) }
            case .streaming(let sender): sender.cancel()
            default: break
            }
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
            guard body.readableBytes + part.readableBytes <= limits.bodyBytes else {
                return refuse(tooLarge, context)
            }
            if body.readableBytes == 0 { body = part } else { body.writeBuffer(&part) }
        case .end: finishReading(mustWait: wasHeld || hasBegun)
        }
    }

    /// A request was read whole: it begins, or waits for its turn.
    private func finishReading(mustWait: Bool) {
        guard let head else { return }
        claim = Claim(head.headers)
        let asker = turns.asker(
            Asker.ID(uid: peer.uid, person: claim.person?.subject),
            isRoot: peer.isRoot
        )
        self.asker = asker
        if mustWait || !asker.hasTurn {
            state = .waiting
            turns.wait(self, asker)
        } else {
            hasBegun = true
            begin()
        }
    }

    /// Lets the request through that waited for its turn.
    func takeTurn() { begin() }

    private func begin() {
        guard let head, let asker, let context else { return }
        state = .answering
        isHead = head.method == .HEAD
        takesChunks = head.version == .http1_1
        turns.begin(asker)
        let request = Request(head: head, body: body, peer: peer, claim: claim)
        self.head = nil
        body = ByteBuffer()
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        responder.begin(request) { bound.value.finish($0) }
    }

    /// The work on the request is over.
    private func finish(_ reply: Reply) {
        connections.settle(self, isWelcome: reply.isWelcome)
        if let context, !isHead, case .stream(let stream) = reply.answer.body {
            if stream.isEndless { endTurn() }
            start(stream, of: reply.answer, context)
        } else {
            endTurn()
            if let context { send(reply.answer, context) }
        }
    }

    private func endTurn() {
        if let asker { turns.end(asker) }
        asker = nil
    }

    private var tooLarge: Problem {
        Problem(.bodyTooLarge, "cannot take a body of more than \(limits.bodyBytes) bytes")
    }

    private func take(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        // HTTP/1.0 clients may keep a connection only by asking for it, which none needs to. After
        // CONNECT or an upgrade the bytes that follow are no HTTP requests.
        isLast =
            isLast || !head.isKeepAlive || head.version != .http1_1
            || head.method == .CONNECT || head.headers.contains(name: "upgrade")
        if let length = head.headers.first(name: "content-length"),
            Int(length).map({ $0 > limits.bodyBytes }) ?? true
        {
            return refuse(tooLarge, context)
        }
        if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
            let go = ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")
            context.writeAndFlush(wrapOutboundOut(go), promise: nil)
        }
        self.head = head
    }

    func read(context: ChannelHandlerContext) {
        if case .closing = state { return }
        if held.isEmpty {
            context.read()
        } else {
            wantsRead = true
        }
    }

    private func send(_ answer: Answer, _ context: ChannelHandlerContext) {
        isLast = isLast || answer.isLast
        conclude(message(answer, context), context)
    }

    private func message(_ answer: Answer, _ context: ChannelHandlerContext) -> ByteBuffer {
        answer.message(
            closing: isFinal,
            withBody: !isHead,
            chunked: takesChunks,
            context.channel.allocator
        )
    }

    /// Whether nothing follows the answer that is being written.
    private var isFinal: Bool { isLast || hasEnded && held.isEmpty }

    /// Writes the end of an answer.
    private func conclude(_ message: ByteBuffer, _ context: ChannelHandlerContext) {
        let isFinal = isFinal
        state = isFinal ? .closing : .draining
        deadline = .now() + timeout
        startTimer(context)
        if isFinal {
            closeAfter(message, context)
        } else {
            context.writeAndFlush(wrapOutboundOut(message), promise: nil)
            goOn(context)
        }
    }

    /// Begins to send an answer whose body is made meanwhile.
    private func start(
        _ stream: BodyStream,
        of answer: Answer,
        _ context: ChannelHandlerContext
    ) {
        let head = message(answer, context)
        context.writeAndFlush(wrapOutboundOut(head), promise: nil)
        let sender = BodySender(stream, on: responder.executor)
        state = .streaming(sender)
        sender.start(send: sendPart, onEnd: endStream)
    }

    private func sendPart(_ part: [UInt8]) -> Bool {
        guard let context else { return true }
        var buffer = context.channel.allocator.buffer(capacity: part.count + 16)
        if takesChunks { buffer.writeString("\(String(part.count, radix: 16))\r\n") }
        buffer.writeBytes(part)
        if takesChunks { buffer.writeString("\r\n") }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
        if context.channel.isWritable { return true }
        deadline = .now() + timeout
        startTimer(context)
        return false
    }

    private func endStream(_ failure: (any Error)?) {
        endTurn()
        if let failure { responder.report(failure) }
        guard let context, case .streaming = state else { return }
        guard failure == nil else { return close() }
        conclude(ByteBuffer(string: takesChunks ? "0\r\n\r\n" : ""), context)
    }

    private func closeAfter(_ message: ByteBuffer, _ context: ChannelHandlerContext) {
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.close() }
        context.writeAndFlush(wrapOutboundOut(message), promise: written)
    }

    /// Takes up the next request, once the answer to the one before is on its way.
    private func goOn(_ context: ChannelHandlerContext) {
        guard case .draining = state, context.channel.isWritable else { return }
        state = .reading
        while case .reading = state, let part = held.popFirst() {
            pass(part, context, wasHeld: true)
        }
        guard case .reading = state, held.isEmpty else { return }
        if isLast || hasEnded { return end(context) }
        if wantsRead {
            wantsRead = false
            context.read()
        }
    }

    /// Ends the connection behind what was written.
    private func end(_ context: ChannelHandlerContext) {
        state = .closing
        closeAfter(ByteBuffer(), context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .streaming(let sender) = state {
            if context.channel.isWritable { sender.goOn() }
        } else {
            goOn(context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        hasEnded = true
        if case .reading = state { end(context) }
    }

    /// Refuses what is no HTTP; the errors of the socket just end the connection.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return close() }
        isLast = true
        guard case .reading = state else { return }
        let reason =
            error == .headerOverflow ? "its head is too large" : "it is not HTTP/1.1"
        refuse(Problem(.badRequest, "cannot read the request: \(reason)"), context)
    }

    /// Answers a request that is not let through, and ends the connection.
    private func refuse(_ problem: Problem, _ context: ChannelHandlerContext) {
        isLast = true
        send(Answer(problem), context)
    }

    private func startTimer(_ context: ChannelHandlerContext) {
        guard timer == nil else { return }
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timer = nil
            if self.idleSince == nil { return }
            if self.deadline <= .now() {
                self.close()
            } else {
                self.startTimer(context)
            }
        }
    }
}

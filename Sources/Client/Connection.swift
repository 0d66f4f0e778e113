import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// One request to the agent.
struct Call: Sendable {
    var method: HTTPMethod
    var target: String
    var headers: HTTPHeaders = [:]
    var body = ByteBuffer()

    /// Whether doing it twice is the same as doing it once.
    var isRepeatable: Bool { method != .POST || headers.contains(name: "idempotency-key") }
}

/// What the agent answered.
struct Reply: Sendable {
    var status: Int
    var type: String?
    var body = ByteBuffer()
}

/// The connection to the agent, made when it is needed and made anew when it was closed.
actor Connection {
    private let socket: String
    private let timeout: TimeAmount
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let eventLoop: any EventLoop
    private var channel: EventLoopFuture<any Channel>?

    /// The thread of the socket, so that a call changes threads only on its way in and out.
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        eventLoop.executor.asUnownedSerialExecutor()
    }

    init(socket: String, timeout: TimeAmount) {
        self.socket = socket
        self.timeout = timeout
        eventLoop = group.next()
    }

    func close() async {
        // Neither can fail in a way that matters to somebody who is done.
        try? await channel?.get().close().get()
        try? await group.shutdownGracefully()
    }

    /// Sends a call and waits for its answer.
    func exchange(_ call: Call) async throws(ClientError) -> Reply {
        do {
            let isReused = channel != nil
            do {
                return try await send(call)
            } catch ExchangeHandler.Failure.closed where isReused && call.isRepeatable {
                // The agent closes idle connections: this one may have ended before the call came.
                return try await send(call)
            }
        } catch is HTTPParserError {
            throw .protocolError("cannot read the agent's answer: it is not HTTP")
        } catch {
            throw .unreachable(socket: socket, reason: Self.reason(error, timeout))
        }
    }

    private func send(_ call: Call) async throws -> Reply {
        let channel = try await connected()
        let reply = eventLoop.makePromise(of: Reply.self)
        channel.writeAndFlush(Exchange(call: call, reply: reply), promise: nil)
        return try await reply.futureResult.get()
    }

    private func connected() async throws -> any Channel {
        if let channel = try? await channel?.get(), channel.isActive { return channel }
        let made = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelInitializer { [timeout] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(
                        ExchangeHandler(timeout: timeout)
                    )
                }
            }
            .connect(unixDomainSocketPath: socket)
        channel = made
        return try await made.get()
    }

    /// Says for a person what went wrong, and what to do.
    private static func reason(_ error: any Error, _ timeout: TimeAmount) -> String {
        switch error {
        case ChannelError.connectTimeout, ExchangeHandler.Failure.noAnswer:
            return "no answer within \(timeout.nanoseconds / 1_000_000_000) s"
        case ExchangeHandler.Failure.closed:
            return """
                it closed the connection before it answered; what was asked may or may not have \
                been done; is sallyportd running?
                """
        case is SocketAddressError:
            return "the path is longer than the 107 bytes a socket's may have"
        case let error as IOError:
            switch error.errnoCode {
            case ENOENT: return "no such file; is sallyportd running?"
            case ECONNREFUSED: return "nobody listens there; is sallyportd running?"
            case EACCES, EPERM:
                return "permission denied; your user is not in group sallyport"
            case ENOTDIR, ENOTSOCK, EPROTOTYPE: return "this is not the socket of an agent"
            default: return "\(error)"
            }
        default:
            return "\(error)"
        }
    }
}

/// A call on its way, and where its answer goes.
private struct Exchange: Sendable {
    var call: Call
    var reply: EventLoopPromise<Reply>
}

/// Writes calls and hands each its answer, in order.
private final class ExchangeHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Exchange
    typealias OutboundOut = HTTPClientRequestPart

    enum Failure: Error {
        case noAnswer
        case closed
    }

    private let timeout: TimeAmount
    private var waiting = CircularBuffer<EventLoopPromise<Reply>>()
    private var reply: Reply?

    init(timeout: TimeAmount) {
        self.timeout = timeout
    }

    func write(
        context: ChannelHandlerContext,
        data: NIOAny,
        promise: EventLoopPromise<Void>?
    ) {
        let exchange = unwrapOutboundIn(data)
        waiting.append(exchange.reply)
        let timer = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            exchange.reply.fail(Failure.noAnswer)
            context.close(promise: nil)
        }
        exchange.reply.futureResult.whenComplete { _ in timer.cancel() }

        var head = HTTPRequestHead(
            version: .http1_1,
            method: exchange.call.method,
            uri: exchange.call.target,
            headers: exchange.call.headers
        )
        head.headers.add(name: "host", value: "sallyport")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if exchange.call.body.readableBytes > 0 {
            context.write(wrapOutboundOut(.body(.byteBuffer(exchange.call.body))), promise: nil)
        }
        // A write that fails is noticed as the end of the connection, once the agent's answer,
        // which may say why it reads no further, has been read.
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            reply = Reply(
                status: Int(head.status.code),
                type: head.headers.first(name: "content-type")
            )
        case .body(var body):
            reply?.body.writeBuffer(&body)
        case .end:
            guard let reply else { return }
            self.reply = nil
            waiting.popFirst()?.succeed(reply)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        while let next = waiting.popFirst() { next.fail(Failure.closed) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // An answer that breaks off and a broken socket are told by the end of the connection.
        if let error = error as? HTTPParserError, error != .invalidEOFState {
            while let next = waiting.popFirst() { next.fail(error) }
        }
        context.close(promise: nil)
    }
}

import HummingbirdCore
public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
public import ServiceLifecycle

/// The agent's HTTP/1.1 server on a Unix socket.
///
/// All of it runs on one event loop, the service's functions included.
public final class SocketServer: Service {
    /// Bytes read from a connection at a time, which are more than all common requests have.
    ///
    /// What a client sends ahead costs the agent this much and no more.
    private static let readBuffer = 4096

    private let listener: ListeningSocket
    private let executor: LoopExecutor
    private let limits: Limits
    private let logger: Logger
    private let responder: Responder

    /// Makes a server.
    ///
    /// - Parameters:
    ///   - service: what stands behind the routes.
    ///   - listener: where clients connect; it is closed, and a file it made is removed, at stop.
    ///   - executor: the loop that everything runs on.
    ///   - limits: what one client may cost.
    ///   - logger: takes faults of the agent's own; nothing is logged per request.
    public init(
        service: any AccessService,
        listener: ListeningSocket,
        executor: LoopExecutor,
        limits: Limits = Limits(),
        logger: Logger
    ) {
        self.listener = listener
        self.executor = executor
        self.limits = limits
        self.logger = logger
        responder = Responder(
            service: service,
            identities: IdentityResolver(executor: executor),
            limits: limits,
            logger: logger
        )
    }

    /// Serves until the service group stops or the task is cancelled.
    ///
    /// Then no new connection is taken, idle ones are closed, and requests in flight have
    /// ``Limits/stopTimeout`` to be answered.
    ///
    /// - Throws: where the listening socket cannot be used.
    public func run() async throws {
        let loop = executor.eventLoop
        let (connections, ended) = try await loop.submit { [limits] in
            let ended = loop.makePromise(of: Void.self)
            let connections = Connections(limits: limits, ended: ended)
            return (NIOLoopBound(connections, eventLoop: loop), ended.futureResult)
        }.get()
        let (turns, pipe) = try await Turns.open(on: loop)
        ended.whenComplete { _ in pipe.close(promise: nil) }
        let channel = try await bootstrap(connections, turns)
            .withBoundSocket(listener.descriptor).get()
        try listener.extendBacklog()
        // However it comes about: a server that accepts no more has ended.
        channel.closeFuture.whenComplete { [limits] _ in
            connections.value.stop(within: TimeAmount(limits.stopTimeout), on: loop)
        }
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await ended.get()
        } onCancelOrGracefulShutdown: { [listener] in
            listener.removeFile()
            channel.close(promise: nil)
        }
    }

    private func bootstrap(
        _ connections: NIOLoopBound<Connections>,
        _ turns: NIOLoopBound<Turns>
    ) -> ServerBootstrap {
        let setUp: @Sendable (any Channel) -> EventLoopFuture<Void> = { [self] channel in
            channel.eventLoop.makeCompletedFuture {
                try start(channel, connections.value, turns.value)
            }
        }
        return ServerBootstrap(group: executor.eventLoop)
            .serverChannelInitializer { [executor, listener] channel in
                channel.eventLoop.makeCompletedFuture {
                    let doorkeeper = Doorkeeper(
                        socket: listener.descriptor,
                        connections: connections.value,
                        setUp: { socket in
                            _ = ClientBootstrap(group: executor.eventLoop)
                                .channelInitializer(setUp)
                                .withConnectedSocket(socket)
                        }
                    )
                    try channel.pipeline.syncOperations.addHandler(doorkeeper)
                }
            }
            // The doorkeeper takes the others.
            .serverChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer(setUp)
    }

    /// Sets up one connection; an error closes it.
    private func start(
        _ channel: any Channel,
        _ connections: Connections,
        _ turns: Turns
    ) throws {
        let options = channel.syncOptions
        try options?.setOption(.allowRemoteHalfClosure, value: true)
        try options?.setOption(.maxMessagesPerRead, value: 1)
        try options?.setOption(
            .recvAllocator,
            value: FixedSizeRecvByteBufferAllocator(capacity: Self.readBuffer)
        )
        let pipeline = channel.pipeline.syncOperations
        let peer = try pipeline.peerCredentials()
        let guardian = try connections.add(
            of: peer.uid,
            turns: turns,
            closing: channel.closeFuture
        )

        let http = HTTP1Channel(
            responder: { [responder] request, writer, _ in
                let response = await responder.respond(to: request, from: peer)
                try await writer.write(response: response.head, body: response.body)
            },
            configuration: .init(
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: limits.headerBytes,
                    maxHeaderListSize: limits.headerBytes,
                    maxHeaderFieldCount: limits.headerFields
                )
            )
        )
        let ready = http.setup(channel: channel, logger: logger)
        try pipeline.addHandler(
            guardian,
            position: .after(
                try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            )
        )
        let bound = NIOLoopBound(guardian, eventLoop: channel.eventLoop)
        ready.whenSuccess { [executor, logger] value in
            Task(executorPreference: executor) {
                await http.handle(value: value, logger: logger)
                bound.value.end()
            }
        }
    }
}

extension ChannelPipeline.SynchronousOperations {
    /// Who is at the other end of the channel's socket.
    fileprivate func peerCredentials() throws -> PeerCredentials {
        let peer = try withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
            try PeerCredentials(socket: $0)
        }
        guard let peer else { throw ChannelError.operationUnsupported }
        return peer
    }
}

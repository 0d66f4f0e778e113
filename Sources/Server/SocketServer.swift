public import Access
import Linux
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
    private let service: any AccessService
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
        self.service = service
        self.listener = listener
        self.executor = executor
        self.limits = limits
        self.logger = logger
        responder = Responder(
            service: service,
            identities: IdentityResolver(executor: executor),
            executor: executor,
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
        let (turns, pipe) = try await Turns.open(on: loop, requestLimit: limits.requestsPerUser)
        let (doors, opened, ended) = try await loop.submit { [self] in
            let ended = loop.makePromise(of: Void.self)
            let connections = NIOLoopBound(
                Connections(limits: limits, ended: ended),
                eventLoop: loop
            )
            let doors = Doors(
                folder: listener.folder,
                on: loop,
                logger: logger,
                serve: { [self] in accept($0, $1, connections, turns) },
                onClosed: { [limits] in
                    connections.value.stop(within: TimeAmount(limits.stopTimeout), on: loop)
                }
            )
            let opened = doors.open(.people, listener, maker: listener.maker)
            return (NIOLoopBound(doors, eventLoop: loop), opened, ended.futureResult)
        }.get()
        ended.whenComplete { _ in pipe.close(promise: nil) }
        do {
            _ = try await opened.get()
        } catch {
            loop.execute { doors.value.stop() }
            throw error
        }
        async let _: Void = followDelegates(doors)
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await ended.get()
        } onCancelOrGracefulShutdown: {
            loop.execute { doors.value.stop() }
        }
    }

    /// Keeps the delegates' socket there exactly as long as there are delegates.
    private func followDelegates(_ doors: NIOLoopBound<Doors>) async {
        var current: [String] = []
        for await users in await service.delegateUsers() where users != current {
            current = users
            guard let folder = listener.folder else {
                logger.error("cannot make a socket for delegates: the agent's own has no path")
                continue
            }
            let groups = try? await NIOThreadPool.singleton.runIfActive {
                users.map { ($0, NameService.primaryGroup(ofUser: $0)) }
            }
            let path = folder + "/delegate.sock"
            executor.eventLoop.execute { [logger] in
                doors.value.close(.delegates)
                guard let groups, let first = groups.first else { return }
                doors.value.open(.delegates) {
                    let socket = try ListeningSocket.make(
                        path: path,
                        permissions: 0o660,
                        group: first.1
                    )
                    for (user, group) in groups where group == nil || group != socket.group {
                        logger.warning(
                            """
                            user \(user), a delegate, may be unable to connect to \(path): it does \
                            not belong to the user's group
                            """
                        )
                    }
                    return socket
                }
            }
        }
    }

    /// Takes the connections to a socket.
    private func accept(
        _ socket: ListeningSocket,
        _ door: Door,
        _ connections: NIOLoopBound<Connections>,
        _ turns: NIOLoopBound<Turns>
    ) -> EventLoopFuture<any Channel> {
        bootstrap(socket, door, connections, turns)
            .withBoundSocket(socket.descriptor)
            .flatMapThrowing { channel in
                try socket.extendBacklog()
                return channel
            }
    }

    private func bootstrap(
        _ listener: ListeningSocket,
        _ door: Door,
        _ connections: NIOLoopBound<Connections>,
        _ turns: NIOLoopBound<Turns>
    ) -> ServerBootstrap {
        let setUp: @Sendable (any Channel) -> EventLoopFuture<Void> = { [self] channel in
            channel.eventLoop.makeCompletedFuture {
                try start(channel, door, connections.value, turns.value)
            }
        }
        return ServerBootstrap(group: executor.eventLoop)
            .serverChannelInitializer { [executor] channel in
                channel.eventLoop.makeCompletedFuture {
                    let doorkeeper = Doorkeeper(
                        socket: listener.descriptor,
                        door: door,
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
        _ door: Door,
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
        let guardian = ConnectionGuard(
            limits,
            peer: try pipeline.peer(at: door),
            connections: connections,
            turns: turns,
            responder: responder
        )
        try connections.add(guardian, closing: channel.closeFuture)
        var decoderLimits = NIOHTTPDecoderLimitConfiguration()
        decoderLimits.maxHeaderFieldSize = limits.headerBytes
        decoderLimits.maxHeaderListSize = limits.headerBytes
        decoderLimits.maxHeaderFieldCount = limits.headerFields
        let decoder = HTTPRequestDecoder(
            leftOverBytesStrategy: .dropBytes,
            limitConfiguration: decoderLimits
        )
        try pipeline.addHandlers(ByteToMessageHandler(decoder), guardian)
        let bound = NIOLoopBound(guardian, eventLoop: channel.eventLoop)
        let all = NIOLoopBound(connections, eventLoop: channel.eventLoop)
        responder.welcome(guardian.peer) { all.value.settle(bound.value, isWelcome: $0) }
    }
}

extension ChannelPipeline.SynchronousOperations {
    /// Who is at the other end of the channel's socket.
    fileprivate func peer(at door: Door) throws -> Peer {
        let peer = try withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
            try Peer(door: door, socket: $0)
        }
        guard let peer else { throw ChannelError.operationUnsupported }
        return peer
    }
}

import Linux
import Logging
import NIOCore
import NIOPosix

/// Keeps the agent's sockets, and the folder they are in, where clients look for them.
///
/// Whoever tidies the folder up would else leave an agent behind that nobody can reach. A socket
/// that was handed over is its owner's to look after.
final class Doors {
    /// How long a socket without a file goes on, for those who wait there to be connected.
    private static let farewell = TimeAmount.seconds(1)
    /// How long to wait where a socket cannot be made.
    private static let pause = TimeAmount.seconds(1)

    private let folder: String?
    private let loop: any EventLoop
    private let logger: Logger
    private let serve: (ListeningSocket, Door) -> EventLoopFuture<any Channel>
    private let onClosed: () -> Void
    /// Makes each of the sockets that are to be there.
    private var makers: [Door: () throws -> ListeningSocket] = [:]
    private var sockets: [Door: ListeningSocket] = [:]
    private var channels: [Door: any Channel] = [:]
    private var watch: (any Channel)?
    private var isFailing = false
    private var isStopping = false

    /// - Parameters:
    ///   - folder: Where the sockets are; nil where none has a file.
    ///   - loop: What everything runs on.
    ///   - logger: Is told when a socket had to be made again, or cannot be.
    ///   - serve: Takes the connections to a socket.
    ///   - onClosed: Is called when nobody can connect any more.
    init(
        folder: String?,
        on loop: any EventLoop,
        logger: Logger,
        serve: @escaping (ListeningSocket, Door) -> EventLoopFuture<any Channel>,
        onClosed: @escaping () -> Void
    ) {
        self.folder = folder
        self.loop = loop
        self.logger = logger
        self.serve = serve
        self.onClosed = onClosed
    }

    /// Opens a door, with a socket that is there already.
    ///
    /// - Parameters:
    ///   - door: Which one.
    ///   - socket: What listens there.
    ///   - maker: Makes such a socket anew; nil where that is not ours to do.
    /// - Returns: Succeeds once clients are taken.
    func open(
        _ door: Door,
        _ socket: ListeningSocket,
        maker: (() throws -> ListeningSocket)?
    ) -> EventLoopFuture<any Channel> {
        makers[door] = maker
        if maker != nil, watch == nil { loop.assumeIsolated().execute { self.lookAfter() } }
        return use(socket, at: door)
    }

    /// Opens a door, now or as soon as its socket can be made.
    func open(_ door: Door, maker: @escaping () throws -> ListeningSocket) {
        makers[door] = maker
        makeMissing()
    }

    /// Closes a door; those who came by it stay.
    func close(_ door: Door) {
        makers[door] = nil
        sockets.removeValue(forKey: door)?.removeItsFile()
        guard let channel = channels.removeValue(forKey: door) else { return }
        if isStopping { channel.close(promise: nil) } else { retire(channel) }
    }

    /// Closes all doors for good.
    func stop() {
        if isStopping { return }
        isStopping = true
        for door in [Door.delegates, .people] { close(door) }
        watch?.close(promise: nil)
        onClosed()
    }

    private func use(_ socket: ListeningSocket, at door: Door) -> EventLoopFuture<any Channel> {
        if let old = channels.removeValue(forKey: door) { retire(old) }
        sockets[door] = socket
        return serve(socket, door).assumeIsolated().map { channel in
            self.channels[door] = channel
            channel.closeFuture.assumeIsolated().whenComplete { _ in
                // However it comes about: a server that accepts no more has ended.
                if door == .people, self.channels[door] === channel { self.stop() }
            }
            if self.isStopping { channel.close(promise: nil) }
            return channel
        }.nonisolated()
    }

    private func retire(_ channel: any Channel) {
        loop.assumeIsolated().scheduleTask(in: Self.farewell) { channel.close(promise: nil) }
    }

    /// Makes what is not there, and tries again until it is.
    private func lookAfter() {
        if isStopping { return }
        do {
            try watchFolder()
            makeMissing()
        } catch {
            retry(after: error)
        }
    }

    private func makeMissing() {
        if isStopping { return }
        let missing = makers.filter { sockets[$0.key]?.isInPlace != true }
        if missing.isEmpty { return }
        do {
            // What was watched may be gone, or be another folder's.
            try watchFolder()
            for (door, maker) in missing {
                let isLost = sockets[door] != nil
                let socket = try maker()
                _ = use(socket, at: door)
                if isLost { logger.warning("made the socket \(socket.path ?? "") again") }
            }
            isFailing = false
        } catch {
            retry(after: error)
        }
    }

    private func retry(after error: any Error) {
        if !isFailing { logger.error("\(error); trying again every second") }
        isFailing = true
        loop.assumeIsolated().scheduleTask(in: Self.pause) { self.lookAfter() }
    }

    private func watchFolder() throws {
        watch?.close(promise: nil)
        watch = nil
        guard let folder else { return }
        ListeningSocket.makeFolder(folder)
        let descriptor: CInt
        do throws(SystemError) {
            descriptor = try FolderWatch.make(folder).release()
        } catch {
            throw ListeningSocket.Failure(
                description: "cannot look after the sockets in \(folder): \(error)"
            )
        }
        let handler = NIOLoopBound(Handler { self.makeMissing() }, eventLoop: loop)
        NIOPipeBootstrap(group: loop)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(handler.value)
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .assumeIsolated()
            .whenSuccess { self.watch = $0 }
    }

    /// Tells that something came, whatever it is.
    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let act: () -> Void

        init(_ act: @escaping () -> Void) { self.act = act }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { act() }
    }
}

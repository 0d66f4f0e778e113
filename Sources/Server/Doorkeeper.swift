import Linux
import NIOCore

/// Empties the queue of those who wait to be connected, whenever somebody is in it.
///
/// One user who connects and hangs up as fast as the machine allows would fill the queue, and keep
/// all others out, if each of these connections were set up. So who connects too often is refused
/// as soon as the kernel says who it is.
final class Doorkeeper: ChannelInboundHandler {
    typealias InboundIn = any Channel

    /// Connections that are refused, or taken, before other sockets are looked at again.
    private static let mostRefused = 4096
    private static let mostTaken = 32

    private let socket: CInt
    private let door: Door
    private let connections: Connections
    private let setUp: (CInt) -> Void

    /// - Parameters:
    ///   - socket: the one that listens.
    ///   - door: which one that is.
    ///   - connections: what knows how often each user has connected.
    ///   - setUp: takes over a connected socket.
    init(socket: CInt, door: Door, connections: Connections, setUp: @escaping (CInt) -> Void) {
        self.socket = socket
        self.door = door
        self.connections = connections
        self.setUp = setUp
    }

    /// The first one, which NIO has taken.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = unwrapInboundIn(data)
        let isAdmitted = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: CInt.self
        ) { admits($0) }
        if isAdmitted == true { context.fireChannelRead(data) } else { channel.close(promise: nil) }
    }

    /// The others.
    func channelReadComplete(context: ChannelHandlerContext) {
        var (taken, refused) = (0, 0)
        while taken < Self.mostTaken, refused < Self.mostRefused,
            let connected = try? UnixSocket.accept(from: socket)
        {
            if admits(connected.number) {
                setUp(connected.release())
                taken += 1
            } else {
                refused += 1
            }
        }
        context.fireChannelReadComplete()
    }

    private func admits(_ connected: CInt) -> Bool {
        guard let uid = try? PeerCredentials.uid(ofPeerOf: connected) else { return false }
        return connections.admits(User.ID(uid: uid, door: door))
    }
}

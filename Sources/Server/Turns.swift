import Glibc
import NIOCore
import NIOPosix

/// What the connections of one user share.
final class User {
    let uid: UInt32
    private let requestLimit: Int
    var open: [ObjectIdentifier: ConnectionGuard] = [:]
    /// Requests that are being answered.
    var inWork = 0
    /// Connections whose next request was read and may not begin yet, the first one first.
    var waiting = CircularBuffer<ConnectionGuard>()

    init(uid: UInt32, requestLimit: Int) {
        self.uid = uid
        self.requestLimit = requestLimit
    }

    var mayBegin: Bool { uid == 0 || inWork < requestLimit }
    /// Whether a request may begin at once.
    var hasTurn: Bool { waiting.isEmpty && mayBegin }
}

/// Lets requests that had to wait begin, a few of each user whenever the event loop has looked at
/// all sockets.
///
/// The loop looks at sockets only when it has no task left; requests that begin from tasks, each
/// when one before it ends, would keep it from ever reading anybody else's. So a turn is a byte
/// that the server sends to itself: it arrives with what others sent meanwhile.
final class Turns: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var users: [ObjectIdentifier: User] = [:]
    private var isComing = false
    private var context: ChannelHandlerContext?

    /// Makes the two ends of the server's talk with itself.
    static func open(on eventLoop: any EventLoop) async throws -> (NIOLoopBound<Turns>, any Channel)
    {
        var ends: [CInt] = [-1, -1]
        let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw IOError(errnoCode: errno, reason: "socketpair")
        }
        let (input, output) = (ends[0], ends[1])
        let turns = try await eventLoop.submit {
            NIOLoopBound(Turns(), eventLoop: eventLoop)
        }.get()
        let channel = try await NIOPipeBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(turns.value)
                }
            }
            .takingOwnershipOfDescriptors(input: input, output: output)
            .get()
        return (turns, channel)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    /// Lets a connection's request begin at one of the next turns.
    func wait(_ guardian: ConnectionGuard) {
        let user = guardian.user
        user.waiting.append(guardian)
        users[ObjectIdentifier(user)] = user
        if user.mayBegin { next() }
    }

    /// Makes a turn come.
    func next() {
        guard !isComing, let context else { return }
        isComing = true
        context.writeAndFlush(NIOAny(ByteBuffer(integer: UInt8(0))), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isComing = false
        for (id, user) in users {
            while user.mayBegin, let guardian = user.waiting.popFirst() { guardian.takeTurn() }
            if user.waiting.isEmpty { users[id] = nil }
        }
    }
}

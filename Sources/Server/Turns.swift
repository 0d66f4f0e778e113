import Linux
import NIOCore
import NIOPosix
import Policy

/// Somebody whose requests are answered a few at a time.
final class Asker {
    /// Who it is: the user of a connection, or the person that it says it speaks for.
    struct ID: Hashable {
        var uid: UInt32
        /// Only as the connection has it, and so not somebody else's by another connection.
        var person: Subject?
    }

    let id: ID
    private let limit: Int
    /// Requests that are being answered.
    fileprivate(set) var inWork = 0
    /// Connections whose next request was read and may not begin yet, the first one first.
    fileprivate var waiting = CircularBuffer<ConnectionGuard>()

    fileprivate init(_ id: ID, limit: Int) {
        self.id = id
        self.limit = limit
    }

    fileprivate var mayBegin: Bool { inWork < limit }
    /// Whether a request may begin at once.
    var hasTurn: Bool { waiting.isEmpty && mayBegin }
    /// Requests that begin in one turn at most.
    fileprivate var perTurn: Int { min(waiting.count, limit) }
}

/// Lets requests that had to wait begin, a few of each asker whenever the event loop has looked at
/// all sockets.
///
/// The loop looks at sockets only when it has no task left; requests that begin from tasks, each
/// when one before it ends, would keep it from ever reading anybody else's. So a turn is a byte
/// that the server sends to itself: it arrives with what others sent meanwhile.
final class Turns: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let requestLimit: Int
    /// All who have a request in work or waiting.
    private var askers: [Asker.ID: Asker] = [:]
    private var isComing = false
    private var context: ChannelHandlerContext?

    private init(requestLimit: Int) { self.requestLimit = requestLimit }

    /// Makes the two ends of the server's talk with itself.
    ///
    /// - Parameters:
    ///   - eventLoop: the server's.
    ///   - requestLimit: requests of one asker other than root that are answered at a time.
    /// - Returns: what keeps the turns, and the channel to close in the end.
    /// - Throws: where the process has no descriptors left.
    static func open(
        on eventLoop: any EventLoop,
        requestLimit: Int
    ) async throws -> (NIOLoopBound<Turns>, any Channel) {
        let (input, output) = try UnixSocketPair.make().release()
        let turns = try await eventLoop.submit {
            NIOLoopBound(Turns(requestLimit: requestLimit), eventLoop: eventLoop)
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

    /// The one whose next request it is.
    func asker(_ id: Asker.ID, isRoot: Bool) -> Asker {
        if let asker = askers[id] { return asker }
        let asker = Asker(id, limit: isRoot ? .max : requestLimit)
        askers[id] = asker
        return asker
    }

    /// A request begins.
    func begin(_ asker: Asker) { asker.inWork += 1 }

    /// The work on a request is over, whether or not its answer could be sent.
    func end(_ asker: Asker) {
        asker.inWork -= 1
        settle(asker)
    }

    /// Lets a connection's request begin at one of the next turns.
    func wait(_ guardian: ConnectionGuard, _ asker: Asker) {
        asker.waiting.append(guardian)
        settle(asker)
    }

    /// Forgets a connection that went away.
    func forget(_ guardian: ConnectionGuard, _ asker: Asker) {
        asker.waiting.removeAll { $0 === guardian }
        settle(asker)
    }

    private func settle(_ asker: Asker) {
        if asker.waiting.isEmpty {
            // Somebody who asks again meanwhile is another one.
            if asker.inWork == 0, askers[asker.id] === asker { askers[asker.id] = nil }
        } else if asker.mayBegin {
            next()
        }
    }

    /// Makes a turn come.
    private func next() {
        guard !isComing, let context else { return }
        isComing = true
        context.writeAndFlush(NIOAny(ByteBuffer(integer: UInt8(0))), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isComing = false
        for asker in askers.values where !asker.waiting.isEmpty {
            for _ in 0..<asker.perTurn {
                guard asker.mayBegin, let guardian = asker.waiting.popFirst() else { break }
                guardian.takeTurn()
            }
            settle(asker)
        }
    }
}

public import Netlink
internal import Synchronization
internal import SystemPackage

/// A connection to nf_tables of the network namespace of the thread that opened it.
///
/// All calls are synchronous: the kernel acts while it takes the message, in about 10 microseconds
/// for one element. Calls of several threads take turns. A connection owns the tables it makes with
/// ``Table/Flags/owner``, so keep it as long as they are to be owned.
///
/// Changing needs CAP_NET_ADMIN in the network namespace, and so does reading.
///
/// ## Topics
///
/// ### Changing
/// - ``commit(_:ifGeneration:)``
/// - ``prepare(_:ifGeneration:)``
/// - ``commit(_:)``
/// - ``generation()``
///
/// ### Reading
/// - ``tables()``
/// - ``chains(in:)``
/// - ``rules(in:)-(Table)``
/// - ``sets(in:)``
/// - ``element(_:in:)``
/// - ``elements(of:)``
/// - ``forEachElement(of:_:)``
public final class Connection: Sendable {
    let socket: Mutex<NetlinkSocket>
    /// The port id the kernel gave this connection: the owner of its tables, the author of its
    /// changes in a ``Monitor``'s events.
    public let portID: UInt32

    /// Opens a connection in the calling thread's network namespace.
    ///
    /// - Throws: `systemCall` where the process may have no more open files, or the kernel has no
    ///   nf_tables.
    public init() throws(NetlinkError) {
        let socket = try NetlinkSocket.open(.netfilter)
        portID = socket.portID
        self.socket = Mutex(socket)
    }

    /// Carries out a transaction: all of it, or nothing and an error.
    ///
    /// - Parameters:
    ///   - transaction: What to do; nothing is sent when it is empty.
    ///   - generation: When given, the ruleset's generation the transaction was made for: what
    ///     ``generation()`` said *before* the ruleset was read. A commit of anybody in the namespace
    ///     makes a new one, whatever table it is about; an element whose time ends does not.
    /// - Throws: `invalid` before anything is sent; `refused` naming the first operation the kernel
    ///   refused; `notPermitted`; `staleGeneration` when the ruleset is not of `generation` any
    ///   more; `outcomeUnknown` when the answer was lost: read back what the kernel has.
    public func commit(
        _ transaction: Transaction,
        ifGeneration generation: UInt32? = nil
    ) throws(NetlinkError) {
        try commit(prepare(transaction, ifGeneration: generation))
    }

    /// Encodes a transaction, so that all that is left for its commit is to send it.
    ///
    /// Others may be committed in between; the kernel judges it when it is sent.
    ///
    /// - Parameters:
    ///   - transaction: What to do.
    ///   - generation: As for ``commit(_:ifGeneration:)``.
    /// - Returns: The transaction as it will be sent.
    /// - Throws: `invalid` for what cannot be sent.
    public func prepare(
        _ transaction: Transaction,
        ifGeneration generation: UInt32? = nil
    ) throws(NetlinkError) -> PreparedTransaction {
        guard !transaction.isEmpty else {
            return PreparedTransaction(transaction: transaction, batch: nil)
        }
        return try socket.withLock { (socket) throws(NetlinkError) in
            let batch = try transaction.encoded(
                firstSequence: socket.takeSequence(count: 0),
                generation: generation
            )
            _ = socket.takeSequence(count: batch.sequenceCount)
            return PreparedTransaction(transaction: transaction, batch: batch)
        }
    }

    /// Carries out a transaction that this connection has prepared.
    ///
    /// - Throws: As ``commit(_:ifGeneration:)``, but never `invalid`.
    public func commit(_ prepared: consuming PreparedTransaction) throws(NetlinkError) {
        let transaction = prepared.transaction
        guard let batch = prepared.batch else { return }
        try socket.withLock { (socket) throws(NetlinkError) in
            try batch.send(over: &socket)
            try Self.readAnswers(to: batch, of: transaction, over: &socket)
        }
    }

    private static func readAnswers(
        to batch: borrowing SealedBatch,
        of transaction: Transaction,
        over socket: inout NetlinkSocket
    ) throws(NetlinkError) {
        let first = batch.firstSequence
        // The kernel has queued all its answers by the time the batch is sent. All are read, also
        // behind an error, or they would be taken for answers to the next request.
        var failure: (sequence: UInt32, errno: Errno, message: String?, offset: Int?)?
        var isAcknowledged = false
        var loss: NetlinkError?
        var isEmpty = false
        while !isEmpty {
            do {
                let received: Void? = try socket.receive(waiting: false) {
                    (datagram) throws(NetlinkError) in
                    var cursor = ReplyCursor()
                    while let reply = try cursor.next(in: datagram) {
                        guard reply.sequence &- first < UInt32(batch.sequenceCount) else {
                            continue
                        }
                        switch reply.content {
                        case .refused(let errno, let message, let offset):
                            if failure == nil {
                                failure = (reply.sequence, errno, message, offset)
                            }
                        case .acknowledged:
                            if reply.sequence == batch.lastSequence { isAcknowledged = true }
                        case .done, .object: break
                        }
                    }
                }
                isEmpty = received == nil
            } catch .outcomeUnknown(let errno) {
                // Reported before the answers that did fit, of which a refusal is the truth.
                loss = .outcomeUnknown(errno)
            }
        }
        guard let failure else {
            if let loss { throw loss }
            guard isAcknowledged else { throw .outcomeUnknown(nil) }
            return
        }
        if let origin = batch.origin(of: failure.sequence, offset: failure.offset) {
            let operation = transaction.operations[origin.operation]
            throw .refused(
                operation: origin.operation,
                description: operation.summary(part: origin.part),
                failure.errno,
                kernelMessage: failure.message
            )
        }
        // Numbered as BEGIN or END: the batch as a whole (nfnetlink_rcv_batch, nfnetlink.c).
        switch failure.errno {
        case .notPermitted: throw .notPermitted
        case Errno(rawValue: kernelRestart): throw .staleGeneration
        default: throw .batchRefused(failure.errno)
        }
    }
}

/// A transaction that is encoded: ``Connection/commit(_:)`` sends it, once.
public struct PreparedTransaction: ~Copyable {
    fileprivate let transaction: Transaction
    /// Nil where there is nothing to do.
    fileprivate let batch: SealedBatch?
}

/// `ERESTART`, include/linux/errno.h of the kernel: not meant for user space, and yet sent.
private let kernelRestart: Int32 = 85

internal import CMnl
internal import CNftnl
internal import Glibc
public import Netlink
internal import Synchronization
internal import SystemPackage

/// A connection to nf_tables of the network namespace of the thread that opened it.
///
/// All calls are synchronous: the kernel acts while it takes the message, in tens of microseconds
/// for a few elements. Calls of several threads take turns. A connection owns the tables it makes
/// with ``Table/Flags/owner``, so keep it as long as they are to be owned.
///
/// ## Topics
/// - ``commit(_:ifGeneration:)``
/// - ``tables()``
/// - ``forEachElement(of:_:)``
public final class Connection: Sendable {
    private let socket: Mutex<NetlinkSocket>
    /// The port id the kernel gave this connection: the owner of its tables, the author of its
    /// changes in a ``Monitor``'s events.
    public let portID: UInt32

    /// Opens a connection in the calling thread's network namespace.
    public init() throws(NetlinkError) {
        let socket = try NetlinkSocket.open(.netfilter)
        portID = socket.portID
        self.socket = Mutex(socket)
    }

    /// Carries out a transaction: all of it, or nothing and an error.
    ///
    /// - Parameters:
    ///   - transaction: What to do; nothing is sent when it is empty.
    ///   - generation: When given, the ruleset's generation the transaction was made for.
    /// - Throws: `invalid` before anything is sent; `refused` naming the first operation the kernel
    ///   refused; `notPermitted`; `staleGeneration` when the ruleset is not of `generation` any
    ///   more; `outcomeUnknown` when the answer was lost: read back what the kernel has.
    public func commit(
        _ transaction: Transaction,
        ifGeneration generation: UInt32? = nil
    ) throws(NetlinkError) {
        guard !transaction.isEmpty else { return }
        try socket.withLock { (socket) throws(NetlinkError) in
            let batch = try transaction.encoded(
                firstSequence: socket.takeSequence(count: 0),
                generation: generation
            )
            let first = socket.takeSequence(count: batch.sequenceCount)
            try batch.send(over: &socket)
            try Self.readAnswers(to: batch, of: transaction, first: first, over: &socket)
        }
    }

    private static func readAnswers(
        to batch: borrowing SealedBatch,
        of transaction: Transaction,
        first: UInt32,
        over socket: inout NetlinkSocket
    ) throws(NetlinkError) {
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
                description: operation.summary(element: origin.element),
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

    // MARK: Listing

    /// The ruleset's generation: it changes with every commit of anybody in the namespace.
    public func generation() throws(NetlinkError) -> UInt32 {
        var found: UInt32?
        let request = Request(
            type: Kernel.Message.getGeneration,
            family: 0,
            purpose: "read the generation"
        )
        try ask(request) { (datagram, body, _) throws(NetlinkError) in
            var cursor = AttributeCursor(body)
            while let attribute = try cursor.next(in: datagram) {
                guard attribute.type == Kernel.GenerationAttribute.id else { continue }
                found = try datagram.bigEndian32(attribute)
            }
        }
        guard let found else { throw .outcomeUnknown(nil) }
        return found
    }

    /// All tables of the namespace.
    public func tables() throws(NetlinkError) -> [Table] {
        let request = Request(
            type: Kernel.Message.getTable,
            family: 0,
            isListing: true,
            purpose: "list tables"
        )
        return try list(request) { (datagram, body, family) throws(NetlinkError) in
            try Table(in: datagram, at: body, family: family)
        }
    }

    /// The chains of a table; none if it is missing.
    public func chains(in table: Table) throws(NetlinkError) -> [Chain] {
        let request = Request(
            type: Kernel.Message.getChain,
            family: table.family.rawValue,
            isListing: true,
            purpose: "list chains"
        )
        return try list(request) { (datagram, body, _) throws(NetlinkError) in
            try Chain(in: datagram, at: body, of: table)
        }
    }

    /// The rules of a table, chain by chain in their order; none if it is missing.
    public func rules(in table: Table) throws(NetlinkError) -> [Rule] {
        let request = Request(
            type: Kernel.Message.getRule,
            family: table.family.rawValue,
            isListing: true,
            purpose: "list rules of table \(table.name)",
            table: table.name
        )
        return try list(request) { (datagram, body, _) throws(NetlinkError) in
            try Rule(in: datagram, at: body, of: table)
        }
    }

    /// The rules of a chain, in their order; none if it is missing.
    public func rules(in chain: Chain) throws(NetlinkError) -> [Rule] {
        try rules(in: chain.table).filter { $0.chain.name == chain.name }
    }

    /// The named sets and verdict maps of a table; `ENOENT` if it is missing.
    ///
    /// Sets whose keys have other fields than ``DataType`` knows are left out.
    public func sets(in table: Table) throws(NetlinkError) -> [NamedSet] {
        let request = Request(
            type: Kernel.Message.getSet,
            family: table.family.rawValue,
            isListing: true,
            purpose: "list sets of table \(table.name)",
            table: table.name
        )
        return try list(request) { (datagram, body, _) throws(NetlinkError) in
            try NamedSet(in: datagram, at: body, of: table)
        }
    }

    /// The elements of a set, in the kernel's order; `ENOENT` if it is missing.
    public func elements(of set: NamedSet) throws(NetlinkError) -> [SetElement] {
        try retryingInterrupted { () throws(NetlinkError) in
            var found: [SetElement] = []
            try forEachElement(of: set) { found.append($0) }
            // The kernel counts its way back into a hash table for each datagram (nft_rhash_walk).
            // While it grows the table, after many additions, it so lists some elements twice and
            // misses as many, and does not say so.
            guard Set(found.lazy.map(\.key)).count == found.count else { throw .interrupted }
            return found
        }
    }

    /// Hands each element of a set to `body`, without keeping them: for sets of millions.
    ///
    /// Other calls of this connection wait until the listing is over, so `body` must make none.
    /// While the kernel grows a hash table, in the milliseconds after many additions, it hands out
    /// some elements twice and misses as many; ``elements(of:)`` notices and lists again.
    /// - Throws: `interrupted` when the ruleset changed on the way: elements may then have been
    ///   missed or handed out twice.
    public func forEachElement(
        of set: NamedSet,
        _ body: (SetElement) -> Void
    ) throws(NetlinkError) {
        let request = Request(
            type: Kernel.Message.getElement,
            family: set.table.family.rawValue,
            isListing: true,
            purpose: "list elements of set \(set.name)",
            table: set.table.name,
            set: set.name
        )
        var decoder = ElementDecoder(of: set)
        try ask(request) { (datagram, attributes, _) throws(NetlinkError) in
            try decoder.decode(in: datagram, at: attributes, body)
        }
    }

    /// One element by its key; nil if the set has none, `ENOENT` if the set is missing.
    ///
    /// In a set of ranges it is the range that has the key in it.
    public func element(_ key: Key, in set: NamedSet) throws(NetlinkError) -> SetElement? {
        var request = Request(
            type: Kernel.Message.getElement,
            family: set.table.family.rawValue,
            purpose: "read an element of set \(set.name)",
            table: set.table.name,
            set: set.name,
            key: key
        )
        var decoder = ElementDecoder(of: set)
        var found: SetElement?
        do {
            if set.pairsElements {
                // A range's end is an element of its own, and comes first in a listing too.
                request.flags = Kernel.intervalEnd
                do {
                    try ask(request) { (datagram, attributes, _) throws(NetlinkError) in
                        try decoder.decode(in: datagram, at: attributes) { _ in }
                    }
                } catch  where error.isNotFound {
                    // A range up to the highest key has no end.
                }
                request.flags = 0
            }
            try ask(request) { (datagram, attributes, _) throws(NetlinkError) in
                try decoder.decode(in: datagram, at: attributes) { found = $0 }
            }
        } catch  where error.isNotFound {
            // The kernel says ENOENT of a missing set and of a missing element alike.
            guard try sets(in: set.table).contains(where: { $0.name == set.name }) else {
                throw error
            }
            return nil
        }
        return found
    }

    private func list<Object>(
        _ request: Request,
        _ decode: (RawSpan, Range<Int>, UInt8) throws(NetlinkError) -> Object?
    ) throws(NetlinkError) -> [Object] {
        try retryingInterrupted { () throws(NetlinkError) in
            var found: [Object] = []
            try ask(request) { (datagram, attributes, family) throws(NetlinkError) in
                if let object = try decode(datagram, attributes, family) { found.append(object) }
            }
            return found
        }
    }

    /// Lists again when a change came in between; each commit of anybody is one.
    private func retryingInterrupted<Result>(
        _ body: () throws(NetlinkError) -> Result
    ) throws(NetlinkError) -> Result {
        for _ in 0..<20 {
            do {
                return try body()
            } catch .interrupted {
                continue
            }
        }
        throw .interrupted
    }

    /// Sends a request and hands each object of the answer to `body`: attributes and family.
    private func ask(
        _ request: Request,
        _ body: (RawSpan, Range<Int>, UInt8) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        try socket.withLock { (socket) throws(NetlinkError) in
            let sequence = socket.takeSequence()
            try request.send(over: &socket, sequence: sequence)
            var isDone = false
            var isInterrupted = false
            var failure: NetlinkError?
            while !isDone {
                _ = try socket.receive(waiting: true) { (datagram) throws(NetlinkError) in
                    var cursor = ReplyCursor()
                    while let reply = try cursor.next(in: datagram) {
                        guard reply.sequence == sequence else { continue }
                        if reply.isInterrupted { isInterrupted = true }
                        switch reply.content {
                        case .object(_, let range):
                            // linux/netfilter/nfnetlink.h, struct nfgenmsg: u8 family, u8 version,
                            // u16 resource id.
                            guard range.count >= 4 else {
                                throw .malformedReply(offset: range.lowerBound)
                            }
                            let family = try datagram.uint8(at: range.lowerBound)
                            try body(datagram, range.lowerBound + 4..<range.upperBound, family)
                        case .acknowledged, .done: isDone = true
                        case .refused(let errno, let message, _):
                            isDone = true
                            failure = .refused(
                                operation: 0,
                                description: request.purpose,
                                errno,
                                kernelMessage: message
                            )
                        }
                    }
                }
            }
            if let failure { throw failure }
            if isInterrupted { throw .interrupted }
        }
    }
}

/// `ERESTART`, include/linux/errno.h of the kernel: not meant for user space, and yet sent.
private let kernelRestart: Int32 = 85

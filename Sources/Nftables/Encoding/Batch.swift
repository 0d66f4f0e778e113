internal import CLinux
internal import CMnl
internal import CNftnl
internal import Glibc
internal import Linux
internal import Netlink
internal import SystemPackage

/// A header in the batch's memory, to which libnftnl and libmnl append attributes.
typealias Message = UnsafeMutablePointer<nlmsghdr>

/// Owns a `struct nftnl_batch` that is being filled.
///
/// The kernel acknowledges a batch without its END message and then drops it silently, so only a
/// ``SealedBatch`` can be sent.
@safe struct Batch: ~Copyable {
    /// Which operation a message is made of, and from which of its elements on.
    struct Origin {
        var operation: Int
        var element: Int?
    }

    private let pointer: OpaquePointer
    fileprivate let firstSequence: UInt32
    fileprivate var origins: [Origin] = []
    private var lastLength = 0

    private init(owning pointer: OpaquePointer, firstSequence: UInt32) {
        unsafe self.pointer = unsafe pointer
        self.firstSequence = firstSequence
    }

    deinit { unsafe nftnl_batch_free(pointer) }

    /// Begins a batch whose messages are numbered from `firstSequence` on.
    ///
    /// With `generation` the kernel refuses the batch (`ERESTART`) if the ruleset is another by
    /// then.
    static func make(firstSequence: UInt32, generation: UInt32?) throws(NetlinkError) -> Batch {
        // Pages of 256 KiB keep a million elements (60 MB) within the 1,024 parts of one sendmsg
        // (UIO_MAXIOV). A message may start before a page's end and has at most 64 KiB and a header.
        guard let pointer = unsafe nftnl_batch_alloc(256 << 10, 128 << 10) else {
            throw .outOfMemory
        }
        let batch = unsafe Batch(owning: unsafe pointer, firstSequence: firstSequence)
        let begin = unsafe nftnl_batch_begin(batch.end, firstSequence)
        if let begin = unsafe begin, let generation {
            unsafe mnl_attr_put_u32(begin, Kernel.batchGeneration, generation.bigEndian)
        }
        try batch.close()
        return batch
    }

    /// Appends a message; `fill` adds its attributes, 64 KiB at most.
    mutating func append(
        _ type: UInt16,
        _ family: Family,
        flags: Int32 = 0,
        for origin: Origin,
        _ fill: (Message) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        origins.append(origin)
        let sequence = firstSequence &+ UInt32(origins.count)
        let message = unsafe nftnl_nlmsg_build_hdr(
            end,
            type,
            UInt16(family.rawValue),
            UInt16(flags),
            sequence
        )
        guard let message = unsafe message else { throw .outOfMemory }
        unsafe try fill(message)
        lastLength = unsafe Int(message.pointee.nlmsg_len)
        try close()
    }

    /// Ends the batch and asks for an answer to its last operation.
    ///
    /// One answer suffices: errors come for every operation, asked for or not. Thousands of answers
    /// would overflow the receive buffer.
    consuming func sealed() throws(NetlinkError) -> SealedBatch {
        // Found from the end: nftnl_batch_update may have moved the message to the next page.
        unsafe UnsafeMutableRawPointer(end).advanced(by: -lastLength)
            .assumingMemoryBound(to: nlmsghdr.self).pointee.nlmsg_flags |= UInt16(NLM_F_ACK)
        unsafe nftnl_batch_end(end, firstSequence &+ UInt32(origins.count) &+ 1)
        try close()
        return SealedBatch(self)
    }

    /// Where the next message starts.
    private var end: UnsafeMutablePointer<CChar> {
        unsafe nftnl_batch_buffer(pointer).assumingMemoryBound(to: CChar.self)
    }

    /// Counts the message at the end as part of the batch, which may start a page.
    private func close() throws(NetlinkError) {
        guard unsafe nftnl_batch_update(pointer) >= 0 else { throw .outOfMemory }
    }

    /// The memory of all messages, valid as long as the batch.
    fileprivate var parts: [UnsafeRawBufferPointer] {
        let count = unsafe Int(nftnl_batch_iovec_len(pointer))
        var vectors = unsafe [iovec](repeating: iovec(), count: count)
        unsafe nftnl_batch_iovec(pointer, &vectors, UInt32(count))
        return unsafe vectors.map {
            unsafe UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len)
        }
    }
}

/// A batch that is complete: the only thing that can be sent.
struct SealedBatch: ~Copyable {
    private let batch: Batch

    fileprivate init(_ batch: consuming Batch) { self.batch = batch }

    /// BEGIN's sequence number.
    var firstSequence: UInt32 { batch.firstSequence }

    /// How many sequence numbers it uses: BEGIN's, one for each message, END's.
    var sequenceCount: Int { batch.origins.count + 2 }

    /// The sequence number whose acknowledgement tells that all was done.
    var lastSequence: UInt32 { batch.firstSequence &+ UInt32(batch.origins.count) }

    /// Sends the whole batch as one datagram.
    func send(over socket: inout NetlinkSocket) throws(NetlinkError) {
        let parts = unsafe batch.parts
        // UIO_MAXIOV, linux/uio.h.
        guard unsafe parts.count <= 1024 else {
            throw .systemCall(SystemError(call: "sendmsg", errno: .messageTooLong))
        }
        unsafe try socket.send(parts)
    }

    /// Which operation a sequence number stands for, and which of its elements or expressions the
    /// offset in that message; nil for BEGIN, END and numbers of other batches.
    ///
    /// The offset is the offending attribute's, from the extended acknowledgement.
    func origin(of sequence: UInt32, offset: Int?) -> (operation: Int, part: Int?)? {
        let message = Int(sequence &- batch.firstSequence) - 1
        guard batch.origins.indices.contains(message) else { return nil }
        let origin = batch.origins[message]
        let index = offset.flatMap { offset in
            unsafe batch.parts.lazy.compactMap { part in
                try? unsafe listIndex(
                    at: offset,
                    ofMessage: sequence,
                    list: origin.element == nil
                        ? Kernel.RuleAttribute.expressions : Int(Kernel.ElementList.elements),
                    in: part.bytes
                )
            }.first
        }
        return (origin.operation, origin.element.map { $0 + (index ?? 0) } ?? index)
    }
}

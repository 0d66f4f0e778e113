internal import CLinux

extension NetlinkSocket {
    /// Asks the kernel for all objects of a kind, and hands each to `each`: a range of a datagram.
    ///
    /// There is no moment at which a listing of what comes and goes is complete: what does so
    /// meanwhile may be missed or listed.
    ///
    /// - Parameters:
    ///   - type: The request's type.
    ///   - body: What follows the netlink header: a C structure.
    ///   - purpose: What it is for, to stand behind "cannot" in an error.
    ///   - each: Takes the datagram and where in it an object lies.
    /// - Throws: `refused` where the kernel does, or what `each` throws.
    mutating func dump<Body: BitwiseCopyable>(
        type: Int32,
        _ body: Body,
        purpose: String,
        _ each: (RawSpan, Range<Int>) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        let sequence = takeSequence()
        var header = nlmsghdr()
        header.nlmsg_len = UInt32(MemoryLayout<nlmsghdr>.size + MemoryLayout<Body>.size)
        header.nlmsg_type = UInt16(type)
        header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        header.nlmsg_seq = sequence
        unsafe try withUnsafeBytes(of: &header) { (header) throws(NetlinkError) in
            unsafe try withUnsafeBytes(of: body) { (body) throws(NetlinkError) in
                unsafe try send([header, body])
            }
        }
        var isDone = false
        while !isDone {
            _ = try receive(waiting: true) { (datagram) throws(NetlinkError) in
                var cursor = ReplyCursor()
                while let reply = try cursor.next(in: datagram) {
                    guard reply.sequence == sequence else { continue }
                    switch reply.content {
                    case .object(_, let body): try each(datagram, body)
                    case .refused(let errno, let message, _):
                        throw .refused(
                            operation: 0,
                            description: purpose,
                            errno,
                            kernelMessage: message
                        )
                    case .acknowledged, .done: isDone = true
                    }
                }
            }
        }
    }
}

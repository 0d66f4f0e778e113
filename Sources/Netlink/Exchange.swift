internal import CLinux

extension NetlinkSocket {
    /// Asks the kernel, and hands each object of its answer to `body` until it is done.
    ///
    /// - Parameters:
    ///   - type: The message's type.
    ///   - flags: `NLM_F_DUMP` for a listing, `NLM_F_ACK` for a change.
    ///   - content: What follows the message's header.
    ///   - purpose: What it is for, to stand behind "cannot" in an error.
    ///   - body: Reads an object, which lies in this range of the datagram.
    /// - Throws: `refused` with the kernel's reason.
    package mutating func ask(
        _ type: UInt16,
        flags: Int32,
        _ content: MessageContent,
        _ purpose: String,
        _ body: (RawSpan, Range<Int>) throws(NetlinkError) -> Void = { (_, _) in }
    ) throws(NetlinkError) {
        let sequence = takeSequence()
        var header = nlmsghdr()
        header.nlmsg_len = UInt32(MemoryLayout<nlmsghdr>.size + content.bytes.count)
        header.nlmsg_type = type
        header.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
        header.nlmsg_seq = sequence
        unsafe try withUnsafeBytes(of: header) { (header) throws(NetlinkError) in
            unsafe try content.bytes.withUnsafeBufferPointer {
                (content) throws(NetlinkError) in
                unsafe try send([header, UnsafeRawBufferPointer(content)])
            }
        }
        var isDone = false
        while !isDone {
            _ = try receive(waiting: true) { (datagram) throws(NetlinkError) in
                var cursor = ReplyCursor()
                while let reply = try cursor.next(in: datagram) {
                    guard reply.sequence == sequence else { continue }
                    switch reply.content {
                    case .object(_, let object): try body(datagram, object)
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

/// What follows the header of a message in the making.
package struct MessageContent {
    fileprivate var bytes: [UInt8] = []

    /// Nothing yet.
    package init() {}

    /// Begins with a structure of the kernel's, which has no gaps.
    package init<Structure: BitwiseCopyable>(_ structure: Structure) {
        unsafe withUnsafeBytes(of: structure) { unsafe bytes.append(contentsOf: $0) }
    }

    /// Adds an attribute (linux/netlink.h, `struct nlattr`).
    package mutating func add(_ type: UInt32, _ payload: [UInt8]) {
        let length = UInt16(4 + payload.count)
        for number in [length, UInt16(truncatingIfNeeded: type)] {
            unsafe withUnsafeBytes(of: number) { unsafe bytes.append(contentsOf: $0) }
        }
        bytes += payload + [UInt8](repeating: 0, count: -payload.count & 3)
    }

    /// Adds a number in the network's byte order.
    package mutating func add(_ type: UInt32, bigEndian number: some FixedWidthInteger) {
        add(type, unsafe withUnsafeBytes(of: number.bigEndian) { unsafe [UInt8]($0) })
    }

    /// Adds an attribute that holds others.
    package mutating func add(_ type: UInt32, _ body: (inout MessageContent) -> Void) {
        var nested = MessageContent()
        body(&nested)
        add(type | UInt32(NLA_F_NESTED), nested.bytes)
    }
}

internal import CLinux
package import SystemPackage

/// One message of the kernel, told apart by what it means for the request.
package struct Reply: Hashable, Sendable {
    /// What a message says.
    package enum Content: Hashable, Sendable {
        /// `NLMSG_ERROR` with 0: done.
        case acknowledged
        /// `NLMSG_ERROR` or `NLMSG_DONE` with an error number.
        ///
        /// `offset` is that of the offending attribute in the request, from its header on.
        case refused(Errno, message: String?, offset: Int?)
        /// `NLMSG_DONE`: the end of a listing.
        case done
        /// An object, event or answer of the protocol; `body` is a range of the datagram.
        case object(type: UInt16, body: Range<Int>)
    }

    /// The sequence number of the request this answers, or of the change an event tells of.
    package let sequence: UInt32
    /// The port whose request this answers, or who made the change an event tells of.
    package let portID: UInt32
    /// Whether a listing was made inconsistent by a change (`NLM_F_DUMP_INTR`).
    package let isInterrupted: Bool
    /// Whether an event tells of an object that was not there before (`NLM_F_EXCL`).
    package let isNew: Bool
    /// What the message says.
    package let content: Content
}

/// Walks the messages of one datagram.
package struct ReplyCursor: Sendable {
    private var offset = 0

    /// Starts at the first message.
    package init() {}

    /// The next message; nil at the end of the datagram.
    ///
    /// - Throws: `malformedReply` when a length leads out of the datagram, `outcomeUnknown` when
    ///   the kernel says that it dropped answers (`NLMSG_OVERRUN`).
    package mutating func next(in datagram: RawSpan) throws(NetlinkError) -> Reply? {
        let start = offset
        guard start < datagram.byteCount else { return nil }
        // linux/netlink.h, nlmsghdr: u32 length, u16 type, u16 flags, u32 sequence, u32 port.
        let length = Int(try datagram.uint32(at: start))
        guard length >= headerSize, length <= datagram.byteCount - start else {
            throw .malformedReply(offset: start)
        }
        offset = min(datagram.byteCount, start + (length + 3) & ~3)
        let type = try datagram.uint16(at: start + 4)
        let flags = try datagram.uint16(at: start + 6)
        let body = start + headerSize..<start + length
        return Reply(
            sequence: try datagram.uint32(at: start + 8),
            portID: try datagram.uint32(at: start + 12),
            isInterrupted: flags & UInt16(NLM_F_DUMP_INTR) != 0,
            isNew: flags & UInt16(NLM_F_EXCL) != 0,
            content: try Self.content(type: type, flags: flags, body: body, in: datagram)
        )
    }

    private static func content(
        type: UInt16,
        flags: UInt16,
        body: Range<Int>,
        in datagram: RawSpan
    ) throws(NetlinkError) -> Reply.Content {
        switch Int32(type) {
        case NLMSG_ERROR:
            try error(flags: flags, body: body, attributes: nil, in: datagram) ?? .acknowledged
        case NLMSG_DONE where body.count >= 4:
            // A listing that failed on the way says so here, the attributes right behind.
            try error(
                flags: flags,
                body: body,
                attributes: body.lowerBound + 4,
                in: datagram
            ) ?? .done
        case NLMSG_DONE:
            .done
        case NLMSG_OVERRUN:
            throw .outcomeUnknown(.noBufferSpace)
        default:
            .object(type: type, body: body)
        }
    }

    /// Reads `struct nlmsgerr` and the extended acknowledgement; nil when the number is 0.
    private static func error(
        flags: UInt16,
        body: Range<Int>,
        attributes: Int?,
        in datagram: RawSpan
    ) throws(NetlinkError) -> Reply.Content? {
        guard body.count >= 4 else { throw .malformedReply(offset: body.lowerBound) }
        let number = Int32(bitPattern: try datagram.uint32(at: body.lowerBound))
        guard number != 0 else { return nil }
        guard number < 0, number > -4096 else { throw .malformedReply(offset: body.lowerBound) }
        let errno = Errno(rawValue: -number)
        guard flags & UInt16(NLM_F_ACK_TLVS) != 0 else {
            return .refused(errno, message: nil, offset: nil)
        }

        var start = body.lowerBound + 4
        if let attributes {
            start = attributes
        } else {
            // The request's header follows, and its body unless NETLINK_CAP_ACK cut it off.
            guard body.count >= 4 + headerSize else {
                throw .malformedReply(offset: body.lowerBound)
            }
            let request = Int(try datagram.uint32(at: start))
            let isCapped = flags & UInt16(NLM_F_CAPPED) != 0
            guard request >= headerSize, isCapped || request <= body.count - 4 else {
                throw .malformedReply(offset: start)
            }
            start += isCapped ? headerSize : (request + 3) & ~3
        }
        var message: String?
        var offset: Int?
        var cursor = AttributeCursor(min(start, body.upperBound)..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Int(NLMSGERR_ATTR_MSG.rawValue):
                message = try datagram.string(in: attribute.payload)
            case Int(NLMSGERR_ATTR_OFFS.rawValue):
                offset = Int(try datagram.uint32(at: attribute.payload.lowerBound))
            default:
                break
            }
        }
        return .refused(errno, message: message, offset: offset)
    }
}

/// sizeof(struct nlmsghdr), linux/netlink.h.
private let headerSize = 16

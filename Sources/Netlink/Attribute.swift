internal import CLinux

/// One attribute of a message: its type and where its payload lies.
///
/// Payloads are ranges of the datagram and not spans, so that they can be kept and nested freely;
/// every access is checked against the datagram again.
package struct Attribute: Hashable, Sendable {
    /// The type without the nesting and byte order flags (`NLA_TYPE_MASK`).
    package let type: Int
    /// Where the payload lies in the datagram, without header and padding.
    package let payload: Range<Int>
}

/// Walks the attributes that fill a range of a datagram.
package struct AttributeCursor: Sendable {
    private var offset: Int
    private let end: Int

    /// Starts at the first attribute of `range`.
    package init(_ range: Range<Int>) {
        offset = range.lowerBound
        end = range.upperBound
    }

    /// The next attribute; nil when fewer bytes than a header are left.
    package mutating func next(in datagram: RawSpan) throws(NetlinkError) -> Attribute? {
        // linux/netlink.h, struct nlattr: u16 length with header, u16 type.
        guard end - offset >= 4 else { return nil }
        let length = Int(try datagram.uint16(at: offset))
        let type = Int(try datagram.uint16(at: offset + 2)) & 0x3fff
        guard length >= 4, length <= end - offset else {
            throw .malformedReply(offset: offset)
        }
        defer { offset = min(end, offset + (length + 3) & ~3) }
        return Attribute(type: type, payload: offset + 4..<offset + length)
    }
}

extension RawSpan {
    /// The byte at `offset`.
    package func uint8(at offset: Int) throws(NetlinkError) -> UInt8 {
        try load(at: offset, as: UInt8.self)
    }

    /// The 16-bit number at `offset`, in the host's byte order.
    package func uint16(at offset: Int) throws(NetlinkError) -> UInt16 {
        try load(at: offset, as: UInt16.self)
    }

    /// The 32-bit number at `offset`, in the host's byte order.
    package func uint32(at offset: Int) throws(NetlinkError) -> UInt32 {
        try load(at: offset, as: UInt32.self)
    }

    /// The bytes of `range`, copied.
    package func bytes(in range: Range<Int>) throws(NetlinkError) -> [UInt8] {
        guard range.lowerBound >= 0, range.upperBound <= byteCount else {
            throw .malformedReply(offset: range.lowerBound)
        }
        return unsafe extracting(range).withUnsafeBytes { unsafe [UInt8]($0) }
    }

    /// The text of a range up to its first zero byte, as the kernel sends names.
    package func string(in range: Range<Int>) throws(NetlinkError) -> String {
        let bytes = try bytes(in: range)
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Hands each attribute that lies in a range to `body`.
    package func forEachAttribute(
        of range: Range<Int>,
        _ body: (Attribute) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        var cursor = AttributeCursor(range)
        while let attribute = try cursor.next(in: self) { try body(attribute) }
    }

    /// The payload of an attribute that must be one big-endian 16-bit number.
    package func bigEndian16(_ attribute: Attribute) throws(NetlinkError) -> UInt16 {
        guard attribute.payload.count == 2 else {
            throw .malformedReply(offset: attribute.payload.lowerBound)
        }
        return UInt16(bigEndian: try uint16(at: attribute.payload.lowerBound))
    }

    /// The payload of an attribute that must be one big-endian 32-bit number.
    package func bigEndian32(_ attribute: Attribute) throws(NetlinkError) -> UInt32 {
        guard attribute.payload.count == 4 else {
            throw .malformedReply(offset: attribute.payload.lowerBound)
        }
        return UInt32(bigEndian: try load(at: attribute.payload.lowerBound, as: UInt32.self))
    }

    /// The payload of an attribute that must be one big-endian 64-bit number.
    package func bigEndian64(_ attribute: Attribute) throws(NetlinkError) -> UInt64 {
        guard attribute.payload.count == 8 else {
            throw .malformedReply(offset: attribute.payload.lowerBound)
        }
        return UInt64(bigEndian: try load(at: attribute.payload.lowerBound, as: UInt64.self))
    }

    @inline(__always)
    private func load<T: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int,
        as type: T.Type
    ) throws(NetlinkError) -> T {
        guard offset >= 0, offset <= byteCount - MemoryLayout<T>.size else {
            throw .malformedReply(offset: offset)
        }
        // Safe: the bounds are checked above, and every bit pattern is an integer.
        return unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: type)
    }
}

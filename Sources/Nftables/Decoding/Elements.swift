package import Netlink

/// Reads the elements of a set from the messages of one listing.
///
/// The kernel lists ranges of single-field sets as two elements, from the highest to the lowest
/// key: first the one behind the range, flagged as its end, then its start. They may be in two
/// messages.
package struct ElementDecoder {
    private let pairs: Bool
    /// The key behind the range whose start comes next.
    private var end: Key?

    /// Starts a listing of `set`.
    package init(of set: NamedSet) { pairs = set.pairsElements }

    /// Reads one message, a range of a datagram behind the headers.
    package mutating func decode(
        in datagram: RawSpan,
        at attributes: Range<Int>,
        _ body: (SetElement) -> Void
    ) throws(NetlinkError) {
        var cursor = AttributeCursor(attributes)
        while let attribute = try cursor.next(in: datagram) {
            guard attribute.type == Int(Kernel.ElementList.elements) else { continue }
            var list = AttributeCursor(attribute.payload)
            while let element = try list.next(in: datagram) {
                if let element = try decodeElement(in: datagram, at: element.payload) {
                    body(element)
                }
            }
        }
    }

    private mutating func decodeElement(
        in datagram: RawSpan,
        at range: Range<Int>
    ) throws(NetlinkError) -> SetElement? {
        var element = SetElement(Key())
        var flags: UInt32 = 0
        var cursor = AttributeCursor(range)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.ElementAttribute.key: element.key = try key(in: datagram, at: attribute)
            case Kernel.ElementAttribute.keyEnd:
                element.keyEnd = try key(in: datagram, at: attribute)
            case Kernel.ElementAttribute.flags: flags = try datagram.bigEndian32(attribute)
            case Kernel.ElementAttribute.timeout:
                element.timeout = .milliseconds(try datagram.bigEndian64(attribute))
            case Kernel.ElementAttribute.expiration:
                element.expiration = .milliseconds(try datagram.bigEndian64(attribute))
            case Kernel.ElementAttribute.userData:
                element.comment = try comment(
                    in: datagram,
                    at: attribute.payload,
                    as: Nftnl.UserData.elementComment
                )
            case Kernel.ElementAttribute.data:
                element.verdict = try verdict(in: datagram, at: attribute.payload)
            case Kernel.ElementAttribute.expression:
                if case .counter(let counter) = try Expression(
                    in: datagram,
                    at: attribute.payload
                ) {
                    element.counter = counter
                }
            default: break
            }
        }
        // What is not in the set (`*`) has no key.
        guard element.key.count > 0 else { return element }
        guard pairs else {
            // A concatenation's lone key is listed as the range from itself to itself.
            if element.keyEnd == element.key { element.keyEnd = nil }
            return element
        }
        if flags & Kernel.intervalEnd != 0 {
            end = element.key
            return nil
        }
        // Without an end of its own the range goes up to the next one, or to the highest key.
        let last = end.map { $0.stepped(up: false) } ?? element.key.highest
        if last != element.key { element.keyEnd = last }
        end = element.key
        return element
    }

    private func key(
        in datagram: RawSpan,
        at attribute: Attribute
    ) throws(NetlinkError) -> Key {
        var cursor = AttributeCursor(attribute.payload)
        while let data = try cursor.next(in: datagram) {
            guard data.type == Kernel.DataAttribute.value, data.payload.count <= 64 else {
                continue
            }
            return Key(datagram.extracting(data.payload))
        }
        throw .malformedReply(offset: attribute.payload.lowerBound)
    }
}

/// Reads a verdict out of `nft_data_attributes`; nil for other data and unknown verdicts.
func verdict(in datagram: RawSpan, at range: Range<Int>) throws(NetlinkError) -> Verdict? {
    var cursor = AttributeCursor(range)
    while let data = try cursor.next(in: datagram) {
        guard data.type == Kernel.DataAttribute.verdict else { continue }
        var code: Int32?
        var chain: String?
        var fields = AttributeCursor(data.payload)
        while let field = try fields.next(in: datagram) {
            switch field.type {
            case Kernel.DataAttribute.verdictCode:
                code = Int32(bitPattern: try datagram.bigEndian32(field))
            case Kernel.DataAttribute.verdictChain:
                chain = try datagram.string(in: field.payload)
            default: break
            }
        }
        return code.flatMap { Verdict(code: $0, chain: chain) }
    }
    return nil
}

/// Where an attribute at `offset` of the message numbered `sequence` stands in that message's list
/// of elements or expressions; nil if it is none of them.
func listIndex(
    at offset: Int,
    ofMessage sequence: UInt32,
    list: Int,
    in batch: RawSpan
) throws(NetlinkError) -> Int? {
    var start = 0
    while start < batch.byteCount {
        let length = Int(try batch.uint32(at: start))
        guard length >= 20 else { throw .malformedReply(offset: start) }
        guard try batch.uint32(at: start + 8) == sequence else {
            start += length
            continue
        }
        var index = -1
        var attributes = AttributeCursor(start + 20..<start + length)
        while let attribute = try attributes.next(in: batch) {
            guard attribute.type == list else { continue }
            var items = AttributeCursor(attribute.payload)
            while let element = try items.next(in: batch) {
                // Only elements have flags; an expression's attributes are name and data.
                if try !isIntervalEnd(in: batch, at: element.payload) { index += 1 }
                if element.payload.contains(start + offset)
                    || element.payload.lowerBound - 4 == start + offset
                {
                    return index
                }
            }
        }
        return nil
    }
    return nil
}

private func isIntervalEnd(in batch: RawSpan, at range: Range<Int>) throws(NetlinkError) -> Bool {
    var cursor = AttributeCursor(range)
    while let attribute = try cursor.next(in: batch) {
        guard attribute.type == Kernel.ElementAttribute.flags else { continue }
        return try batch.bigEndian32(attribute) & Kernel.intervalEnd != 0
    }
    return false
}

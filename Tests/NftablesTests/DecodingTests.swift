import Netlink
import Nftables
import Testing

/// An attribute: length and type in the host's order, payload, padding.
private func attribute(_ type: UInt8, _ payload: [UInt8]) -> [UInt8] {
    let padding = [UInt8](repeating: 0, count: (4 - payload.count % 4) % 4)
    return [UInt8(payload.count + 4), 0, type, 0] + payload + padding
}

/// An element of a list: NFTA_SET_ELEM_KEY with NFTA_DATA_VALUE, NFTA_SET_ELEM_FLAGS.
private func element(_ key: [UInt8], isEnd: Bool = false) -> [UInt8] {
    attribute(1, attribute(1, attribute(1, key)) + (isEnd ? attribute(3, [0, 0, 0, 1]) : []))
}

private func decode(_ messages: [[UInt8]], of set: NamedSet) throws -> [SetElement] {
    var decoder = ElementDecoder(of: set)
    var found: [SetElement] = []
    for message in messages {
        // NFTA_SET_ELEM_LIST_ELEMENTS
        let bytes = attribute(3, message)
        try decoder.decode(in: bytes.span.bytes, at: 0..<bytes.count) { found.append($0) }
    }
    return found
}

private let ports = NamedSet("p", in: Ruleset.table, key: [.port], flags: .interval)

@Test func aRangesEndMayComeInTheMessageBefore() throws {
    #expect(
        try decode([element([0, 9], isEnd: true), element([0, 5])], of: ports)
            == [SetElement(Key([0, 5]), through: Key([0, 8]))]
    )
}

@Test func rangesWithoutAnEndGoUpToTheNextOrToTheTop() throws {
    #expect(
        try decode([element([0, 9]) + element([0, 5]) + element([0, 4])], of: ports) == [
            SetElement(Key([0, 9]), through: Key([255, 255])),
            SetElement(Key([0, 5]), through: Key([0, 8])),
            SetElement(Key([0, 4])),
        ]
    )
}

@Test func anEndWithoutARangeIsNoElement() throws {
    // The start has expired; the next range has an end of its own.
    let message =
        element([0, 20], isEnd: true) + element([0, 9], isEnd: true) + element([0, 5])
        + element([0, 0], isEnd: true)
    #expect(
        try decode([message], of: ports) == [SetElement(Key([0, 5]), through: Key([0, 8]))]
    )
}

@Test func aKeyWithoutAValueIsMalformed() throws {
    let empty = attribute(1, attribute(1, []))
    #expect(throws: NetlinkError.malformedReply(offset: 12)) { try decode([empty], of: ports) }
}

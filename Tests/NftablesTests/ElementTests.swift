import Netlink
import Nftables
import TestSupport
import Testing

/// A key of address, protocol and port.
func key(_ address: [UInt8], _ transportProtocol: UInt8, _ port: UInt16) -> Key {
    var key = Key()
    key.append(field: address)
    key.append(field: transportProtocol)
    key.append(field: port)
    return key
}

/// A key of protocol and port.
func key(_ transportProtocol: UInt8, _ port: UInt16) -> Key {
    var key = Key()
    key.append(field: transportProtocol)
    key.append(field: port)
    return key
}

@Test(.blocking) func nftPrintsElementsOfEveryKind() throws {
    let listing = try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        try connection.commit(Elements.addition)
        return try ["grants6_64", "trusted"].map {
            try shell("nft", "list", "set", "inet", "sallyport", $0).get()
        }.joined() + shell("nft", "list", "map", "inet", "sallyport", "modes").get()
    }
    try expectFixture("elements.nft", listing)
}

@Test(.blocking) func elementsAreListedAsTheyWereAdded() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        try connection.commit(Elements.addition)
        #expect(Set(try connection.elements(of: Ruleset.trusted)) == Set(Elements.trusted))
        #expect(Set(try connection.elements(of: Ruleset.grants6)) == Set(Elements.grants6))
        #expect(Set(try connection.elements(of: Ruleset.modes)) == Set(Elements.modes))
    }
}

@Test(.blocking) func elementsOfEveryKindAreDeletedByTheirKeys() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        try connection.commit(Elements.addition)
        var transaction = Transaction()
        for element in Elements.trusted { transaction.delete([element], from: Ruleset.trusted) }
        transaction.delete(Elements.grants6, from: Ruleset.grants6)
        transaction.delete(Elements.modes, from: Ruleset.modes)
        try connection.commit(transaction)
        for set in try connection.sets(in: Ruleset.table) {
            #expect(try connection.elements(of: set).isEmpty)
        }
    }
}

@Test(
    .blocking,
    arguments: [
        (Key([0, 0, 0, 1]), nil as Key?), (Key([10, 2, 3, 4]), Key([10, 255, 255, 255])),
        (Key([11, 0, 0, 0]), Key([11, 0, 0, 0])),
        (Key([255, 1, 1, 1]), Key([255, 255, 255, 255])),
    ]
)
func oneElementIsFoundByAKeyWithinIt(_ asked: Key, _ end: Key?) throws {
    let found = try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        try connection.commit(Elements.addition)
        return try connection.element(asked, in: Ruleset.trusted)
    }
    #expect((found?.keyEnd ?? found?.key) == end)
}

@Test(.blocking) func aMissingElementIsNilAndAMissingSetIsAnError() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        let missing = key([192, 0, 2, 0], 6, 22)
        #expect(try connection.element(missing, in: Ruleset.grants4) == nil)
        let nowhere = NamedSet("nowhere", in: Ruleset.table, key: Ruleset.grants4.key)
        let error = #expect(throws: NetlinkError.self) {
            try connection.element(missing, in: nowhere)
        }
        #expect(error?.isNotFound == true)
    }
}

extension Transaction {
    /// How errors write the element that is added last: "add element 10.0.0.0/8 to set trusted".
    fileprivate var elementText: Substring {
        operations.last?.summary(part: 0).split(separator: " ")[2] ?? ""
    }
}

@Test(.blocking, arguments: [0, 1, 8, 31, 32])
func wholePrefixesOfIPv4AreRanges(_ length: Int) throws {
    let mask: UInt32 = length == 0 ? 0 : ~0 << (32 - length)
    let (low, high) = (0xc000_0201 & mask, 0xc000_0201 | ~mask)
    var (key, end) = (Key(), Key())
    key.append(field: low)
    end.append(field: high)
    let element = SetElement(key, through: low == high ? nil : end)
    try inNetworkNamespace {
        let connection = try Connection()
        try connection.commit(Ruleset.creation)
        var transaction = Transaction()
        transaction.add([element], to: Ruleset.trusted)
        try connection.commit(transaction)
        #expect(try connection.elements(of: Ruleset.trusted) == [element])
        let prefix = transaction.elementText
        #expect(
            try shell("nft", "list", "set", "inet", "sallyport", "trusted").get()
                .contains("elements = { \(prefix) }"),
            "\(prefix)"
        )
    }
}

@Test(.blocking, arguments: [0, 64, 127, 128])
func wholePrefixesOfIPv6AreRanges(_ length: Int) throws {
    let mask: UInt128 = length == 0 ? 0 : ~0 << (128 - length)
    let address = UInt128(0x2001_0db8) << 96 | 0xffff_ffff
    let (low, high) = (address & mask, address | ~mask)
    var (key, end) = (Key(), Key())
    key.append(field: low)
    end.append(field: high)
    let element = SetElement(key, through: low == high ? nil : end)
    let set = NamedSet("trusted6", in: Ruleset.table, key: [.ipv6Address], flags: .interval)
    try inNetworkNamespace {
        let connection = try Connection()
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        transaction.add(set)
        transaction.add([element], to: set)
        try connection.commit(transaction)
        #expect(try connection.elements(of: set) == [element])
        let prefix = transaction.elementText
        #expect(
            try shell("nft", "list", "set", "inet", "sallyport", "trusted6").get()
                .contains("elements = { \(prefix) }"),
            "\(prefix)"
        )
    }
}

@Test(.blocking) func aHundredThousandElementsAreOneTransaction() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        let set = NamedSet("many", in: Ruleset.table, key: Ruleset.grants4.key, flags: .timeout)
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        transaction.add(set)
        transaction.add(
            (0..<100_000).map { index in
                var key = Key()
                key.append(field: UInt32(0x0a00_0000 + index))
                key.append(field: UInt8(6))
                key.append(field: UInt16(22))
                return SetElement(key, timeout: .seconds(3600), comment: "\(index)")
            },
            to: set
        )
        let before = try connection.generation()
        try connection.commit(transaction)
        #expect(try connection.generation() == before + 1)
        let comments = try connection.elements(of: set).compactMap {
            $0.comment.flatMap { Int($0) }
        }
        #expect(comments.count == 100_000)
        #expect(Set(comments) == Set(0..<100_000))
    }
}

@Test(.blocking) func aListingThatACommitInterruptsIsNotTakenForWhole() throws {
    try inNetworkNamespace {
        let (connection, other) = (try Connection(), try Connection())
        try connection.commit(Ruleset.creation)
        let set = NamedSet("many", in: Ruleset.table, key: Ruleset.grants4.key)
        var many = Transaction()
        many.add(set)
        many.add(
            (0..<5000).map { SetElement(key([10, 0, UInt8($0 >> 8), UInt8($0 & 255)], 6, 22)) },
            to: set
        )
        try connection.commit(many)
        var change = Transaction()
        change.add(Chain("new", in: Ruleset.table))
        var count = 0
        #expect(throws: NetlinkError.interrupted) {
            try connection.forEachElement(of: set) { _ in
                count += 1
                if count == 1 { try? other.commit(change) }
            }
        }
        // It was read to its end all the same, so that nothing is left over.
        #expect(count == 5000)
        #expect(try connection.elements(of: set).count == 5000)
    }
}

@Test(.blocking) func theWidestElementsFitTheirMessages() throws {
    try inNetworkNamespace {
        let connection = try Connection()
        let chain = Chain(String(repeating: "c", count: 255), in: Ruleset.table)
        let set = NamedSet(
            String(repeating: "s", count: 255),
            in: Ruleset.table,
            key: [.ipv6Address, .ipv6Address, .ipv6Address, .ipv6Address],
            flags: [.interval, .timeout],
            mapsToVerdict: true
        )
        var transaction = Transaction()
        transaction.add(Ruleset.table)
        transaction.add(chain)
        transaction.add(set)
        let elements = (0..<1000).map { index in
            var key = Key()
            for _ in 0..<4 { key.append(field: UInt128(index)) }
            return SetElement(
                key,
                through: key,
                timeout: .seconds(60),
                comment: String(repeating: "x", count: 128),
                verdict: .jump(chain.name)
            )
        }
        transaction.add(elements, to: set)
        try connection.commit(transaction)
        #expect(try connection.elements(of: set).count == 1000)
    }
}

/// Elements of the sets of ``Ruleset``.
private enum Elements {
    static let trusted = [
        SetElement(Key([10, 0, 0, 0]), through: Key([10, 255, 255, 255]), comment: "office"),
        SetElement(Key([11, 0, 0, 0])),
        SetElement(Key([11, 0, 0, 1]), through: Key([11, 0, 0, 9])),
        SetElement(Key([255, 0, 0, 0]), through: Key([255, 255, 255, 255])),
    ]
    static let grants6 = [
        SetElement(key([0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 12), 17, 5000)),
        SetElement(key([UInt8](repeating: 0, count: 16), 6, 22), comment: "everybody"),
    ]
    static let modes = [
        SetElement(key(6, 22), verdict: .jump("keep")),
        SetElement(key(6, 5985), through: key(6, 5986), verdict: .goto("cut")),
        SetElement(key(17, 0), through: key(17, 65535), verdict: .drop),
    ]

    static var addition: Transaction {
        var transaction = Transaction()
        transaction.add(trusted, to: Ruleset.trusted)
        transaction.add(grants6, to: Ruleset.grants6)
        transaction.add(modes, to: Ruleset.modes)
        return transaction
    }
}

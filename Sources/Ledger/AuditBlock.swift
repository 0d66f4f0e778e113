internal import Policy

/// What 1,024 events that follow one another tell of: a Bloom filter of the words that events are
/// searched by, and of each two of them that stand in one event.
///
/// A search looks into those blocks alone that may hold what it is for. An index would have to be
/// written with each event, a page or two for each of its words; this is written once a block, 8
/// bytes an event. With the pairs, words that are common each but rare together are found as fast.
struct AuditBlock: Sendable {
    /// Events of a block.
    static let size: Int64 = 1_024
    /// Bits of a filter: some 13 for each word and pair where no two events are alike, so that one
    /// block in 200 is looked into in vain.
    private static let bitCount: UInt64 = 65_536
    private static let bitsPerWord: UInt64 = 4

    let number: Int64
    private(set) var oldest = Timestamp(milliseconds: .max)
    private(set) var newest = Timestamp(milliseconds: .min)
    private(set) var bits = [UInt8](repeating: 0, count: Int(bitCount / 8))

    /// A block that does not have its events yet.
    init(number: Int64) { self.number = number }

    /// The number of the block of an event.
    static func number(of sequence: Int64) -> Int64 { (sequence - 1) / size }

    /// The events of a block.
    static func sequences(of number: Int64) -> ClosedRange<Int64> {
        number * size + 1...(number + 1) * size
    }

    /// Whether this event is the last of its block.
    static func isLast(_ sequence: Int64) -> Bool { sequence % size == 0 }

    mutating func add(_ row: AuditRow) {
        (oldest, newest) = (min(oldest, row.at), max(newest, row.at))
        for hash in AuditWord.hashes(of: AuditWord.words(of: row)) {
            for index in 0..<Self.bitsPerWord {
                let bit = Self.place(index, of: hash)
                bits[Int(bit / 8)] |= 1 << UInt8(bit % 8)
            }
        }
    }

    /// Whether a block with these bits may hold an event with all of these words and pairs.
    static func mayHold(_ hashes: [UInt64], _ bits: [UInt8]) -> Bool {
        bits.count == bitCount / 8
            && hashes.allSatisfy { hash in
                (0..<bitsPerWord).allSatisfy {
                    let bit = place($0, of: hash)
                    return bits[Int(bit / 8)] & 1 << UInt8(bit % 8) != 0
                }
            }
    }

    private static func place(_ index: UInt64, of hash: UInt64) -> UInt64 {
        (hash &+ index &* (hash >> 32 | 1)) % bitCount
    }
}

/// A word that events are searched by.
struct AuditWord {
    /// What it is a word of.
    enum Place: UInt8 { case event, policy, source, user, request }

    private let place: Place
    private let hash: UInt64

    init(_ place: Place, _ text: String) { self.init(place, hash: text.utf8.fnv1a) }

    private init(_ place: Place, hash: UInt64) {
        self.place = place
        self.hash = Self.mixed(hash ^ UInt64(place.rawValue))
    }

    static func words(of row: AuditRow) -> [AuditWord] {
        var words: [AuditWord] = []
        words.reserveCapacity(8)
        func append(_ place: Place, _ text: String?) {
            if let text { words.append(AuditWord(place, text)) }
        }
        func append(partsOf text: String?, _ place: Place) {
            let parts = text?.utf8.split(separator: UInt8(ascii: " ")) ?? []
            for part in parts { words.append(AuditWord(place, hash: part.fnv1a)) }
        }
        append(.event, row.event)
        append(partsOf: row.policy, .policy)
        append(partsOf: row.source, .source)
        append(.user, row.subject)
        append(.user, row.name)
        append(.user, row.requester)
        append(.user, row.requesterName)
        append(.request, row.request)
        return words
    }

    /// The hashes of words that stand in one event, and of each two of them; of the number of a
    /// request alone, which few events have.
    ///
    /// A word that stands there twice makes no pair.
    static func hashes(of words: [AuditWord]) -> [UInt64] {
        var hashes: [UInt64] = []
        // As many as an event about a grant has.
        hashes.reserveCapacity(32)
        for (index, word) in words.enumerated() {
            hashes.append(word.hash)
            guard word.place != .request else { continue }
            for other in words[..<index]
            where other.place != .request && other.hash != word.hash {
                hashes.append(mixed(other.hash &+ word.hash))
            }
        }
        return hashes
    }

    /// Spreads a change of any bit over all of them: the finalizer of MurmurHash3.
    private static func mixed(_ hash: UInt64) -> UInt64 {
        var hash = hash
        hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ hash >> 33
    }
}

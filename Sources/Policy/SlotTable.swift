/// A hash table of slot numbers, eight bytes a bucket.
///
/// The keys stay where the slots point; the table holds only their hashes, so that it never has
/// to be given the keys to grow. Open addressing with linear probing; deletion shifts back.
struct SlotTable: Sendable {
    /// Marks the absence of a slot, here and in the lists of slots of the plan.
    static let none = UInt32.max

    private struct Bucket {
        var slot = SlotTable.none
        var hash: UInt32 = 0
    }

    private var buckets: [Bucket] = []
    private(set) var count = 0

    /// The part of a key's hash that is kept.
    static func hash(_ key: some Hashable) -> UInt32 { UInt32(truncatingIfNeeded: key.hashValue) }

    /// All slots, in no particular order.
    var slots: some Sequence<UInt32> {
        buckets.lazy.map(\.slot).filter { $0 != Self.none }
    }

    /// The first slot of a hash that `matches`.
    func first(_ hash: UInt32, where matches: (UInt32) -> Bool) -> UInt32? {
        bucket(hash, where: matches).map { buckets[$0].slot }
    }

    mutating func insert(_ slot: UInt32, hash: UInt32) {
        // At most three quarters full, so that a probe ends soon.
        if (count + 1) * 4 > buckets.count * 3 { grow() }
        count += 1
        place(Bucket(slot: slot, hash: hash))
    }

    mutating func replace(_ slot: UInt32, by other: UInt32, hash: UInt32) {
        guard let index = bucket(hash, where: { $0 == slot }) else { return }
        buckets[index].slot = other
    }

    mutating func remove(_ slot: UInt32, hash: UInt32) {
        guard var hole = bucket(hash, where: { $0 == slot }) else { return }
        count -= 1
        let mask = buckets.count - 1
        var index = (hole + 1) & mask
        while buckets[index].slot != Self.none {
            // A bucket may move into the hole unless it would then lie before its home.
            let distance = (index - Int(buckets[index].hash) & mask) & mask
            if distance >= (index - hole) & mask {
                buckets[hole] = buckets[index]
                hole = index
            }
            index = (index + 1) & mask
        }
        buckets[hole] = Bucket()
    }

    private func bucket(_ hash: UInt32, where matches: (UInt32) -> Bool) -> Int? {
        guard count > 0 else { return nil }
        let mask = buckets.count - 1
        var index = Int(hash) & mask
        while buckets[index].slot != Self.none {
            if buckets[index].hash == hash, matches(buckets[index].slot) { return index }
            index = (index + 1) & mask
        }
        return nil
    }

    private mutating func place(_ bucket: Bucket) {
        let mask = buckets.count - 1
        var index = Int(bucket.hash) & mask
        while buckets[index].slot != Self.none { index = (index + 1) & mask }
        buckets[index] = bucket
    }

    private mutating func grow() {
        let old = buckets
        buckets = Array(repeating: Bucket(), count: max(8, old.count * 2))
        for bucket in old where bucket.slot != Self.none { place(bucket) }
    }
}

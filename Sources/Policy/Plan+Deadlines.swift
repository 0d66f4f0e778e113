extension Plan {
    /// The grants whose deadline has come, in the order of their ids.
    public func ended(at bootNow: Int64) -> [Grant.ID] {
        var ended: [Grant.ID] = []
        // Below a grant that lives on in the heap all others do.
        var pending = [0]
        while let index = pending.popLast() {
            guard index < heap.count, records[at: heap[index]].deadline <= bootNow else { continue }
            ended.append(id(heap[index]))
            pending += [2 * index + 1, 2 * index + 2]
        }
        return ended.sorted()
    }

    mutating func pushHeap(_ slot: UInt32) {
        heap.append(slot)
        restoreHeap(at: heap.count - 1)
    }

    mutating func removeFromHeap(at index: Int) {
        guard let last = heap.popLast(), index < heap.count else { return }
        heap[index] = last
        restoreHeap(at: index)
    }

    /// Moves the grant at a place to where its deadline belongs.
    mutating func restoreHeap(at start: Int) {
        let slot = heap[start]
        let deadline = records[at: slot].deadline
        var index = start
        while index > 0, deadline < self.deadline(at: (index - 1) / 2) {
            put(heap[(index - 1) / 2], at: index)
            index = (index - 1) / 2
        }
        while let child = earlierChild(of: index), self.deadline(at: child) < deadline {
            put(heap[child], at: index)
            index = child
        }
        put(slot, at: index)
    }

    private func earlierChild(of index: Int) -> Int? {
        let (left, right) = (2 * index + 1, 2 * index + 2)
        guard left < heap.count else { return nil }
        return right < heap.count && deadline(at: right) < deadline(at: left) ? right : left
    }

    private func deadline(at index: Int) -> Int64 { records[at: heap[index]].deadline }

    private mutating func put(_ slot: UInt32, at index: Int) {
        heap[index] = slot
        records[at: slot].heapIndex = UInt32(index)
    }
}

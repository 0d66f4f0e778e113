/// The live grants, and the kernel elements that follow from them.
///
/// An element is open as long as any grant holds it: its end is the latest deadline among its
/// grants, and taking one grant away leaves the end of every other exact. One change costs
/// O(log n) in the grants that are live, times the ports the grant covers.
///
/// Built for a million grants: a grant is a record of 80 bytes that refers to others by number,
/// names are stored once, and nothing is allocated for a grant of its own.
public struct Plan: Sendable {
    /// One grant; those of a request form a ring in the order of their ordinals.
    struct Record {
        var source: CIDR
        var port: PortRange
        var policy: UInt32
        var requester: UInt32
        var request: Int64
        var startsAt: Timestamp
        var expiresAt: Timestamp
        var deadline: Int64
        var ordinal: UInt32
        var next = SlotTable.none
        var previous = SlotTable.none
        /// Where the grant stands in `heap`.
        var heapIndex: UInt32 = 0
    }

    /// The records; those in `freeRecords` are not in use.
    var records: [Record] = []
    var freeRecords: [UInt32] = []
    /// The grants as a binary heap, the earliest deadline first.
    var heap: [UInt32] = []
    /// What each grant holds open, as the nodes of one search tree per element.
    var holdings: [Holding] = []
    var freeHoldings: [UInt32] = []
    /// The root of each element's tree, by key.
    var roots = SlotTable()
    /// The first grant of each request, by its number.
    private var requests = SlotTable()
    /// The grants, by requester, port and source.
    private var openings = SlotTable()
    private var policies = Interned<String>()
    private var requesters = Interned<Requester>()
    private var activeCounts: [Holder: Int] = [:]

    private struct Holder: Hashable {
        var policy: UInt32
        var uid: UInt32
    }

    private struct OpeningKey: Hashable {
        var uid: UInt32
        var port: PortRange
        var source: CIDR
    }

    /// A plan without grants.
    public init() {}

    /// How many grants are live.
    public var count: Int { heap.count }

    /// The live grant of an id.
    public subscript(id: Grant.ID) -> Grant? { slot(of: id).map(grant) }

    /// The live grants of a request, in their order.
    public func grants(ofRequest request: Int64) -> [Grant] {
        guard let first = firstSlot(ofRequest: request) else { return [] }
        var grants = [grant(first)]
        var slot = records[at: first].next
        while slot != first {
            grants.append(grant(slot))
            slot = records[at: slot].next
        }
        return grants
    }

    /// All live grants, in no particular order.
    public var allGrants: some Sequence<Grant> { heap.lazy.map(grant) }

    /// How many live grants a user holds under a policy.
    public func activeCount(policy: String, uid: UInt32) -> Int {
        policies.number(of: policy).flatMap { activeCounts[Holder(policy: $0, uid: uid)] } ?? 0
    }

    /// The newest live grant of a user for exactly this port and source.
    public func live(port: PortRange, source: CIDR, uid: UInt32) -> Grant.ID? {
        var newest: Grant.ID?
        let hash = SlotTable.hash(OpeningKey(uid: uid, port: port, source: source))
        // Several only where older ones were not superseded: look at all of them.
        _ = openings.first(hash) { slot in
            let record = records[at: slot]
            if record.port == port, record.source == source,
                requesters[record.requester].uid == uid
            {
                newest = max(newest ?? id(slot), id(slot))
            }
            return false
        }
        return newest
    }

    /// Makes changes in their order; answers the net change per element, and the undoing.
    ///
    /// An element whose end is the same as before is not among the changes, even where another
    /// grant gives that end now. Applying the inverse brings back the grants as they were.
    public mutating func apply(
        _ changes: [GrantChange]
    ) -> (changes: [ElementChange], inverse: [GrantChange]) {
        var touched = TouchedElements(capacity: changes.count)
        var inverse: [GrantChange] = []
        inverse.reserveCapacity(changes.count)
        for change in changes {
            switch change {
            case .open(let grant):
                if let old = close(grant.id, &touched) { inverse.append(.open(old)) }
                open(grant, &touched)
                inverse.append(.close(grant.id))
            case .close(let id):
                if let old = close(id, &touched) { inverse.append(.open(old)) }
            case .setEnd(let id, let expiresAt, let deadline):
                guard let slot = slot(of: id) else { continue }
                let old = records[at: slot]
                inverse.append(.setEnd(id, expiresAt: old.expiresAt, deadline: old.deadline))
                release(slot, &touched)
                records[at: slot].expiresAt = expiresAt
                records[at: slot].deadline = deadline
                hold(slot, &touched)
                restoreHeap(at: Int(old.heapIndex))
            }
        }
        let net = netChanges(of: touched)
        // A crowd that has left gives its memory back; a handful is not worth the allocations.
        if count == 0, records.count > 4_096 { self = Plan() }
        return (net, inverse.reversed())
    }

    /// Shortens the grants whose wall-clock end comes sooner than their deadline; for a step of
    /// the wall clock.
    ///
    /// Afterwards a deadline is the earlier of itself and `now.boot + (expiresAt - now.wall)`: a
    /// clock set forward shortens, one set back changes nothing.
    public mutating func rebase(
        at now: Moment
    ) -> (changes: [ElementChange], inverse: [GrantChange]) {
        apply(
            heap.compactMap { slot in
                let record = records[at: slot]
                let left = record.expiresAt.milliseconds.subtractingClamped(now.wall.milliseconds)
                let deadline = now.boot.addingClamped(left)
                return deadline < record.deadline
                    ? .setEnd(id(slot), expiresAt: record.expiresAt, deadline: deadline) : nil
            }
        )
    }

    /// The earliest deadline of a live grant.
    public var nextDeadline: Int64? { heap.first.map { records[at: $0].deadline } }
}

extension Plan {
    private mutating func open(_ grant: Grant, _ touched: inout TouchedElements) {
        let record = Record(
            source: grant.source,
            port: grant.port,
            policy: policies.intern(grant.policy),
            requester: requesters.intern(grant.requester),
            request: grant.id.request,
            startsAt: grant.startsAt,
            expiresAt: grant.expiresAt,
            deadline: grant.deadline,
            ordinal: UInt32(clamping: grant.id.ordinal)
        )
        let slot = records.place(record, reusing: &freeRecords)
        link(slot)
        openings.insert(slot, hash: openingHash(slot))
        activeCounts[Holder(policy: record.policy, uid: grant.requester.uid), default: 0] += 1
        hold(slot, &touched)
        pushHeap(slot)
    }

    private mutating func close(_ id: Grant.ID, _ touched: inout TouchedElements) -> Grant? {
        guard let slot = slot(of: id) else { return nil }
        let grant = grant(slot)
        release(slot, &touched)
        removeFromHeap(at: Int(records[at: slot].heapIndex))
        openings.remove(slot, hash: openingHash(slot))
        unlink(slot)
        let holder = Holder(policy: records[at: slot].policy, uid: grant.requester.uid)
        let left = (activeCounts[holder] ?? 0) - 1
        activeCounts[holder] = left > 0 ? left : nil
        freeRecords.append(slot)
        return grant
    }

    private func grant(_ slot: UInt32) -> Grant {
        let record = records[at: slot]
        return Grant(
            id: id(slot),
            policy: policies[record.policy],
            port: record.port,
            source: record.source,
            requester: requesters[record.requester],
            startsAt: record.startsAt,
            expiresAt: record.expiresAt,
            deadline: record.deadline
        )
    }

    func id(_ slot: UInt32) -> Grant.ID {
        Grant.ID(request: records[at: slot].request, ordinal: Int(records[at: slot].ordinal))
    }

    /// `17.1 alice`.
    func label(_ slot: UInt32) -> String {
        "\(id(slot)) \(requesters[records[at: slot].requester].user)"
    }

    private func openingHash(_ slot: UInt32) -> UInt32 {
        let record = records[at: slot]
        return SlotTable.hash(
            OpeningKey(
                uid: requesters[record.requester].uid,
                port: record.port,
                source: record.source
            )
        )
    }

    private func firstSlot(ofRequest request: Int64) -> UInt32? {
        requests.first(SlotTable.hash(request)) { records[at: $0].request == request }
    }

    private func slot(of id: Grant.ID) -> UInt32? {
        guard let first = firstSlot(ofRequest: id.request) else { return nil }
        var slot = first
        repeat {
            if records[at: slot].ordinal == UInt32(clamping: id.ordinal) { return slot }
            slot = records[at: slot].next
        } while slot != first
        return nil
    }

    /// Puts a record into the ring of its request, in the order of the ordinals.
    private mutating func link(_ slot: UInt32) {
        let (request, ordinal) = (records[at: slot].request, records[at: slot].ordinal)
        guard let first = firstSlot(ofRequest: request) else {
            records[at: slot].next = slot
            records[at: slot].previous = slot
            requests.insert(slot, hash: SlotTable.hash(request))
            return
        }
        // Requests open in order, so the place is nearly always behind the last one.
        var before = records[at: first].previous
        while records[at: before].ordinal > ordinal, before != first {
            before = records[at: before].previous
        }
        if ordinal < records[at: first].ordinal {
            before = records[at: first].previous
            requests.replace(first, by: slot, hash: SlotTable.hash(request))
        }
        let after = records[at: before].next
        records[at: slot].previous = before
        records[at: slot].next = after
        records[at: before].next = slot
        records[at: after].previous = slot
    }

    private mutating func unlink(_ slot: UInt32) {
        let record = records[at: slot]
        let hash = SlotTable.hash(record.request)
        if record.next == slot {
            requests.remove(slot, hash: hash)
        } else {
            records[at: record.previous].next = record.next
            records[at: record.next].previous = record.previous
            if firstSlot(ofRequest: record.request) == slot {
                requests.replace(slot, by: record.next, hash: hash)
            }
        }
    }
}

/// Values that recur, each kept once and known by a number.
private struct Interned<Value: Hashable & Sendable>: Sendable {
    private var values: [Value] = []
    private var numbers: [Value: UInt32] = [:]

    subscript(number: UInt32) -> Value { values[Int(number)] }

    func number(of value: Value) -> UInt32? { numbers[value] }

    mutating func intern(_ value: Value) -> UInt32 {
        if let number = numbers[value] { return number }
        let number = UInt32(values.count)
        values.append(value)
        numbers[value] = number
        return number
    }
}

extension Array {
    /// The value in a slot.
    subscript(at slot: UInt32) -> Element {
        get { self[Int(slot)] }
        _modify { yield &self[Int(slot)] }
    }

    /// Stores a value in a free slot or a new one.
    mutating func place(_ value: Element, reusing free: inout [UInt32]) -> UInt32 {
        if let slot = free.popLast() {
            self[Int(slot)] = value
            return slot
        }
        append(value)
        return UInt32(count - 1)
    }
}

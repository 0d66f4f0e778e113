import HeapModule

/// The live grants, and the kernel elements that follow from them.
///
/// An element is open as long as any grant holds it: its end is the latest deadline among its
/// holders, and taking one away leaves the end of every other exact. One change costs the same
/// whether a dozen or a million grants are live.
public struct Plan: Sendable {
    /// The live grants of each request in the order of their ordinals; most requests have one.
    private var requests: [Int64: [Grant]] = [:]
    /// Who holds each element open; most have one holder.
    private var holders: [ElementKey: [Holder]] = [:]
    /// The deadlines of all grants, also past ones of grants that were closed or extended since;
    /// the earliest is always a live one's.
    private var deadlines = Heap<Holder>()
    private var activeCounts: [Owner: Int] = [:]

    private struct Holder: Comparable {
        let deadline: Int64
        let id: Grant.ID

        static func < (one: Holder, other: Holder) -> Bool {
            (one.deadline, one.id) < (other.deadline, other.id)
        }
    }

    fileprivate struct Owner: Hashable {
        let policy: String
        let uid: UInt32
    }

    /// A plan without grants.
    public init() {}

    /// A plan of grants that are live already; takes less time than opening them.
    public init(live grants: [Grant]) {
        requests.reserveCapacity(grants.count)
        holders.reserveCapacity(grants.count)
        var unnoted = TouchedElements(isNoting: false)
        for grant in grants { open(grant, &unnoted) }
    }

    /// How many grants are live.
    public private(set) var count = 0

    /// The live grant of an id.
    public subscript(id: Grant.ID) -> Grant? {
        requests[id.request]?.first { $0.id == id }
    }

    /// The live grants of a request, in their order.
    public func grants(ofRequest request: Int64) -> [Grant] { requests[request] ?? [] }

    /// All live grants, in no particular order.
    public var allGrants: some Sequence<Grant> { requests.values.lazy.joined() }

    /// How many live grants a user holds under a policy.
    public func activeCount(policy: String, uid: UInt32) -> Int {
        activeCounts[Owner(policy: policy, uid: uid)] ?? 0
    }

    /// The newest live grant of a user for exactly this port and source.
    public func live(port: PortRange, source: CIDR, uid: UInt32) -> Grant.ID? {
        // Whoever holds the whole range holds its first port.
        let key = ElementKey(
            source: source,
            transport: port.portProtocol.transports[0],
            port: port.lower
        )
        return holders[key]?.lazy.compactMap { self[$0.id] }
            .filter { $0.port == port && $0.requester.uid == uid }.map(\.id).max()
    }

    /// All elements the kernel should hold, in no particular order.
    public var elements: some Sequence<(key: ElementKey, end: Int64, label: String)> {
        holders.lazy.compactMap { key, holders in
            holders.max().map { (key: key, end: $0.deadline, label: label($0)) }
        }
    }

    /// When an element ends, in milliseconds of `CLOCK_BOOTTIME`; nil where nothing holds it open.
    public func end(of key: ElementKey) -> Int64? { holders[key]?.max()?.deadline }

    /// The earliest deadline of a live grant.
    public var nextDeadline: Int64? { deadlines.min?.deadline }

    /// Takes out the grants whose deadline has come, for the caller to close.
    public mutating func takeEnded(at bootNow: Int64) -> [Grant.ID] {
        var ended: [Grant.ID] = []
        while let next = deadlines.min, next.deadline <= bootNow {
            deadlines.removeMin()
            // A grant that was closed and opened again, as by an inverse, is here twice.
            if isLive(next), ended.last != next.id { ended.append(next.id) }
        }
        return ended
    }

    /// Makes changes in their order; answers the net change per element, and the undoing.
    ///
    /// An element whose end is the same as before is not among the changes, even where another
    /// grant gives that end now. Applying the inverse brings back the grants as they were.
    public mutating func apply(
        _ changes: [GrantChange]
    ) -> (changes: [ElementChange], inverse: [GrantChange]) {
        var touched = TouchedElements()
        var inverse: [GrantChange] = []
        for change in changes {
            switch change {
            case .open(let grant):
                if let old = close(grant.id, &touched) { inverse.append(.open(old)) }
                open(grant, &touched)
                inverse.append(.close(grant.id))
            case .close(let id):
                if let old = close(id, &touched) { inverse.append(.open(old)) }
            case .setEnd(let id, let expiresAt, let deadline):
                guard let old = close(id, &touched) else { continue }
                var grant = old
                grant.expiresAt = expiresAt
                grant.deadline = deadline
                open(grant, &touched)
                inverse.append(.setEnd(id, expiresAt: old.expiresAt, deadline: old.deadline))
            }
        }
        forgetPastDeadlines()
        return (netChanges(of: touched), inverse.reversed())
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
            allGrants.compactMap { grant in
                let left = grant.expiresAt.milliseconds.subtractingClamped(now.wall.milliseconds)
                let deadline = now.boot.addingClamped(left)
                return deadline < grant.deadline
                    ? .setEnd(grant.id, expiresAt: grant.expiresAt, deadline: deadline) : nil
            }
        )
    }
}

extension Plan {
    private mutating func open(_ grant: Grant, _ touched: inout TouchedElements) {
        let request = grant.id.request
        let later = requests[request]?.firstIndex { $0.id > grant.id }
        let place = later ?? requests[request]?.count ?? 0
        requests[request, default: []].insert(grant, at: place)
        count += 1
        activeCounts[grant.owner, default: 0] += 1
        let holder = Holder(deadline: grant.deadline, id: grant.id)
        deadlines.insert(holder)
        for key in grant.elementKeys {
            touched.note(key, end(of: key))
            holders[key, default: []].append(holder)
        }
    }

    private mutating func close(_ id: Grant.ID, _ touched: inout TouchedElements) -> Grant? {
        guard let place = requests[id.request]?.firstIndex(where: { $0.id == id }),
            let grant = requests[id.request]?.remove(at: place)
        else { return nil }
        if requests[id.request]?.isEmpty == true { requests[id.request] = nil }
        count -= 1
        let left = (activeCounts[grant.owner] ?? 0) - 1
        activeCounts[grant.owner] = left > 0 ? left : nil
        for key in grant.elementKeys {
            touched.note(key, end(of: key))
            holders[key]?.removeAll { $0.id == id }
            if holders[key]?.isEmpty == true { holders[key] = nil }
        }
        return grant
    }

    private func isLive(_ holder: Holder) -> Bool { self[holder.id]?.deadline == holder.deadline }

    /// Keeps the earliest deadline a live one's, and the heap in proportion to the grants.
    private mutating func forgetPastDeadlines() {
        if deadlines.count > 2 * count + 1024 {
            deadlines = Heap(allGrants.map { Holder(deadline: $0.deadline, id: $0.id) })
        }
        while let next = deadlines.min, !isLive(next) { deadlines.removeMin() }
    }

    private func netChanges(of touched: TouchedElements) -> [ElementChange] {
        touched.ends.compactMap { key, before in
            let last = holders[key]?.max()
            return last?.deadline == before
                ? nil
                : ElementChange(
                    key: key,
                    before: before,
                    after: last?.deadline,
                    label: last.map(label) ?? ""
                )
        }
    }

    /// `17.1 alice`.
    private func label(_ holder: Holder) -> String {
        "\(holder.id) \(self[holder.id]?.requester.user ?? "")"
    }
}

/// The elements that a batch of changes touched, with their ends before it.
private struct TouchedElements {
    /// Whether anybody will ask.
    private let isNoting: Bool
    private(set) var ends: [(key: ElementKey, before: Int64?)] = []
    private var known: Set<ElementKey> = []

    init(isNoting: Bool = true) { self.isNoting = isNoting }

    /// Notes the end of an element before its first change.
    mutating func note(_ key: ElementKey, _ end: @autoclosure () -> Int64?) {
        guard isNoting else { return }
        if known.insert(key).inserted { ends.append((key, end())) }
    }
}

extension Grant {
    /// What the grant holds open in the kernel.
    public var elementKeys: [ElementKey] {
        port.portProtocol.transports.flatMap { transport in
            (port.lower...port.upper).map {
                ElementKey(source: source, transport: transport, port: $0)
            }
        }
    }

    fileprivate var owner: Plan.Owner { Plan.Owner(policy: policy, uid: requester.uid) }
}

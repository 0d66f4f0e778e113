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
    /// The same of grants that `takeEnding` told of.
    private var ending = Heap<Holder>()
    private var owners: [Owner: Int] = [:]
    private var delegateCounts: [String: Int] = [:]

    private struct Holder: Comparable {
        let deadline: BootTime
        let id: Grant.ID

        static func < (one: Holder, other: Holder) -> Bool {
            (one.deadline, one.id) < (other.deadline, other.id)
        }
    }

    fileprivate struct Owner: Hashable {
        let policy: String
        let subject: Subject
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

    /// How many live grants a person holds under a policy.
    public func activeCount(policy: String, of subject: Subject) -> Int {
        owners[Owner(policy: policy, subject: subject)] ?? 0
    }

    /// How many live grants there are under each policy that has some.
    public var activeCounts: [String: Int] {
        owners.reduce(into: [:]) { $0[$1.key.policy, default: 0] += $1.value }
    }

    /// How many live grants a delegate has asked for.
    public func activeCount(via delegate: String) -> Int { delegateCounts[delegate] ?? 0 }

    /// The newest live grant of a person for exactly this port, host and source.
    public func live(
        port: PortRange,
        host: IPAddress? = nil,
        source: CIDR,
        of subject: Subject
    ) -> Grant.ID? {
        // Whoever holds the whole range holds its first port.
        let key = ElementKey(
            source: source,
            transport: port.portProtocol.transports[0],
            port: port.lower,
            host: host
        )
        return holders[key]?.lazy.compactMap { self[$0.id] }
            .filter { $0.port == port && $0.requester.subject == subject }.map(\.id).max()
    }

    /// The live grant of a person that makes room for a new one; nil where none does.
    public func renewed(by opening: Opening, of subject: Subject) -> Grant? {
        live(port: opening.port, host: opening.host, source: opening.source, of: subject)
            .flatMap { self[$0] }
    }

    /// All elements the kernel should hold, in no particular order.
    public var elements: some Sequence<(key: ElementKey, end: BootTime, label: String)> {
        holders.lazy.compactMap { key, holders in
            holders.max().map { (key: key, end: $0.deadline, label: label($0)) }
        }
    }

    /// When an element ends; nil where nothing holds it open.
    public func end(of key: ElementKey) -> BootTime? { holders[key]?.max()?.deadline }

    /// The grants that hold an element open, in no particular order.
    public func holders(of key: ElementKey) -> [Grant.ID] { holders[key]?.map(\.id) ?? [] }

    /// The earliest deadline of a live grant.
    public var nextDeadline: BootTime? {
        guard let told = ending.min?.deadline else { return nextUntoldDeadline }
        return min(told, nextUntoldDeadline ?? told)
    }

    /// The earliest deadline of a live grant that ``takeEnding(by:)`` has not told of.
    public var nextUntoldDeadline: BootTime? { deadlines.min?.deadline }

    /// The live grants that end by an instant, each told of once; but again where its end was moved.
    public mutating func takeEnding(by instant: BootTime) -> [Grant.ID] {
        var told: [Grant.ID] = []
        while let next = deadlines.min, next.deadline <= instant {
            deadlines.removeMin()
            guard isLive(next) else { continue }
            ending.insert(next)
            if told.last != next.id { told.append(next.id) }
        }
        forgetPastDeadlines()
        return told
    }

    /// Takes out the grants whose deadline has come, for the caller to close.
    public mutating func takeEnded(at bootNow: BootTime) -> [Grant.ID] {
        var ended: [Grant.ID] = []
        _ = takeEnding(by: bootNow)
        while let next = ending.min, next.deadline <= bootNow {
            ending.removeMin()
            // A grant that was closed and opened again, as by an inverse, is here twice.
            if isLive(next), ended.last != next.id { ended.append(next.id) }
        }
        return ended
    }

    /// Makes what happened part of the plan; answers the net change per element, and the undoing.
    ///
    /// An element whose end is the same as before is not among the changes, even where another
    /// grant gives that end now.
    public mutating func apply(_ events: [Event]) -> (changes: [ElementChange], undo: Undo) {
        var touched = TouchedElements()
        var undo = Undo()
        for event in events {
            switch event {
            case .opened(let request):
                for grant in request.grants {
                    open(grant, &touched)
                    undo.grants.append((grant.id, nil))
                }
            case .ended(let id, _, _, _, _):
                if let old = close(id, &touched) { undo.grants.append((id, old)) }
            case .extended(let id, _, let end, _, _), .takenBack(let id, let end):
                move(id, &touched, &undo) { $0.end = end }
            case .shortened(let id, let deadline), .carriedOver(let id, let deadline):
                move(id, &touched, &undo) { $0.end.deadline = deadline }
            case .asked, .approved, .concluded, .used, .noted: break
            }
        }
        forgetPastDeadlines()
        return (netChanges(of: touched), undo)
    }

    /// Brings the grants back as they were before changes; answers what follows for the elements.
    ///
    /// The changes must be the last ones that were made, or those after them be undone already.
    @discardableResult
    public mutating func undo(_ undo: Undo) -> [ElementChange] {
        var touched = TouchedElements()
        for (id, old) in undo.grants.reversed() {
            close(id, &touched)
            if let old { open(old, &touched) }
        }
        forgetPastDeadlines()
        return netChanges(of: touched)
    }

    /// What brings grants back as they were before changes.
    public struct Undo: Sendable {
        /// Grants as they were, in the order of the changes; nil where there was none.
        fileprivate var grants: [(id: Grant.ID, old: Grant?)] = []
    }

    /// What becomes of the grants whose wall-clock end comes sooner than their deadline, after a
    /// step of the wall clock.
    ///
    /// A deadline is the earlier of itself and `now.boot + (expiresAt - now.wall)`: a clock set
    /// forward shortens, one set back changes nothing.
    public func shortened(at now: Moment) -> [Event] {
        allGrants.compactMap { grant in
            let deadline = now.boot + (grant.end.expiresAt - now.wall)
            return deadline < grant.end.deadline
                ? .shortened(grant.id, deadline: deadline) : nil
        }
    }
}

extension Plan {
    private mutating func open(_ grant: Grant, _ touched: inout TouchedElements) {
        let request = grant.id.request
        let later = requests[request]?.firstIndex { $0.id > grant.id }
        let place = later ?? requests[request]?.count ?? 0
        requests[request, default: []].insert(grant, at: place)
        count += 1
        owners[grant.owner, default: 0] += 1
        if let delegate = grant.requester.via { delegateCounts[delegate, default: 0] += 1 }
        let holder = Holder(deadline: grant.end.deadline, id: grant.id)
        deadlines.insert(holder)
        for key in grant.elementKeys {
            touched.note(key, end(of: key))
            holders[key, default: []].append(holder)
        }
    }

    @discardableResult
    private mutating func close(_ id: Grant.ID, _ touched: inout TouchedElements) -> Grant? {
        guard let place = requests[id.request]?.firstIndex(where: { $0.id == id }),
            let grant = requests[id.request]?.remove(at: place)
        else { return nil }
        if requests[id.request]?.isEmpty == true { requests[id.request] = nil }
        count -= 1
        let left = (owners[grant.owner] ?? 0) - 1
        owners[grant.owner] = left > 0 ? left : nil
        if let delegate = grant.requester.via {
            let left = (delegateCounts[delegate] ?? 0) - 1
            delegateCounts[delegate] = left > 0 ? left : nil
        }
        for key in grant.elementKeys {
            touched.note(key, end(of: key))
            holders[key]?.removeAll { $0.id == id }
            if holders[key]?.isEmpty == true { holders[key] = nil }
        }
        return grant
    }

    private mutating func move(
        _ id: Grant.ID,
        _ touched: inout TouchedElements,
        _ undo: inout Undo,
        _ change: (inout Grant) -> Void
    ) {
        guard let old = close(id, &touched) else { return }
        var grant = old
        change(&grant)
        open(grant, &touched)
        undo.grants.append((id, old))
    }

    private func isLive(_ holder: Holder) -> Bool {
        self[holder.id]?.end.deadline == holder.deadline
    }

    /// Keeps the earliest deadline a live one's, and the heap in proportion to the grants.
    private mutating func forgetPastDeadlines() {
        if deadlines.count > 2 * count + 1024 {
            deadlines = Heap(allGrants.map { Holder(deadline: $0.end.deadline, id: $0.id) })
            ending = Heap()
        }
        while let next = deadlines.min, !isLive(next) { deadlines.removeMin() }
        while let next = ending.min, !isLive(next) { ending.removeMin() }
    }

    private func netChanges(of touched: TouchedElements) -> [ElementChange] {
        touched.ends.compactMap { key, before in
            switch (before, holders[key]?.max()) {
            case (nil, nil): nil
            case (nil, let holder?): .open(key, until: holder.deadline, label: label(holder))
            case (let before?, nil): .close(key, from: before)
            case (let before?, let holder?):
                before == holder.deadline
                    ? nil
                    : .move(key, from: before, until: holder.deadline, label: label(holder))
            }
        }
    }

    /// `17.1 alice`; of a remote person the subject, since the name may be anybody's.
    private func label(_ holder: Holder) -> String {
        guard let requester = self[holder.id]?.requester else { return "\(holder.id)" }
        let isLocal = requester.subject.uid != nil
        return "\(holder.id) \(isLocal ? requester.name : requester.subject.description)"
    }
}

/// The elements that a batch of changes touched, with their ends before it.
private struct TouchedElements {
    /// Whether anybody will ask.
    private let isNoting: Bool
    private(set) var ends: [(key: ElementKey, before: BootTime?)] = []
    private var known: Set<ElementKey> = []

    init(isNoting: Bool = true) { self.isNoting = isNoting }

    /// Notes the end of an element before its first change.
    mutating func note(_ key: ElementKey, _ end: @autoclosure () -> BootTime?) {
        guard isNoting else { return }
        if known.insert(key).inserted { ends.append((key, end())) }
    }
}

extension Grant {
    /// What the grant holds open in the kernel.
    public var elementKeys: [ElementKey] {
        port.portProtocol.transports.flatMap { transport in
            (port.lower...port.upper).map {
                ElementKey(source: source, transport: transport, port: $0, host: host)
            }
        }
    }

    fileprivate var owner: Plan.Owner { Plan.Owner(policy: policy, subject: requester.subject) }
}

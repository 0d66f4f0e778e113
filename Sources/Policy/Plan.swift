/// The live grants, and the kernel elements that follow from them.
public struct Plan: Sendable {
    private var grants: [Grant.ID: Grant] = [:]

    /// A plan without grants.
    public init() {}

    /// How many grants are live.
    public var count: Int { grants.count }

    /// The live grant of an id.
    public subscript(id: Grant.ID) -> Grant? { grants[id] }

    /// The live grants of a request, in their order.
    public func grants(ofRequest request: Int64) -> [Grant] {
        grants.values.filter { $0.id.request == request }.sorted { $0.id < $1.id }
    }

    /// All live grants, in no particular order.
    public var allGrants: some Sequence<Grant> { grants.values }

    /// All elements the kernel should hold, in no particular order.
    public var elements: some Sequence<(key: ElementKey, end: Int64, label: String)> {
        keys.map { (key: $0, end: end($0) ?? 0, label: label($0)) }
    }

    /// How many live grants a user holds under a policy.
    public func activeCount(policy: String, uid: UInt32) -> Int {
        grants.values.count { $0.policy == policy && $0.requester.uid == uid }
    }

    /// The newest live grant of a user for exactly this port and source.
    public func live(port: PortRange, source: CIDR, uid: UInt32) -> Grant.ID? {
        grants.values.filter { $0.port == port && $0.source == source && $0.requester.uid == uid }
            .map(\.id).max()
    }

    /// Makes changes in their order; answers the net change per element, and the undoing.
    public mutating func apply(
        _ changes: [GrantChange]
    ) -> (changes: [ElementChange], inverse: [GrantChange]) {
        let before = self
        var inverse: [GrantChange] = []
        for change in changes {
            switch change {
            case .open(let grant):
                if let old = grants[grant.id] { inverse.append(.open(old)) }
                inverse.append(.close(grant.id))
                grants[grant.id] = grant
            case .close(let id):
                if let old = grants.removeValue(forKey: id) { inverse.append(.open(old)) }
            case .setEnd(let id, let expiresAt, let deadline):
                guard let old = grants[id] else { continue }
                inverse.append(.setEnd(id, expiresAt: old.expiresAt, deadline: old.deadline))
                grants[id]?.expiresAt = expiresAt
                grants[id]?.deadline = deadline
            }
        }
        let net = before.keys.union(keys).compactMap { key -> ElementChange? in
            let (old, new) = (before.end(key), end(key))
            return old == new
                ? nil : ElementChange(key: key, before: old, after: new, label: label(key))
        }
        return (net, inverse.reversed())
    }

    /// Shortens the grants whose wall-clock end comes earlier than their deadline says.
    public mutating func rebase(
        at now: Moment
    ) -> (changes: [ElementChange], inverse: [GrantChange]) {
        apply(
            grants.values.compactMap { grant in
                let left = grant.expiresAt.milliseconds.subtractingClamped(now.wall.milliseconds)
                let deadline = min(grant.deadline, now.boot.addingClamped(left))
                return deadline == grant.deadline
                    ? nil : .setEnd(grant.id, expiresAt: grant.expiresAt, deadline: deadline)
            }
        )
    }

    /// The earliest deadline of a live grant.
    public var nextDeadline: Int64? { grants.values.map(\.deadline).min() }

    /// The grants whose deadline has come.
    public func ended(at bootNow: Int64) -> [Grant.ID] {
        grants.values.filter { $0.deadline <= bootNow }.map(\.id)
    }

    private var keys: Set<ElementKey> { Set(grants.values.flatMap(Self.keys)) }

    private static func keys(of grant: Grant) -> [ElementKey] {
        grant.port.portProtocol.transports.flatMap { transport in
            (grant.port.lower...grant.port.upper).map {
                ElementKey(source: grant.source, transport: transport, port: $0)
            }
        }
    }

    private func holders(_ key: ElementKey) -> [Grant] {
        grants.values.filter { Self.keys(of: $0).contains(key) }
    }

    private func end(_ key: ElementKey) -> Int64? { holders(key).map(\.deadline).max() }

    private func label(_ key: ElementKey) -> String {
        holders(key).max { ($0.deadline, $0.id) < ($1.deadline, $1.id) }
            .map { "\($0.id) \($0.requester.user)" } ?? ""
    }
}

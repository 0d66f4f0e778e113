/// Packets and bytes that were let in.
public struct Traffic: Hashable, Sendable {
    /// How many packets.
    public var packets: UInt64
    /// Their bytes.
    public var bytes: UInt64

    /// Takes both.
    public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
        self.packets = packets
        self.bytes = bytes
    }

    fileprivate static func + (one: Traffic, other: Traffic) -> Traffic {
        Traffic(packets: one.packets &+ other.packets, bytes: one.bytes &+ other.bytes)
    }

    /// What a counter shows beyond what was read of it before; all of it where it began anew.
    fileprivate func beyond(_ before: Traffic) -> Traffic {
        guard packets >= before.packets, bytes >= before.bytes else { return self }
        return Traffic(packets: packets - before.packets, bytes: bytes - before.bytes)
    }
}

/// How a grant was used, as far as its elements' counters were read.
public struct GrantUse: Hashable, Sendable {
    /// What it let in since it was opened.
    public var traffic: Traffic
    /// When it was first seen to have been used; nil where it was not.
    public var firstAt: Timestamp?
    /// When it was last seen to have been used.
    public var lastAt: Timestamp?
    /// What of ``traffic`` the elements count that are in the kernel: only what they show beyond it
    /// is new.
    public var counted: Traffic

    /// Takes the parts; without any, nothing was let in.
    public init(
        traffic: Traffic = Traffic(),
        firstAt: Timestamp? = nil,
        lastAt: Timestamp? = nil,
        counted: Traffic = Traffic()
    ) {
        self.traffic = traffic
        self.firstAt = firstAt
        self.lastAt = lastAt
        self.counted = counted
    }

    /// Adds what was counted since it was last read.
    fileprivate mutating func add(_ more: Traffic, at now: Timestamp) {
        guard more.packets > 0 else { return }
        traffic = traffic + more
        firstAt = firstAt ?? now
        lastAt = now
    }
}

/// What grants let in: adds up what the counters of their elements show.
///
/// A counter begins at 0 whenever its element is put into the kernel. What an element that several
/// grants share lets in counts for each of them. Grants that let in nothing take no room.
public struct UseBook: Sendable {
    /// Ports of a grant that are worth as many questions to the kernel.
    private static let mostPorts = 16

    private var uses: [Grant.ID: GrantUse] = [:]
    /// What was last read of elements, since they were put into the kernel.
    private var counted: [ElementKey: Traffic] = [:]
    /// Those whose counters may begin anew any moment.
    private var held: Set<ElementKey> = []
    /// Grants whose elements were read just before their end.
    private var readAtEnd: Set<Grant.ID> = []
    /// Connections that were heard of since the elements were last read.
    private var heard: [Grant.ID: UInt64] = [:]
    /// What is being recorded of grants that have ended.
    private var finals: [Grant.ID: GrantUse] = [:]
    /// Grants of which more is known than is recorded.
    private var unrecorded: Set<Grant.ID> = []

    /// A book without grants.
    public init() {}

    /// The elements of a grant that are read; none where it has too many ports.
    public static func keys(of grant: Grant) -> [ElementKey] {
        let port = grant.port
        return port.count * port.portProtocol.transports.count <= mostPorts ? grant.elementKeys : []
    }

    /// How a grant was used as far as it is known here; nil where nothing is known to have been let in.
    public subscript(id: Grant.ID) -> GrantUse? { uses[id] ?? finals[id] }

    /// Takes note of what an element's counter shows.
    ///
    /// - Parameters:
    ///   - key: The element.
    ///   - shown: What its counter shows.
    ///   - holders: The grants that hold it open.
    ///   - now: When it was read.
    public mutating func note(
        _ key: ElementKey,
        shows shown: Traffic,
        of holders: [Grant.ID],
        at now: Timestamp
    ) {
        let before = counted[key] ?? Traffic()
        guard shown != before, !held.contains(key) else { return }
        let more = shown.beyond(before)
        counted[key] = shown
        for id in holders {
            let told = heard.removeValue(forKey: id) ?? 0
            let exact = told >= more.packets ? uses[id]?.lastAt : nil
            uses[id, default: GrantUse()].add(more, at: exact ?? now)
            unrecorded.insert(id)
        }
    }

    /// Takes note that a grant let a connection in: what of its packets is read later was used then.
    public mutating func noteConnection(of id: Grant.ID, at now: Timestamp) {
        var use = uses[id] ?? GrantUse()
        use.firstAt = use.firstAt ?? now
        use.lastAt = now
        uses[id] = use
        heard[id, default: 0] += 1
        unrecorded.insert(id)
    }

    /// Takes over what is recorded of a live grant, and what the elements show that an earlier run
    /// put into the kernel, just before they are made anew.
    public mutating func takeOver(
        _ id: Grant.ID,
        recorded: GrantUse?,
        shows shown: Traffic,
        at now: Timestamp
    ) {
        var use = recorded ?? GrantUse()
        use.add(shown.beyond(use.counted), at: now)
        use.counted = Traffic()
        guard use != recorded ?? GrantUse() || recorded != nil else { return }
        uses[id] = use
        if use != recorded { unrecorded.insert(id) }
    }

    /// From now on an element is not read, as its counter may begin anew at any moment.
    public mutating func hold(_ key: ElementKey) { held.insert(key) }

    /// Elements were put into the kernel, or taken out of it: their counters begin at 0.
    public mutating func restart(_ changes: [ElementChange]) {
        guard !counted.isEmpty else { return }
        for change in changes { counted[change.key] = nil }
    }

    /// All elements were put into the kernel anew.
    public mutating func restartAll() { counted = [:] }

    /// Elements may be read again.
    public mutating func release() { held = [] }

    /// Takes note that all there is to read of a grant was read.
    public mutating func noteEndRead(of id: Grant.ID) { readAtEnd.insert(id) }

    /// What is to be recorded of grants that have ended; until it is, they can be looked at.
    public mutating func takeFinal(_ ids: [Grant.ID]) -> [Event] {
        ids.compactMap { id in
            unrecorded.remove(id)
            heard[id] = nil
            let wasRead = readAtEnd.remove(id) != nil
            guard var use = uses.removeValue(forKey: id) ?? (wasRead ? GrantUse() : nil) else {
                return nil
            }
            use.counted = Traffic()
            finals[id] = use
            return .used(id, use, isFinal: true)
        }
    }

    /// Whether there is something to ``forget(_:)``.
    public var hasFinals: Bool { !finals.isEmpty }

    /// Forgets grants that have ended: how they were used is recorded, or cannot be.
    public mutating func forget(_ ids: [Grant.ID]) {
        for id in ids { finals[id] = nil }
    }

    /// What is to be recorded of live grants since it last was.
    public mutating func takeNews(of plan: Plan) -> [Event] {
        defer { unrecorded = [] }
        return unrecorded.compactMap { id in
            guard let grant = plan[id], var use = uses[id] else { return nil }
            use.counted = Self.keys(of: grant).reduce(Traffic()) {
                $0 + (counted[$1] ?? Traffic())
            }
            return .used(id, use, isFinal: false)
        }
    }
}

import Netlink
import Nftables
import Policy
import Synchronization

/// The sessions that are older than the gate, or than what the policy of their port says.
extension Gate {
    /// Queues the sessions that now run and are judged from now on, as earlier ones.
    ///
    /// conntrack need not know those that are served here: nothing may have used it when they began,
    /// and they may not have said a word since. It alone knows those that pass through.
    ///
    /// - Parameters:
    ///   - managing: What was managed at one time or another before, and is now.
    ///   - managed: All that are managed.
    ///   - holding: What must be open.
    ///   - sets: The sets of grants that are in the kernel.
    ///   - transaction: What they are queued in.
    /// - Returns: The numbers of those that are queued.
    /// - Throws: Where the kernel does not list what there is.
    func keepSessions(
        new managing: (before: [Layout.Managing], after: Layout.Managing),
        of managed: [ManagedPort],
        _ holding: Holding,
        over sets: Set<GrantSet>,
        in transaction: inout Transaction
    ) throws(NetlinkError) -> [Key] {
        let before = managing.before.filter { $0 != managing.after }
        guard !before.isEmpty else { return [] }
        let table = try sessionTable(of: managed) { flow in
            before.contains { managing.after.isNew(flow, since: $0) }
        }
        var kept: [Key] = []
        for found in table.sessions() where try !isGranted(found.session, holding, sets) {
            kept += found.arrivals.map(Layout.key(of:))
        }
        add(earlier: kept, to: &transaction)
        return kept
    }

    /// Queues sessions, by their numbers, as earlier ones.
    func add(earlier keys: some Sequence<Key>, to transaction: inout Transaction) {
        for family in AddressFamily.allCases {
            transaction.add(
                keys.filter { Layout.flow(of: $0)?.source.count == family.bits / 8 }
                    .map { SetElement($0) },
                to: Layout.earlier(family)
            )
        }
    }

    /// Whether a grant lets a session in: such a one ends with it, where sessions are cut.
    private func isGranted(
        _ session: Session,
        _ holding: Holding,
        _ sets: Set<GrantSet>
    ) throws(NetlinkError) -> Bool {
        if case .exactly(let plan) = holding { return !plan.grants(lettingIn: session).isEmpty }
        for key in session.elementKeys where sets.contains(GrantSet(of: key)) {
            let set = GrantSet(of: key)
            if try connection.element(set.key(of: key), in: set.named) != nil { return true }
        }
        return false
    }

    /// Queues that those of the earlier sessions are none that a grant of the plan lets in, and none
    /// whose grant has ended: this gate has judged their ports until now, and only has not ended them
    /// yet or was taken away by others.
    ///
    /// Only where the table was made from nothing without a plan: then all that ran became earlier.
    /// What this gate knew as such before stays so.
    func letGo(
        of earlier: inout Set<Key>,
        to managed: [ManagedPort],
        besides plan: Plan,
        in transaction: inout Transaction
    ) {
        guard withState(\.madeWithoutPlan) else { return }
        let (judged, known) = withState { ($0.judged, $0.earlier) }
        let over = earlier.subtracting(known).filter { key in
            Layout.flow(of: key).flatMap { Session(arriving: $0, isFar: managed.isFar($0)) }
                .map { !plan.grants(lettingIn: $0).isEmpty || judged.cut($0) } ?? false
        }
        for family in AddressFamily.allCases {
            transaction.delete(
                over.filter { Layout.flow(of: $0)?.source.count == family.bits / 8 }
                    .map { SetElement($0) },
                from: Layout.earlier(family)
            )
        }
        earlier.subtract(over)
    }

    /// The earlier sessions; none where the table is gone.
    func earlierKeys(_ family: AddressFamily) throws(NetlinkError) -> [Key] {
        do throws(NetlinkError) {
            return try connection.elements(of: Layout.earlier(family)).map(\.key)
        } catch  where error.isNotFound {
            return []
        }
    }

    /// Forgets the sessions earlier than the gate that have ended, so that their numbers open nothing.
    ///
    /// Asks the kernel for sessions only as long as any of the earlier ones is left.
    public func forgetEndedSessions() throws(GateError) {
        guard withState(\.mayHoldEarlier) else { return }
        do throws(NetlinkError) {
            let tracked = try tracked().reduce(into: [:]) { $0[$1.original] = $1 }
            let served = Set(try served().map(\.incoming))
            var ended = Transaction()
            var areLeft = false
            var allGone: [Key] = []
            for family in AddressFamily.allCases {
                let earlier = try earlierKeys(family)
                let gone = state.withLock { state in
                    state.whereabouts.gone(of: earlier, served: served, tracked: tracked)
                }
                areLeft = areLeft || gone.count < earlier.count
                allGone += gone
                ended.delete(gone.map { SetElement($0) }, from: Layout.earlier(family))
            }
            try connection.commit(ended)
            state.withLock {
                $0.mayHoldEarlier = areLeft
                $0.earlier.subtract(allGone)
            }
        } catch {
            throw GateError(error)
        }
    }
}

/// What was last seen of the earlier sessions.
struct Whereabouts {
    /// Those that a socket of this host served.
    private var servedHere: Set<Key> = []
    /// Since when conntrack does not know those that pass through: they may have ended, or the table
    /// of conntrack was flushed.
    private var absentSince: [Key: ContinuousClock.Instant] = [:]

    /// Which of some sessions have ended.
    mutating func gone(
        of earlier: [Key],
        served: Set<Flow>,
        tracked: [Flow: ConntrackEntry],
        now: ContinuousClock.Instant = .now
    ) -> [Key] {
        let gone = earlier.filter { key in
            guard let flow = Layout.flow(of: key) else { return true }
            let entry = tracked[flow] ?? tracked[flow.reversed]
            if served.contains(flow) {
                servedHere.insert(key)
                return false
            }
            if servedHere.contains(key) { return true }
            if let entry {
                absentSince[key] = nil
                return !entry.isLive
            }
            let since = absentSince[key] ?? now
            absentSince[key] = since
            return now - since > Self.patience(for: flow)
        }
        for key in gone {
            servedHere.remove(key)
            absentSince[key] = nil
        }
        return gone
    }

    /// How long conntrack remembers a session of which nothing is heard, by default: five days of TCP
    /// (`nf_conntrack_tcp_timeout_established`), two minutes of others.
    private static func patience(for flow: Flow) -> Duration {
        flow.transport == Transport.tcp.rawValue ? .seconds(5 * 24 * 3_600) : .seconds(120)
    }
}

import Netlink
import Nftables
public import Policy
import Synchronization

/// A transaction that is ready to be sent, or was, and when it is the right one.
struct PreparedChanges: ~Copyable {
    private let changes: [ElementChange]
    /// The time the elements' timeouts count from: sent later they would outlive their end.
    private let latest: BootTime
    private let setsBefore: Set<GrantSet>
    let setsAfter: Set<GrantSet>
    /// Nil once it was sent.
    private var transaction: PreparedTransaction?
    private var outcome: Result<Void, NetlinkError> = .success(())

    /// Encodes changes to a table that has these sets.
    init(
        _ changes: [ElementChange],
        from time: BootTime,
        _ sets: Set<GrantSet>,
        for connection: Connection
    ) throws(NetlinkError) {
        var transaction = Transaction()
        var setsAfter = sets
        // Most are of the same set as the one before.
        var last: (set: GrantSet, named: NamedSet)?
        for change in changes {
            let set = GrantSet(of: change.key)
            let named = last?.set == set ? last?.named ?? set.named : set.named
            last = (set, named)
            if case .close = change {
            } else if setsAfter.insert(set).inserted {
                transaction.add(named)
                for rule in set.rules { transaction.insert(rule) }
            }
            transaction.change(change, in: set, named, now: time)
        }
        self.changes = changes
        latest = time
        setsBefore = sets
        self.setsAfter = setsAfter
        self.transaction = try connection.prepare(transaction)
    }

    /// Whether this makes those changes to a table that has these sets.
    func makes(_ changes: [ElementChange], now: BootTime, _ sets: Set<GrantSet>) -> Bool {
        changes == self.changes && sets == setsBefore && (transaction == nil || now <= latest)
    }

    /// Sends it, unless it was sent; throws what became of it.
    mutating func commit(over connection: Connection) throws(NetlinkError) {
        guard let transaction = transaction.take() else { return try outcome.get() }
        do {
            try connection.commit(transaction)
        } catch {
            outcome = .failure(error)
            throw error
        }
    }
}

extension Gate {
    /// How long what is prepared can wait, and how much earlier its elements end.
    ///
    /// A write to the disk takes less, which takes the longer the more there is to write. Without
    /// one, too, the commit comes later than what the elements' timeouts count from.
    private static func patience(_ changes: [ElementChange]) -> Duration {
        .milliseconds(2 + min(changes.count / 8, 50))
    }

    /// Makes changes ready for ``apply(_:now:)``, which then takes less time.
    ///
    /// It can be in vain: where something else is applied, the table is made anew, or too much time
    /// goes by.
    public func prepare(_ changes: [ElementChange], now: BootTime) {
        prepared.withLock {
            $0 = try? PreparedChanges(
                changes,
                from: now + Self.patience(changes),
                withState(\.grantSets),
                for: connection
            )
        }
    }

    /// Makes changes that are prepared, where that still can be done; ``apply(_:now:)`` has to
    /// follow, and tells how it went.
    public func begin(_ changes: [ElementChange], now: BootTime) {
        prepared.withLock {
            guard $0?.makes(changes, now: now, withState(\.grantSets)) == true else { return }
            try? $0?.commit(over: connection)
        }
    }

    /// Brings the kernel to what changed in the plan, in one transaction.
    ///
    /// An element gets what is left until its end, rounded down; one whose end has come is the
    /// kernel's to remove.
    ///
    /// - Parameters:
    ///   - changes: What became of elements of the plan.
    ///   - now: The clock since boot.
    /// - Throws: Where the kernel refuses; then nothing has changed.
    public func apply(_ changes: [ElementChange], now: BootTime) throws(GateError) {
        do throws(NetlinkError) {
            try prepared.withLock { (prepared) throws(NetlinkError) in
                let sets = withState(\.grantSets)
                var ready = prepared.take()
                if ready?.makes(changes, now: now, sets) != true {
                    let time = now + Self.patience(changes)
                    ready = try PreparedChanges(changes, from: time, sets, for: connection)
                }
                try ready?.commit(over: connection)
                if let setsAfter = ready?.setsAfter { state.withLock { $0.grantSets = setsAfter } }
            }
        } catch {
            throw GateError(error)
        }
    }
}

extension Transaction {
    /// How close to its end an element may have ended by itself before the transaction commits.
    private static let expiring = Duration.seconds(2)

    /// Queues what makes an element what it is to be.
    fileprivate mutating func change(
        _ change: ElementChange,
        in set: GrantSet,
        _ named: NamedSet,
        now: BootTime
    ) {
        switch change {
        case .open(let key, let end, let label):
            open(key, in: set, named, until: end, label: label, now: now)
        case .move(let key, let before, let end, let label):
            // One that should have ended may be there yet.
            take(key, outOf: set, named, endingAt: before, now: now)
            open(key, in: set, named, until: end, label: label, now: now)
        case .close(let key, let before):
            close(key, in: set, named, endingAt: before, now: now)
        }
    }

    private mutating func open(
        _ key: ElementKey,
        in set: GrantSet,
        _ named: NamedSet,
        until end: BootTime,
        label: String,
        now: BootTime
    ) {
        guard end > now else { return }
        // Before Linux 6.12 an element that is there would silently keep its own end.
        create([set.element(key, until: end, label: label, now: now)], in: named)
    }

    private mutating func close(
        _ key: ElementKey,
        in set: GrantSet,
        _ named: NamedSet,
        endingAt end: BootTime,
        now: BootTime
    ) {
        guard end > now else { return }
        take(key, outOf: set, named, endingAt: end, now: now)
    }

    private mutating func take(
        _ key: ElementKey,
        outOf set: GrantSet,
        _ named: NamedSet,
        endingAt end: BootTime,
        now: BootTime
    ) {
        let key = set.key(of: key)
        if end - now < Self.expiring {
            // Deleting an element that has just ended by itself would refuse everything: make sure
            // that there is one. What is added here is never seen.
            add([SetElement(key, timeout: .seconds(1))], to: named)
        }
        delete([SetElement(key)], from: named)
    }
}

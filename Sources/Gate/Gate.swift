import Netlink
public import Nftables
public import Policy
import Synchronization
import SystemPackage

/// What must be open once the gate is armed.
public enum Holding: Sendable {
    /// What the plan says and nothing else.
    case exactly(Plan)
    /// What is open as it is.
    case whatIsThere
}

/// The table `inet sallyport`: closes the managed ports, and opens what live grants cover.
///
/// Every function commits one kernel transaction, all of it or nothing, in the network namespace of
/// the thread that made the gate. Nothing here opens a port by failing: a refused transaction leaves
/// the table as it was, and the table outlives the process.
public final class Gate: Sendable {
    /// Whether the kernel keeps other processes from changing the table.
    public let isOwned: Bool
    /// Whether the kernel can tell a ``RefusalMonitor`` what the gate refuses.
    public let tellsRefusals: Bool
    /// The table, but for its flags.
    public static var tablePlace: Table { Layout.table }
    /// Where among the chains at the hook prerouting packets are judged.
    public static let priority: Int32 = -150
    let connection: Connection
    let sockets: SocketDiagnostics
    let conntrack: Conntrack
    let addresses: LocalAddresses
    let state = Mutex(State())
    /// What `prepare` made for the next `apply`.
    let prepared = Mutex<PreparedChanges?>(nil)

    /// Who is told which ports are managed.
    private let armed = Mutex<(@Sendable ([ManagedPort]) -> Void)?>(nil)

    struct State {
        /// The sets of grants that are in the kernel.
        var grantSets: Set<GrantSet> = []
        var managed: [ManagedPort] = []
        var breakGlass: [CIDR] = []
        /// The sessions that are earlier than the gate; nil where it was not armed or was taken away.
        var earlier: Set<Key>?
        /// The kinds of them that the rules look for.
        var earlierKinds: Set<Layout.SessionKind> = []
        /// Whether what is in the table may be another's, so that none of it may stay.
        var isDistrusted = false
        /// Whether sessions earlier than the gate may be among the elements.
        var mayHoldEarlier = false
        /// Whether all that ran was taken for earlier, what grants let in, too.
        var madeWithoutPlan = false
        /// What was last seen of the earlier sessions.
        var whereabouts = Whereabouts()
        /// How many tables for the ends of sessions were made.
        var evictions = 0
    }

    /// Opens a connection to the kernel and finds out whether it knows owned, persistent tables.
    ///
    /// - Parameters:
    ///   - owning: false to leave the table open to other processes even where the kernel could keep
    ///     them out.
    ///   - telling: false to tell nobody what is refused even where the kernel could.
    /// - Throws: `GateError` without CAP_NET_ADMIN.
    public init(owning: Bool = true, telling: Bool = true) throws(GateError) {
        do throws(NetlinkError) {
            connection = try Connection()
            sockets = try SocketDiagnostics()
            conntrack = try Conntrack()
            addresses = try LocalAddresses()
            isOwned = owning ? try Self.knowsOwnedTables(connection) : false
            tellsRefusals = telling && Self.knowsLogging(connection)
            try removeLeftEvictions()
        } catch {
            throw GateError(error)
        }
    }

    /// Probes by making a table and reading its flags back: `owner` without `persist` would take the
    /// gate away with the process.
    private static func knowsOwnedTables(_ connection: Connection) throws(NetlinkError) -> Bool {
        let probe = Table(
            family: .inet,
            name: "sallyport-probe-\(connection.portID)",
            flags: [.owner, .persist]
        )
        var make = Transaction()
        make.create(probe)
        do throws(NetlinkError) {
            try connection.commit(make)
        } catch .refused(_, _, .notSupported, _) {
            return false
        }
        let isKnown = try connection.tables().contains {
            $0.name == probe.name && $0.flags == probe.flags
        }
        var remove = Transaction()
        remove.delete(probe)
        try connection.commit(remove)
        return isKnown
    }

    /// Probes by making such a rule and taking it away: a table with a rule that the kernel does not
    /// know would be refused as a whole.
    private static func knowsLogging(_ connection: Connection) -> Bool {
        let probe = Table(family: .inet, name: "sallyport-log-\(connection.portID)")
        let chain = Chain("probe", in: probe)
        var make = Transaction()
        make.create(probe)
        make.add(chain)
        for rule in Layout.telling(in: chain, []) { make.add(rule) }
        make.delete(probe)
        return (try? connection.commit(make)) != nil
    }

    var table: Table {
        var table = Layout.table
        table.flags = isOwned ? [.owner, .persist] : []
        return table
    }

    /// Makes the table what it should be, whatever is there now, in one transaction.
    ///
    /// A table that is there is adopted: what is open and stays open has no closed moment. The TCP
    /// sessions that already run to ports which become managed are let in from now on.
    ///
    /// - Parameters:
    ///   - managed: The ports that are closed unless granted.
    ///   - breakGlass: Sources that are always let in.
    ///   - holding: What must be open.
    ///   - now: Reads the clock since boot.
    /// - Returns: Whether the table was made from nothing, and holds no grants but the plan's.
    /// - Throws: Where the kernel refuses, or another process owns the table.
    @discardableResult
    public func arm(
        managed: [ManagedPort],
        breakGlass: [CIDR],
        holding: Holding,
        now: () -> BootTime
    ) throws(GateError) -> Bool {
        prepared.withLock { $0 = nil }
        do throws(NetlinkError) {
            // Closed at once, where what has to be open takes longer to be put in.
            if case .exactly(let plan) = holding, plan.count > Self.fewGrants,
                try !connection.tables().contains(where: Layout.isTable)
            {
                _ = try commitArming(managed, breakGlass, .whatIsThere, now)
            }
            let arming = try commitArming(managed, breakGlass, holding, now)
            state.withLock {
                $0.isDistrusted = false
                $0.grantSets = arming.grantSets
                $0.managed = managed
                $0.breakGlass = breakGlass
                $0.earlier = arming.earlier
                $0.earlierKinds = Layout.kinds(of: arming.earlier)
                $0.mayHoldEarlier = true
                if case .whatIsThere = holding, arming.isNew {
                    $0.madeWithoutPlan = true
                } else if case .exactly = holding {
                    $0.madeWithoutPlan = false
                }
            }
            armed.withLock(\.self)?(managed)
            // Those that were made between the listing and the commit.
            var late = Transaction()
            let kept = try keepSessions(new: arming.managing, of: managed, holding, in: &late)
            try connection.commit(late)
            state.withLock { $0.earlier?.formUnion(kept) }
            if !Layout.kinds(of: kept).isSubset(of: withState(\.earlierKinds)) {
                // With rules that look for them.
                let again = try commitArming(managed, breakGlass, holding, now)
                state.withLock {
                    $0.grantSets = again.grantSets
                    $0.earlierKinds = Layout.kinds(of: again.earlier)
                }
            }
            return arming.isNew
        } catch .refused(_, _, .notPermitted, _) {
            throw .ownedByAnother
        } catch {
            throw GateError(error)
        }
    }

    /// So many are put in within a few milliseconds.
    private static let fewGrants = 1_000

    /// Lets nothing of what is in the table now stay when it is armed the next time.
    public func distrust() { state.withLock { $0.isDistrusted = true } }

    private func commitArming(
        _ managed: [ManagedPort],
        _ breakGlass: [CIDR],
        _ holding: Holding,
        _ now: () -> BootTime
    ) throws(NetlinkError) -> Arming {
        // Another process can change the ruleset between the reading and the commit: read again.
        var triesLeft = 20
        while true {
            triesLeft -= 1
            do throws(NetlinkError) {
                let arming = try arming(managed, breakGlass, holding, now)
                try connection.commit(arming.transaction, ifGeneration: arming.generation)
                return arming
            } catch {
                guard triesLeft > 0, error.mayPass else { throw error }
            }
        }
    }

    /// Has somebody told which ports are managed: now, and whenever the gate is armed.
    func whenArmed(_ tell: @escaping @Sendable ([ManagedPort]) -> Void) {
        armed.withLock { $0 = tell }
        tell(withState(\.managed))
    }

    func withState<Result>(_ body: (State) -> Result) -> Result { state.withLock { body($0) } }
}

extension NetlinkError {
    /// Whether reading the kernel again and trying anew can help.
    fileprivate var mayPass: Bool {
        switch self {
        case .outcomeUnknown, .interrupted, .staleGeneration: true
        default: isNotFound || isAlreadyExists
        }
    }
}

extension GrantSet {
    /// The element for a key, with what is left until its end.
    func element(_ key: ElementKey, until end: BootTime, label: String, now: BootTime) -> SetElement
    {
        SetElement(
            self.key(of: key),
            timeout: end - now,
            comment: String(decoding: label.utf8.prefix(commentLength), as: UTF8.self)
        )
    }
}

/// nft shows comments of up to 128 bytes; a longer one is refused.
private let commentLength = 120

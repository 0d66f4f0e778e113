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
        /// The kinds of earlier sessions that the rules look for.
        var earlierKinds: Set<Layout.SessionKind> = []
        /// Whether what is in the table may be another's, so that none of it may stay.
        var isDistrusted = false
        /// Whether sessions earlier than the gate may be among the elements.
        var mayHoldEarlier = false
        /// Whether all that ran was taken for earlier, what grants let in, too.
        var madeWithoutPlan = false
        /// The ports whose sessions this gate has judged until now; none while it is taken away.
        var judged: [ManagedPort] = []
        /// The earlier sessions that it has let in; made again where others take them away.
        var earlier: Set<Key> = []
        /// What was last seen of the earlier sessions.
        var whereabouts = Whereabouts()
        /// How many tables for the ends of sessions were made.
        var evictions = 0

        /// Takes note of what is in the kernel now.
        mutating func note(_ arming: Arming) {
            grantSets = arming.grantSets
            earlierKinds = Layout.kinds(of: arming.earlier)
        }
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
            var before: [Layout.Managing] = []
            // Closed at once, where what has to be open takes longer to be put in.
            if case .exactly(let plan) = holding, plan.count > Self.fewGrants,
                try !connection.tables().contains(where: Layout.isTable)
            {
                _ = try commitArming(managed, breakGlass, .whatIsThere, now)
                before.append(Layout.Ports(withState(\.judged)).managing)
                state.withLock { $0.madeWithoutPlan = true }
            }
            var isNew = false
            var triesLeft = 20
            while true {
                let arming = try commitArming(managed, breakGlass, holding, now)
                before.append(arming.managing.before)
                isNew = isNew || arming.isNew
                state.withLock {
                    $0.isDistrusted = false
                    $0.note(arming)
                    $0.managed = managed
                    $0.breakGlass = breakGlass
                    $0.mayHoldEarlier = true
                    if case .exactly = holding {
                        $0.madeWithoutPlan = false
                    } else if arming.isNew || $0.judged.isEmpty && arming.grantSets.isEmpty {
                        // By this agent, or by one that died before it had a plan.
                        $0.madeWithoutPlan = true
                    }
                }
                armed.withLock(\.self)?(managed)
                do throws(NetlinkError) {
                    // Those that were made between the listing and the commit.
                    var late = Transaction()
                    let kept = try keepSessions(
                        new: (before, arming.managing.after),
                        of: managed,
                        holding,
                        over: arming.grantSets,
                        in: &late
                    )
                    try connection.commit(late)
                    if !Layout.kinds(of: kept).isSubset(of: withState(\.earlierKinds)) {
                        // With rules that look for them.
                        let again = try commitArming(managed, breakGlass, holding, now)
                        state.withLock { $0.note(again) }
                    }
                    state.withLock {
                        // What was made without a plan is not known to be earlier until there is one.
                        if $0.madeWithoutPlan { return }
                        $0.judged = managed
                        $0.earlier = arming.earlier.union(kept)
                    }
                    return isNew
                } catch {
                    // Another process can take the table away meanwhile, too.
                    guard triesLeft > 0, error.mayPass else { throw error }
                    triesLeft -= 1
                }
            }
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
                let patience = Self.patience(holding)
                var arming = try arming(managed, breakGlass, holding) { now() + patience }
                try connection.commit(arming.transaction, ifGeneration: arming.generation)
                // What was committed later than it was made for would outlive its end.
                while case .exactly(let plan) = holding, !arming.grantSets.isEmpty,
                    case let overtime = now() - arming.time, overtime > .zero, triesLeft > 0
                {
                    triesLeft -= 1
                    arming.time = now() + patience + overtime
                    let elements = plan.setElements(from: arming.time)
                    var again = Transaction()
                    for set in arming.grantSets {
                        again.flush(set.named)
                        again.add(elements[set] ?? [], to: set.named)
                    }
                    try connection.commit(again)
                }
                return arming
            } catch {
                guard triesLeft > 0, error.mayPass else { throw error }
            }
        }
    }

    /// How long it takes to put a plan's elements in, and how much earlier they end.
    private static func patience(_ holding: Holding) -> Duration {
        guard case .exactly(let plan) = holding else { return .zero }
        return .milliseconds(2) + .microseconds(10 * plan.count)
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

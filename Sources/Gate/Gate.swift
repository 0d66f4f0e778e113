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
    /// The table, but for its flags.
    public static var tablePlace: Table { Layout.table }
    /// Where among the chains at the hook prerouting packets are judged.
    public static let priority: Int32 = -150
    let connection: Connection
    let state = Mutex(State())
    /// What `prepare` made for the next `apply`.
    let prepared = Mutex<PreparedChanges?>(nil)

    struct State {
        /// The sets of grants that are in the kernel.
        var grantSets: Set<GrantSet> = []
        var managed: [ManagedPort] = []
        var breakGlass: [CIDR] = []
        /// Whether sessions earlier than the gate may be among the elements.
        var mayHoldEarlier = false
    }

    /// Opens a connection to the kernel and finds out whether it knows owned, persistent tables.
    ///
    /// - Parameter owning: false to leave the table open to other processes even where the kernel
    ///   could keep them out.
    /// - Throws: `GateError` without CAP_NET_ADMIN.
    public init(owning: Bool = true) throws(GateError) {
        do throws(NetlinkError) {
            connection = try Connection()
            isOwned = owning ? try Self.knowsOwnedTables(connection) : false
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
            let arming = try commitArming(managed, breakGlass, holding, now)
            state.withLock {
                $0.grantSets = arming.grantSets
                $0.managed = managed
                $0.breakGlass = breakGlass
                $0.mayHoldEarlier = true
            }
            // Those that were made between the listing and the commit.
            var late = Transaction()
            try keepSessions(to: arming.newPorts, in: &late)
            try connection.commit(late)
            return arming.isNew
        } catch .refused(_, _, .notPermitted, _) {
            throw .ownedByAnother
        } catch {
            throw GateError(error)
        }
    }

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

    /// Forgets the sessions earlier than the gate that have ended, so that their numbers open nothing.
    ///
    /// Asks the kernel for sessions only as long as any of the earlier ones is left.
    public func forgetEndedSessions() throws(GateError) {
        guard withState(\.mayHoldEarlier) else { return }
        do throws(NetlinkError) {
            var ended = Transaction()
            var areLeft = false
            let running = Set(try SocketDiagnostics.connections().map(Layout.key(of:)))
            for family in AddressFamily.allCases {
                let earlier = try connection.elements(of: Layout.earlier(family)).map(\.key)
                let gone = earlier.filter { !running.contains($0) }
                areLeft = areLeft || gone.count < earlier.count
                ended.delete(gone.map { SetElement($0) }, from: Layout.earlier(family))
            }
            try connection.commit(ended)
            state.withLock { $0.mayHoldEarlier = areLeft }
        } catch {
            throw GateError(error)
        }
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

import Netlink
import Nftables
import Synchronization

/// Hears of every change of the network namespace's ruleset.
///
/// Needed where the kernel cannot keep other processes from the table.
public final class RulesetMonitor: Sendable {
    private let monitor: Mutex<Monitor>
    private let ownPortID: UInt32

    /// Becomes readable with each change.
    public let descriptor: Int32

    /// Subscribes to changes other than those of `gate`.
    public init(besides gate: Gate) throws(GateError) {
        do throws(NetlinkError) {
            let monitor = try Monitor()
            descriptor = monitor.fileDescriptor
            self.monitor = Mutex(monitor)
        } catch {
            throw GateError(error)
        }
        ownPortID = gate.connection.portID
    }

    /// Reads what there is to hear, and says whether anything in it is another's change.
    ///
    /// What was lost counts as a change.
    public func sawChange() -> Bool {
        // An unreadable message is one that may have told of a change.
        guard let changes = try? monitor.withLock({ try $0.drain() }) else { return true }
        return changes.contains {
            switch $0 {
            case .generation(let change): change.portID != ownPortID
            case .missed: true
            }
        }
    }
}

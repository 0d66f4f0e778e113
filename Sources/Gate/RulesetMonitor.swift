import Netlink
import Nftables
import Policy
import Synchronization

/// What another process did to the table.
public struct Tampering: Hashable, Sendable {
    /// What, in words: `deleted the table`; nil where it is not known that it did anything.
    public var what: String?
    /// The program and its process: `nft (process 4711)`.
    public var by: String?
    /// How many commits it took.
    public var commits: Int

    /// Takes the parts.
    public init(what: String?, by: String?, commits: Int) {
        self.what = what
        self.by = by
        self.commits = commits
    }
}

/// Hears of what others change in the table of a gate.
///
/// Needed where the kernel cannot keep them from it. The gate's own changes neither wake it nor take
/// room in its buffer.
public final class RulesetMonitor: Sendable {
    private struct State: ~Copyable {
        var monitor: Monitor
        /// What was heard of a commit whose end was not.
        var heard: String?
    }

    private let state: Mutex<State>

    /// Becomes readable with each change.
    public let descriptor: Int32

    /// Subscribes to changes other than those of `gate`, in the network namespace of the thread.
    public init(besides gate: Gate) throws(GateError) {
        do throws(NetlinkError) {
            let monitor = try Monitor(
                watching: Layout.table,
                ignoring: gate.connection.portID
            )
            descriptor = monitor.fileDescriptor
            state = Mutex(State(monitor: monitor))
        } catch {
            throw GateError(error)
        }
    }

    /// Reads what there is to hear, and says what of it was done to the table; nil for nothing.
    public func tampering() -> Tampering? {
        state.withLock { state in
            // An unreadable message is one that may have told of a change.
            guard let changes = try? state.monitor.drain() else {
                return Tampering(what: nil, by: nil, commits: 1)
            }
            var found: Tampering?
            for change in changes {
                switch change {
                // What comes before it goes with it.
                case .object(let what):
                    state.heard = what == Monitor.tableDeleted ? what : state.heard ?? what
                case .generation(let commit):
                    guard let what = state.heard.take() else { continue }
                    found = Tampering(
                        what: found?.what ?? what,
                        by: found?.by
                            ?? "\(printable(commit.processName)) (process \(commit.processID))",
                        commits: (found?.commits ?? 0) + 1
                    )
                case .missed:
                    found = found ?? Tampering(what: nil, by: nil, commits: 0)
                    found?.commits += 1
                }
            }
            return found
        }
    }
}

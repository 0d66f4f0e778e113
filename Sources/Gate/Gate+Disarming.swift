import Netlink
import Nftables
public import Policy
import Synchronization
import SystemPackage

extension Gate {
    /// Takes the table away, whatever is in it: managed ports are open to everybody then.
    ///
    /// Where there is no table, nothing is done.
    ///
    /// - Throws: Where the kernel refuses, or another process owns the table; then it is still there.
    public func disarm() throws(GateError) {
        prepared.withLock { $0 = nil }
        var removal = Transaction()
        removal.delete(Layout.table)
        do throws(NetlinkError) {
            try connection.commit(removal)
        } catch  where error.isNotFound {
        } catch .refused(_, _, .notPermitted, _) {
            throw .ownedByAnother
        } catch {
            throw GateError(error)
        }
        state.withLock {
            $0.grantSets = []
            $0.judged = []
            $0.earlier = []
        }
    }

    /// Whether a session runs to this host, as the kernel's socket table has it.
    public func isRunning(_ session: OwnSession) throws(GateError) -> Bool {
        do throws(NetlinkError) {
            return try sockets.connections().map(\.incoming).contains {
                $0.destinationPort == session.port && $0.sourcePort == session.sourcePort
                    && IPAddress(bytes: $0.source) == session.source
                    && IPAddress(bytes: $0.destination) == session.host
            }
        } catch {
            throw GateError(error)
        }
    }
}

internal import Linux
internal import SystemPackage

/// The folder the ledger lives in, kept for one agent by a lock as long as this object lives.
final class StateDirectory: Sendable {
    let ledgerPath: String
    let logPath: String
    let reservePath: String
    private let lock: FileLock

    /// Makes the folder and an empty ledger file where they are missing, and takes the lock.
    init(path: String) throws(LedgerError) {
        ledgerPath = path + "/ledger.sqlite"
        logPath = ledgerPath + "-wal"
        reservePath = path + "/ledger.reserve"
        try Self.makeFolder(path)
        lock = try Self.takeLock(path + "/ledger.lock")
        try Self.makeFile(ledgerPath)
    }

    /// Takes the room that the write-ahead log may use; what is left of a full disk will do.
    ///
    /// A commit that makes the file longer also costs a second write of the file system's journal.
    func fillLog(upTo size: Int) throws(LedgerError) {
        do throws(SystemError) {
            try Descriptor.open(logPath, .readWrite, options: .noFollow).fill(upTo: size)
        } catch  where error.errno == .noSpace || error.errno == .diskQuotaExceeded {
        } catch {
            throw LedgerError(error, path: logPath)
        }
    }

    func watchFiles() throws(LedgerError) {}
    func requireFiles() throws(LedgerError) {}

    private static func makeFolder(_ path: String) throws(LedgerError) {
        let status: Stat
        do throws(SystemError) {
            do throws(SystemError) {
                try Linux.makeFolder(path, permissions: .ownerReadWriteExecute)
            } catch  where error.errno == .fileExists {}
            status = try fileStatus(path)
        } catch {
            throw LedgerError(error, path: path)
        }
        guard status.type == .directory else {
            throw LedgerError(
                .other,
                "cannot use \(path) as the state directory: it is no folder; "
                    + "move it away or name another state directory"
            )
        }
        try refuseForeign(status, path: path, mode: "0700")
    }

    /// Makes the ledger file before SQLite does, which would give it the mode of the umask.
    private static func makeFile(_ path: String) throws(LedgerError) {
        let opened = Result { () throws(SystemError) in
            _ = try Descriptor.open(path, .readWrite, options: [.create, .noFollow, .nonBlocking])
        }
        let status = try? fileStatus(path, followsLink: false)
        if let status, status.type != .regular {
            throw LedgerError(
                .corrupt,
                "cannot open the ledger \(path): it is no regular file; "
                    + "move it away or name another state directory"
            )
        }
        do throws(SystemError) {
            try opened.get()
        } catch {
            throw LedgerError(error, path: path)
        }
        if let status { try refuseForeign(status, path: path, mode: "0600") }
    }

    /// Throws where somebody else could rewrite what is recorded here.
    private static func refuseForeign(
        _ status: Stat,
        path: String,
        mode: String
    ) throws(LedgerError) {
        guard status.userID.rawValue == ThisProcess.userID else {
            throw LedgerError(
                .notPermitted,
                "cannot use \(path) for the ledger: it belongs to uid \(status.userID.rawValue), "
                    + "and the agent runs as uid \(ThisProcess.userID); "
                    + "give it to the agent with: chown \(ThisProcess.userID) \(path)"
            )
        }
        guard status.permissions.isDisjoint(with: [.groupWrite, .otherWrite]) else {
            throw LedgerError(
                .notPermitted,
                "cannot use \(path) for the ledger: others than its owner may write to it; "
                    + "shut them out with: chmod \(mode) \(path)"
            )
        }
    }

    private static func takeLock(_ path: String) throws(LedgerError) -> FileLock {
        do throws(SystemError) {
            return try FileLock.take(
                on: Descriptor.open(path, .readWrite, options: [.create, .noFollow])
            )
        } catch {
            guard error.errno == .wouldBlock else { throw LedgerError(error, path: path) }
            throw LedgerError(
                .locked,
                "cannot open the ledger: another agent holds \(path); "
                    + "stop it, or give this one a state directory of its own"
            )
        }
    }
}

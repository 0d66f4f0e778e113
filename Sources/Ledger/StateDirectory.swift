internal import Linux
internal import SystemPackage

/// The folder the ledger lives in, kept for one agent by a lock as long as this object lives.
final class StateDirectory: Sendable {
    let path: String
    let ledgerPath: String
    /// SQLite's write-ahead log.
    let logPath: String
    let reservePath: String
    private let lock: FileLock

    /// Makes the folder and an empty ledger file where they are missing, and takes the lock.
    init(path: String) throws(LedgerError) {
        self.path = path
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
        try using(path, opened.get)
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

/// The files of the ledger as they were opened.
struct OpenFiles: Sendable {
    private struct Place: Hashable {
        let device: DeviceID
        let inode: Inode

        init(_ path: FilePath) throws(Errno) {
            self.init(try Stat(path, followTargetSymlink: false))
        }

        init(_ status: Stat) {
            device = status.deviceID
            inode = status.inode
        }
    }

    private let folder: FilePath
    private let places: [FilePath: Place]
    /// When a name in the folder last came or went, as far as the files were looked at since.
    private var seconds = 0
    private var nanoseconds = -1

    /// Notes which files stand in a folder.
    init(_ directory: StateDirectory) throws(LedgerError) {
        folder = FilePath(directory.path)
        var places: [FilePath: Place] = [:]
        let names = [directory.ledgerPath, directory.logPath, directory.reservePath]
        for path in [directory.path] + names {
            do throws(Errno) {
                places[FilePath(path)] = try Place(FilePath(path))
            } catch {
                throw LedgerError(SystemError(call: "lstat", errno: error), path: path)
            }
        }
        self.places = places
    }

    /// Throws where the folder or a file in it was deleted or replaced: what is written there now,
    /// the next start would not find.
    ///
    /// One look at the folder, 1 us, as long as no name in it came or went. Not at the files: Linux
    /// notes the time of a write to a file anew for whoever has asked for it since the last one,
    /// and that would be a second write to the disk with each commit.
    mutating func require() throws(LedgerError) {
        do throws(Errno) {
            let status = try Stat(folder, followTargetSymlink: false)
            let (seconds, nanoseconds) = status.modification
            guard
                seconds != self.seconds || nanoseconds != self.nanoseconds
                    || Place(status) != places[folder]
            else { return }
            for (path, place) in places {
                guard try Place(path) == place else { throw .noSuchFileOrDirectory }
            }
            (self.seconds, self.nanoseconds) = (seconds, nanoseconds)
        } catch {
            throw LedgerError(
                .gone,
                "cannot use the ledger: \(folder), or a file of the ledger in it, was deleted or "
                    + "replaced while the agent runs; put it back or restart the agent"
            )
        }
    }
}

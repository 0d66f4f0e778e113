internal import Glibc

/// The folder the ledger lives in, kept for one agent by a lock as long as this object lives.
final class StateDirectory: Sendable {
    let ledgerPath: String
    private let lock: Int32

    /// Makes the folder and an empty ledger file where they are missing, and takes the lock.
    init(path: String) throws(LedgerError) {
        try Self.makeFolder(path)
        let lockPath = path + "/ledger.lock"
        ledgerPath = path + "/ledger.sqlite"
        lock = try Self.lock(lockPath)
        do {
            try Self.makeFile(ledgerPath)
        } catch {
            close(lock)
            throw error
        }
    }

    deinit {
        // Closing alone would leave the lock to a child between its fork and its exec.
        flock(lock, LOCK_UN)
        close(lock)
    }

    private static func makeFolder(_ path: String) throws(LedgerError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            throw .systemCall("mkdir", path: path, errno: errno)
        }
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw .systemCall("stat", path: path, errno: errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
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
        let file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0o600)
        let reason = errno
        var status = stat()
        let found = lstat(path, &status) == 0
        if found, status.st_mode & S_IFMT != S_IFREG {
            if file >= 0 { close(file) }
            throw LedgerError(
                .corrupt,
                "cannot open the ledger \(path): it is no regular file; "
                    + "move it away or name another state directory"
            )
        }
        guard file >= 0 else { throw .systemCall("open", path: path, errno: reason) }
        close(file)
        try refuseForeign(status, path: path, mode: "0600")
    }

    /// Throws where somebody else could rewrite what is recorded here.
    private static func refuseForeign(
        _ status: stat,
        path: String,
        mode: String
    ) throws(LedgerError) {
        guard status.st_uid == geteuid() else {
            throw LedgerError(
                .notPermitted,
                "cannot use \(path) for the ledger: it belongs to uid \(status.st_uid), "
                    + "and the agent runs as uid \(geteuid()); "
                    + "give it to the agent with: chown \(geteuid()) \(path)"
            )
        }
        guard status.st_mode & 0o022 == 0 else {
            throw LedgerError(
                .notPermitted,
                "cannot use \(path) for the ledger: others than its owner may write to it; "
                    + "shut them out with: chmod \(mode) \(path)"
            )
        }
    }

    private static func lock(_ path: String) throws(LedgerError) -> Int32 {
        let file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .systemCall("open", path: path, errno: errno) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            close(file)
            guard reason == EWOULDBLOCK else {
                throw .systemCall("flock", path: path, errno: reason)
            }
            throw LedgerError(
                .locked,
                "cannot open the ledger: another agent holds \(path); "
                    + "stop it, or give this one a state directory of its own"
            )
        }
        return file
    }
}

internal import GRDB
internal import Linux
public import Policy
internal import SystemPackage

/// Why the ledger could not be opened, written or read.
///
/// The message is meant for the person who runs the agent: it names the file and what to do.
public struct LedgerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kinds of failure a caller may want to tell apart.
    public enum Code: String, Hashable, Sendable {
        /// No space is left on the file system, or a quota is used up.
        case full
        /// The file system is read-only, or the agent may not write there.
        case readOnly = "read-only"
        /// The file is damaged or is no ledger.
        case corrupt
        /// Another agent uses the state directory, or another program holds the file locked.
        case locked
        /// The file or the folder belongs to someone else, or others may write to it.
        case notPermitted = "not-permitted"
        /// The file was written by another version of the agent.
        case otherSchema = "other-schema"
        /// The state directory or a file in it was deleted, replaced or cut short while the agent
        /// runs: what would be written now would be gone at the next start.
        case gone
        /// A grant that was to be ended or extended is not live; nothing was written.
        case notLive = "not-live"
        /// The request id, or the requester's idempotency key, is in the ledger already; nothing was
        /// written.
        case duplicate
        /// Anything else, such as a failing disk.
        case other
    }

    /// The kind of failure.
    public var code: Code
    /// What was refused, why and what to do.
    public var message: String
    /// The grant a `notLive` error is about.
    public var grant: Grant.ID?

    /// The message.
    public var description: String { message }

    init(_ code: Code, _ message: String, grant: Grant.ID? = nil) {
        self.code = code
        self.message = message
        self.grant = grant
    }

    static func notLive(_ grant: Grant.ID) -> LedgerError {
        LedgerError(
            .notLive,
            "cannot change grant \(grant): it is not live in the ledger",
            grant: grant
        )
    }

    /// Explains what went wrong while doing `action` ("write", "open") to the file at `path`.
    init(_ error: any Error, cannot action: String, path: String) {
        switch error {
        case let error as LedgerError: self = error
        case let error as DatabaseError: self.init(error, cannot: action, path: path)
        case is RowDecodingError:
            self.init(
                .corrupt,
                "cannot \(action) the ledger \(path): a row does not hold what it should; "
                    + "restore it from a backup"
            )
        default: self.init(.other, "cannot \(action) the ledger \(path): \(error)")
        }
    }

    private init(_ error: DatabaseError, cannot action: String, path: String) {
        let refusal = "cannot \(action) the ledger \(path)"
        let detail = error.message ?? "SQLite error \(error.extendedResultCode.rawValue)"
        if [.SQLITE_CONSTRAINT_PRIMARYKEY, .SQLITE_CONSTRAINT_UNIQUE]
            .contains(error.extendedResultCode)
        {
            self.init(.duplicate, "\(refusal): it holds this already (\(detail))")
            return
        }
        // The index of the log takes room of its own.
        let isFull =
            error.resultCode == .SQLITE_FULL || error.extendedResultCode == .SQLITE_IOERR_SHMSIZE
        switch error.resultCode {
        case _ where isFull:
            self.init(.full, "\(refusal): no space is left on its file system; free some of it")
        case .SQLITE_READONLY, .SQLITE_PERM:
            self.init(
                .readOnly,
                "\(refusal): it may not be written (\(detail)); "
                    + "mount its file system writable and let the agent own the file"
            )
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            self.init(
                .corrupt,
                "\(refusal): it is damaged or is no ledger (\(detail)); "
                    + "restore it from a backup, or keep it aside under another name to start anew"
            )
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            self.init(
                .locked,
                "\(refusal): another program holds it locked; "
                    + "find it with: fuser -v \(path)"
            )
        case .SQLITE_CANTOPEN:
            self.init(
                .other,
                "\(refusal): \(detail); see that the agent may read and write every file beside it"
            )
        case .SQLITE_IOERR:
            self.init(
                .other,
                "\(refusal): \(detail) (\(error.extendedResultCode.rawValue)); "
                    + "look for errors of the disk in the kernel log"
            )
        default:
            self.init(.other, "\(refusal): \(detail)")
        }
    }

    /// Explains a failed system call on `path`.
    init(_ error: SystemError, path: String) {
        let code: Code
        let remedy: String
        switch error.errno {
        case .noSpace, .diskQuotaExceeded:
            (code, remedy) = (.full, "free some space on its file system")
        case .readOnlyFileSystem: (code, remedy) = (.readOnly, "mount its file system writable")
        case .permissionDenied, .notPermitted:
            (code, remedy) = (.readOnly, "let the agent's user own the state directory")
        case .noSuchFileOrDirectory: (code, remedy) = (.other, "make the folder above it first")
        case .notDirectory: (code, remedy) = (.other, "a part of the path is no folder")
        default: (code, remedy) = (.other, "see \(error.call)(2)")
        }
        self.init(code, "cannot use \(path) for the ledger: \(error.errno.text); \(remedy)")
    }
}

/// Uses a file of the ledger; a system call that fails is explained.
func using<Value: ~Copyable>(
    _ path: String,
    _ body: () throws(SystemError) -> Value
) throws(LedgerError) -> Value {
    do throws(SystemError) {
        return try body()
    } catch {
        throw LedgerError(error, path: path)
    }
}

internal import GRDB
public import Policy

/// The durable store of requests, grants and the audit trail.
///
/// One agent writes it; any number of readers, the `sqlite3` program among them, may read it at the
/// same time. What `commit` has returned for is on the disk.
///
/// ## Topics
/// - Writing: ``commit(_:at:)``
/// - Starting: ``recover()``
/// - Reading: ``request(_:)``, ``requests(_:)``, ``grants(_:)``, ``figures(since:)``,
///   ``keyedRequest(uid:idempotencyKey:)``
public final class Ledger: Sendable {
    let pool: DatabasePool
    /// `boots.id` of the running boot.
    let boot: Int64
    let path: String
    private let directory: StateDirectory

    /// Opens the ledger in a state directory, making both where they are missing.
    ///
    /// - Parameters:
    ///   - directory: The state directory; made with mode 0700, its parent must exist.
    ///   - bootID: What tells this boot of the machine from all others.
    /// - Throws: `LedgerError`, which says what to do. A file that cannot be read is left as it is.
    public init(directory: String, bootID: String) throws(LedgerError) {
        let directory = try StateDirectory(path: directory)
        let path = directory.ledgerPath
        do {
            let pool = try DatabasePool(path: path, configuration: Schema.configuration)
            try pool.read { db in
                if try Schema.migrator.hasBeenSuperseded(db) {
                    throw LedgerError(
                        .newerSchema,
                        "cannot open the ledger \(path): a newer version of the agent wrote it; "
                            + "install that version again"
                    )
                }
            }
            try Schema.migrator.migrate(pool)
            boot = try pool.writeWithoutTransaction { db in
                try Schema.prepareWriter(db)
                try db.execute(
                    sql: "INSERT INTO boots (boot) VALUES (?) ON CONFLICT DO NOTHING",
                    arguments: [bootID]
                )
                return try Int64.fetchOne(
                    db,
                    sql: "SELECT id FROM boots WHERE boot = ?",
                    arguments: [bootID]
                ) ?? 0
            }
            self.pool = pool
        } catch {
            throw LedgerError(error, cannot: "open", path: path)
        }
        self.path = path
        self.directory = directory
    }

    /// Writes changes in one durable transaction, each with its row in the audit trail.
    ///
    /// Everything is recorded or nothing is; cancelling the task does not stop it half-way.
    ///
    /// - Parameters:
    ///   - changes: What to record, in this order; a grant may be recorded and ended in one go.
    ///   - at: The time of the audit rows.
    /// - Throws: `LedgerError`. `notLive` names the one grant that an `end` or `extend` did not find
    ///   live: leave that change out and commit the rest again.
    public func commit(_ changes: [LedgerChange], at: Timestamp) async throws(LedgerError) {
        try await writing { [boot] db in try Self.commit(changes, at: at, boot: boot, db) }
    }

    static func commit(
        _ changes: [LedgerChange],
        at: Timestamp,
        boot: Int64,
        _ db: Database
    ) throws {
        try db.cachedStatement(sql: "BEGIN IMMEDIATE").execute()
        do {
            let writer = LedgerWriter(db: db, boot: boot, at: at)
            for change in changes { try writer.write(change) }
            try db.cachedStatement(sql: "COMMIT").execute()
        } catch {
            try db.rollback()
            throw error
        }
    }

    /// Writes on a thread of the ledger's own.
    ///
    /// Not GRDB's `async` functions: when the task is cancelled they interrupt the transaction, and
    /// may throw for one that is on the disk.
    private func writing(
        _ body: @escaping @Sendable (Database) throws -> Void
    ) async throws(LedgerError) {
        let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
            pool.asyncWriteWithoutTransaction { db in
                continuation.resume(returning: Result { try body(db) })
            }
        }
        do {
            try result.get()
        } catch {
            throw LedgerError(error, cannot: "write", path: path)
        }
    }
}

internal import GRDB
internal import Linux
public import Policy
internal import Synchronization
internal import SystemPackage

/// The durable store of requests, grants and the audit trail.
///
/// One agent writes it; any number of readers, the `sqlite3` program among them, may read it at the
/// same time. What `commit` has returned for is on the disk.
///
/// ## Topics
/// - Writing: ``commit(_:at:)``, ``secure(_:)``, ``isBehind``
/// - Starting: ``recover()``
/// - Reading: ``request(_:)``, ``requests(_:state:)``, ``grants(_:state:)``, ``pastUsage(since:)``,
///   ``keyedRequest(subject:idempotencyKey:)``
/// - The audit trail: ``audit(_:)``, ``allAudit(_:without:after:)``, ``verify(head:)``,
///   ``prune(before:at:)``
public final class Ledger: Sendable {
    let pool: DatabasePool
    /// For look-ups on the agent's own thread: readers of the pool may all be busy.
    let lookups: DatabaseQueue
    let path: String
    /// `boots.id` of the running boot.
    let boot: Int64
    private let bootID: String
    private let directory: StateDirectory
    private let reserve: Reserve
    private let files: Mutex<OpenFiles>
    private let writer: Worker
    let books: Mutex<Books>
    /// Nil as long as nobody asked.
    let known = Mutex(KnownNames?.none)

    /// Events whose end in the kernel takes less time than waking a thread.
    private static let few = 4

    /// What goes from one commit to the next.
    struct Books {
        /// What `secure` took, and the tables do not have.
        var owed: [Event]
        /// The newest numbers there have been: none is used again.
        var marks: Marks
        /// The block of the next audit row.
        var block: AuditBlock
        /// The audit rows that an earlier run noted and the tables do not have.
        let lost: ClosedRange<Int64>?
        /// An audit row that is not the one an earlier run noted.
        let replaced: Int64?
        /// Whether the marks of an earlier run are missing or damaged.
        let lacksMarks: Bool
        var isBootRecorded: Bool
    }

    /// Opens the ledger in a state directory, making both where they are missing.
    ///
    /// No room on the disk is needed but the first time.
    ///
    /// - Parameters:
    ///   - directory: The state directory; made with mode 0700, its parent must exist.
    ///   - bootID: What tells this boot of the machine from all others.
    /// - Throws: `LedgerError`, which says what to do. A file that cannot be read is left as it is.
    public init(directory: String, bootID: String) throws(LedgerError) {
        let directory = try StateDirectory(path: directory)
        let path = directory.ledgerPath
        let (reserve, marks, entries) = try Reserve.open(directory.reservePath)
        let noted = marks ?? Marks()
        do {
            let pool = try DatabasePool(path: path, configuration: Schema.configuration)
            try Schema.prepare(pool, path: path)
            try directory.fillLog(upTo: Schema.logSize)
            let (boot, books) = try pool.read { db in
                let number = { (sql: String) in try Int64.fetchOne(db, sql: sql) ?? 0 }
                let held = Marks(
                    sequence: try number("SELECT max(id) FROM audit"),
                    hash: try Self.hash(upTo: .max, db) ?? AuditRow.firstHash,
                    request: try number("SELECT max(id) FROM requests")
                )
                let isReplaced =
                    try (1...max(1, held.sequence)).contains(noted.sequence)
                    && Self.hash(upTo: noted.sequence, db) != noted.hash
                let boot = try Int64.fetchOne(
                    db,
                    sql: "SELECT id FROM boots WHERE boot = ?",
                    arguments: [bootID]
                )
                let books = Books(
                    owed: try Self.events(of: entries, db),
                    marks: Marks(
                        sequence: max(held.sequence, noted.sequence),
                        hash: noted.sequence >= held.sequence ? noted.hash : held.hash,
                        request: max(held.request, noted.request)
                    ),
                    block: try Self.openBlock(after: max(held.sequence, noted.sequence), db),
                    lost: noted.sequence > held.sequence
                        ? held.sequence + 1...noted.sequence : nil,
                    replaced: isReplaced ? noted.sequence : nil,
                    lacksMarks: marks == nil && max(held.sequence, held.request) > 0,
                    isBootRecorded: boot != nil
                )
                return (try boot ?? number("SELECT max(id) FROM boots") + 1, books)
            }
            if marks == nil, !books.lacksMarks {
                // With the first start, so that no crash leaves rows beside a reserve without marks.
                try reserve.mark(books.marks)
                try reserve.synchronize()
            }
            files = Mutex(try OpenFiles(directory))
            writer = try Worker()
            self.pool = pool
            var readOnly = Schema.configuration
            readOnly.readonly = true
            lookups = try DatabaseQueue(path: path, configuration: readOnly)
            self.boot = boot
            self.books = Mutex(books)
        } catch {
            throw LedgerError(error, cannot: "open", path: path)
        }
        self.path = path
        self.bootID = bootID
        self.directory = directory
        self.reserve = reserve
    }

    /// Writes events in one durable transaction, each with its row in the audit trail, and before
    /// them what ``secure(_:)`` took since the last one.
    ///
    /// Everything is recorded or nothing is; cancelling the task does not stop it half-way.
    ///
    /// - Parameters:
    ///   - events: What to record, in this order; a grant may be opened and ended in one go.
    ///   - at: The time of the audit rows.
    ///   - meanwhile: Called while the disk is at work.
    ///   - afterwards: Called on another thread once all is durable: while this returns, or before
    ///     where there are many events.
    /// - Throws: `LedgerError`. `notLive` names the one grant that an event other than `opened` did
    ///   not find live: leave that event out and commit the rest again.
    public func commit(
        _ events: [Event],
        at: Timestamp,
        meanwhile: () -> Void = {},
        afterwards: @escaping @Sendable () -> Void = {}
    ) async throws(LedgerError) {
        try await writing(
            { [self] db in try record(events, at: at, db) },
            meanwhile,
            afterwards,
            isLong: events.count > Self.few
        )
    }

    func record(_ events: [Event], at: Timestamp, _ db: Database) throws {
        guard !events.isEmpty || isBehind else { return }
        try transact(at: at, db) { writer in
            for event in events { try writer.write(event) }
        }
        known.withLock { $0?.note(events) }
    }

    /// The newest number that a request has; 0 where there is none.
    public var newestRequest: Int64 { books.withLock(\.marks.request) }

    /// Writes what `body` does in one durable transaction, behind what was owed.
    func transact(
        at: Timestamp,
        _ db: Database,
        _ body: (inout EventWriter) throws -> Void
    ) throws {
        try requireFiles()
        var books = books.withLock { $0 }
        try db.run("BEGIN IMMEDIATE")
        do {
            if !books.isBootRecorded {
                try db.run("INSERT INTO boots VALUES (?, ?)", [.integer(boot), .text(bootID)])
            }
            var writer = EventWriter(
                db: db,
                boot: boot,
                at: at,
                marks: books.marks,
                block: books.block
            )
            for event in books.owed {
                do {
                    try writer.write(event)
                } catch let error as LedgerError where error.code == .notLive {}
            }
            try body(&writer)
            try db.run("COMMIT")
            (books.marks, books.block) = (writer.marks, writer.block)
        } catch {
            try db.rollback()
            throw error
        }
        books.isBootRecorded = true
        books.owed = []
        self.books.withLock { [books] in $0 = books }
        // What cannot be noted here was recorded all the same; ends that are kept though the tables
        // have them do no harm.
        try? reserve.mark(books.marks)
        try? reserve.empty()
    }

    /// The files' names and sizes in bytes; without those that cannot be looked at.
    public var sizes: [(name: String, bytes: Int64)] {
        [directory.ledgerPath, directory.logPath, directory.reservePath].compactMap { path in
            let name = path.split(separator: "/").last.map { String($0) } ?? path
            return (try? fileStatus(path)).map { (name, Int64($0.size)) }
        }
    }

    func requireFiles() throws(LedgerError) {
        try files.withLock { (files) throws(LedgerError) in try files.require() }
    }

    /// Takes over events that are in force but that ``commit(_:at:)`` could not record, as on a
    /// full disk.
    ///
    /// The next commit that succeeds writes them first; those of grants that are not live in the
    /// ledger it leaves out. Until then the ends of grants are kept in room that was taken on the
    /// disk beforehand: when this returns they are durable, and a start finds them. Where even that
    /// room is used up, the next start ends all that was live, as `ledgerFull`.
    ///
    /// - Parameter events: Such as only take access away; of those, ends and extensions that are
    ///   taken back survive a crash.
    /// - Throws: `LedgerError` where the ends are not durable; the next commit writes them all the
    ///   same.
    public func secure(_ events: [Event]) async throws(LedgerError) {
        try await writing({ [self] _ in
            let marks = books.withLock { books in
                books.owed += events
                return books.marks
            }
            try requireFiles()
            try reserve.keep(events, upTo: marks.request)
        })
    }

    /// The hash of the newest audit row up to this one, which may be the last that was pruned.
    private static func hash(upTo sequence: Int64, _ db: Database) throws -> String? {
        try String.fetchOne(
            db,
            sql: "SELECT hash FROM audit WHERE id <= ? ORDER BY id DESC LIMIT 1",
            arguments: [sequence]
        )
            ?? String.fetchOne(
                db,
                sql: "SELECT hash FROM audit_anchor WHERE sequence = ?",
                arguments: [sequence]
            )
    }

    /// The block of the next audit row, with what it has already.
    private static func openBlock(after sequence: Int64, _ db: Database) throws -> AuditBlock {
        var block = AuditBlock(number: AuditBlock.number(of: sequence + 1))
        let own = AuditBlock.sequences(of: block.number)
        try db.each(
            "SELECT \(AuditRow.columnNames) FROM audit WHERE id BETWEEN ? AND ?",
            [.integer(own.lowerBound), .integer(own.upperBound)]
        ) { row in
            block.add(AuditRow(row))
            return true
        }
        return block
    }

    /// What the entries of the reserve say.
    private static func events(of entries: [Reserve.Entry], _ db: Database) throws -> [Event] {
        try entries.flatMap { entry -> [Event] in
            switch entry {
            case .ended(let ids, let reason, let at, let actor):
                ids.map { Event.ended($0, reason, at: at, by: actor) }
            case .takenBack(let id, let end): [Event.takenBack(id, until: end)]
            case .everything(let request, let at):
                try Int64.fetchAll(
                    db,
                    sql: "SELECT id FROM live WHERE id < ?",
                    arguments: [(request + 1) * Schema.ordinalLimit]
                ).map { Event.ended(Grant.ID(row: $0), .ledgerFull, at: at, by: nil) }
            }
        }
    }

    /// Whether ``secure(_:)``, in this run or an earlier one, took what the next commit has to
    /// write; one without events will do.
    public var isBehind: Bool { books.withLock { !$0.owed.isEmpty } }

    /// Writes on the ledger's own thread.
    ///
    /// Not GRDB's `async` functions: when the task is cancelled they interrupt the transaction, and
    /// may throw for one that is on the disk.
    func writing(
        _ body: @escaping @Sendable (Database) throws -> Void,
        _ meanwhile: () -> Void = {},
        _ afterwards: @escaping @Sendable () -> Void = {},
        isLong: Bool = false
    ) async throws(LedgerError) {
        let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
            writer.enqueue { [self] in
                let result = Result { try pool.writeWithoutTransaction(body) }
                let isDone = if case .success = result { true } else { false }
                // What takes longer than waking whoever waits would only be waited for.
                if isDone, isLong { afterwards() }
                continuation.resume(returning: result)
                if isDone, !isLong { afterwards() }
            }
            meanwhile()
        }
        do {
            try result.get()
        } catch {
            throw LedgerError(error, cannot: "write", path: path)
        }
    }
}

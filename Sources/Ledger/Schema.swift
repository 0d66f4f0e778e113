internal import GRDB
internal import GRDBSQLite
internal import Policy

/// The tables, and the settings of a connection.
///
/// Times are milliseconds since 1970 UTC unless a comment says otherwise; states, events and
/// reasons are the words of the API, so that the file can be read with the `sqlite3` program while
/// the agent runs:
///
///     SELECT request, ordinal, port, host, source, state, datetime(expires_at / 1000, 'unixepoch')
///     FROM grants;
enum Schema {
    /// `PRAGMA user_version` of a file with these tables.
    static let version = 2

    /// `PRAGMA application_id`: "SPLG".
    static let applicationID = 0x53504C47

    /// How a grant's row id is made: `request * ordinalLimit + ordinal`.
    ///
    /// 17.1 is row 170001: both parts stay readable, and rows are only ever appended.
    static let ordinalLimit: Int64 = 10_000

    /// Bytes of a page.
    static let pageSize = 1024

    /// Pages the write-ahead log may grow to before a commit moves them into the database.
    ///
    /// Half of what one block of the log's index holds (4,062 pages, https://sqlite.org/walformat.html):
    /// for another block there must be room on the disk, and without it an agent cannot start.
    static let logPages = 2_000
    /// The same in bytes, with the headers of the file and of each page.
    static let logSize = 32 + logPages * (pageSize + 24)

    static let requestColumns: [Column<AccessRequest>] =
        [
            Column("id", "INTEGER PRIMARY KEY") { .integer($0.id) },
            Column("state", "TEXT NOT NULL") {
                .text(($0.wait?.state ?? .active).rawValue)
            },
            Column("created_at", "INTEGER NOT NULL") { Field($0.createdAt) },
            Column("decided_at", "INTEGER") {
                Field($0.wait?.state == .pending ? nil : $0.createdAt)
            },
        ] + Person.columns.of { $0.requester } + [
            // What was asked; neither a valid target nor a valid source has a space.
            Column("targets", "TEXT NOT NULL") {
                .text($0.ask.targets.joined(separator: " "))
            },
            Column("sources", "TEXT NOT NULL") {
                .text($0.ask.sources.joined(separator: " "))
            },
            Column("duration", "TEXT") { Field($0.ask.duration) },
            Column("until", "TEXT") { Field($0.ask.until) },
            Column("at", "TEXT") { Field($0.ask.at) },
            Column("reason", "TEXT") { Field($0.ask.reason) },
            Column("ticket", "TEXT") { Field($0.ask.ticket) },
            Column("idempotency_key", "TEXT") { Field($0.idempotencyKey) },
            // Why it came to nothing, or was ended, in the words of who did it.
            Column("decision", "TEXT") { _ in .null },
        ]

    /// How a request waits that did not open at once.
    static let waitColumns: [Column<WaitingRequest>] =
        [
            Column("request", "INTEGER PRIMARY KEY") { .integer($0.id) },
            Column("revision", "INTEGER NOT NULL") { Field($0.wait.revision) },
            // Milliseconds.
            Column("duration", "INTEGER NOT NULL") { Field($0.wait.duration.wholeMilliseconds) },
            Column("starts_at", "INTEGER") { Field($0.wait.startsAt) },
            Column("pending_until", "INTEGER NOT NULL") { Field($0.wait.pendingUntil) },
            Column("extends", "INTEGER") { Field($0.wait.extends) },
            // Those of the requester then, a line each.
            Column("groups", "TEXT NOT NULL") {
                .text($0.wait.groups.sorted().joined(separator: "\n"))
            },
            // And who made it come to nothing:
        ] + Person.columns.of { _ in nil }

    /// What is recorded of an approval, besides the request it is of.
    static let approvalColumns: [Column<Approval>] =
        [
            Column("at", "INTEGER NOT NULL") { Field($0.at) },
            // Milliseconds.
            Column("duration", "INTEGER") { Field($0.duration?.wholeMilliseconds) },
            // The names of those it counts under; none has a space.
            Column("policies", "TEXT NOT NULL") {
                .text($0.policies.sorted().joined(separator: " "))
            },
        ] + Person.columns.of { $0.by }

    static let tables = """
        CREATE TABLE boots (
            id INTEGER PRIMARY KEY,
            boot TEXT NOT NULL UNIQUE -- /proc/sys/kernel/random/boot_id
        ) STRICT;

        CREATE TABLE requests (\(declarations(requestColumns))) STRICT;
        CREATE UNIQUE INDEX requests_by_key ON requests (subject, idempotency_key)
            WHERE idempotency_key IS NOT NULL;
        -- Those that wait: few, whatever there has been.
        CREATE INDEX requests_waiting ON requests (state) WHERE \(isWaiting);

        -- How requests wait, or waited, that did not open at once.
        CREATE TABLE waits (\(declarations(waitColumns))) STRICT;
        CREATE INDEX waits_by_extended ON waits (extends) WHERE extends IS NOT NULL;

        CREATE TABLE approvals (
            id INTEGER PRIMARY KEY,
            request INTEGER NOT NULL,
            \(declarations(approvalColumns))
        ) STRICT;
        CREATE INDEX approvals_by_request ON approvals (request);

        -- What requests are to open that wait, or were to open that came to nothing; and the grants
        -- that extensions were asked for.
        CREATE TABLE unopened (
            id INTEGER PRIMARY KEY,
            policy TEXT NOT NULL,
            port TEXT NOT NULL,
            host TEXT, -- behind this machine; null: this machine itself
            source TEXT NOT NULL
        ) STRICT;

        -- The grants that are live: what a start has to read, and no more.
        CREATE TABLE live (
            id INTEGER PRIMARY KEY,
            policy TEXT NOT NULL,
            port TEXT NOT NULL,
            host TEXT, -- behind this machine; null: this machine itself
            source TEXT NOT NULL,
            subject TEXT NOT NULL,
            name TEXT NOT NULL,
            via TEXT,
            starts_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            deadline INTEGER NOT NULL, -- milliseconds of CLOCK_BOOTTIME in that boot
            boot INTEGER NOT NULL -- boots.id
        ) STRICT;

        CREATE TABLE ended (
            id INTEGER PRIMARY KEY,
            policy TEXT NOT NULL,
            port TEXT NOT NULL,
            host TEXT, -- behind this machine; null: this machine itself
            source TEXT NOT NULL,
            starts_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            state TEXT NOT NULL,
            ended_at INTEGER NOT NULL,
            end_reason TEXT NOT NULL
        ) STRICT;

        -- How grants were used, as far as that was read.
        CREATE TABLE uses (
            id INTEGER PRIMARY KEY,
            packets INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            first_at INTEGER,
            last_at INTEGER,
            -- What of it the elements count that are in the kernel.
            counted_packets INTEGER NOT NULL,
            counted_bytes INTEGER NOT NULL,
            is_live INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX uses_live ON uses (id) WHERE is_live;

        CREATE VIEW grants AS
            SELECT id, id / \(ordinalLimit) AS request, id % \(ordinalLimit) AS ordinal,
                policy, port, host, source, starts_at, expires_at, deadline,
                'active' AS state, NULL AS ended_at, NULL AS end_reason
            FROM live
            UNION ALL
            SELECT id, id / \(ordinalLimit), id % \(ordinalLimit),
                policy, port, host, source, starts_at, expires_at, 0,
                state, ended_at, end_reason
            FROM ended;

        CREATE TABLE audit (\(declarations(AuditRow.columns))) STRICT;
        -- What each 1,024 events tell of: see AuditBlock.
        CREATE TABLE audit_blocks (
            id INTEGER PRIMARY KEY,
            oldest INTEGER NOT NULL,
            newest INTEGER NOT NULL,
            words BLOB NOT NULL
        ) STRICT;
        -- The last of the events that were pruned; no row where none were.
        CREATE TABLE audit_anchor (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            sequence INTEGER NOT NULL,
            hash TEXT NOT NULL
        ) STRICT;
        PRAGMA application_id = \(applicationID);
        PRAGMA user_version = \(version);
        """

    static let insertRequest = insert(into: "requests", requestColumns)
    static let insertWait = insert(into: "waits", waitColumns)
    static let updateDecider = """
        UPDATE waits SET (\(Person.columns.map(\.name).joined(separator: ", "))) =
            (\(marks(Person.columns.count)))
        WHERE request = ?
        """
    static let insertApproval = """
        INSERT INTO approvals VALUES (?, ?, \(marks(approvalColumns.count)))
        """
    static let insertAudit = insert(into: "audit", AuditRow.columns)
    static let insertLive = "INSERT INTO live VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    static let insertEnded = """
        INSERT INTO ended
        SELECT id, policy, port, host, source, starts_at, expires_at, ?2, ?3, ?4 FROM live WHERE id = ?1
        """
    static let insertUse = "INSERT OR REPLACE INTO uses VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    /// Gives a request the state of the grant that ended just now, where that was the last, and
    /// with it the requests that lengthened its grants.
    static let settleRequest = """
        UPDATE requests SET state = ?1
        WHERE (id = ?2
            OR (id IN (SELECT request FROM waits WHERE extends = ?2) AND state = 'active'))
        AND NOT EXISTS (
            SELECT 1 FROM live
            WHERE live.id > ?2 * \(ordinalLimit) AND live.id < (?2 + 1) * \(ordinalLimit))
        """

    /// Whether a request waits, as the index has it.
    static let isWaiting = "state IN ('pending', 'scheduled')"

    /// Whether a row is of the request that is bound first.
    static let isOfRequest = "id > ?1 * \(ordinalLimit) AND id < (?1 + 1) * \(ordinalLimit)"

    /// What a request is to open: policies, ports, hosts and sources, each once; and who asked for it.
    static let selectTargets =
        "SELECT "
        + ["policy", "port", "host", "source"].map { column in
            """
            (SELECT group_concat(\(column), ' ')
                FROM (SELECT DISTINCT \(column) FROM unopened WHERE \(isOfRequest)))
            """
        }.joined(separator: ", ") + ", subject, name FROM requests WHERE id = ?1"

    private static func declarations(_ columns: [Column<some Any>]) -> String {
        columns.map { "\($0.name) \($0.type)" }.joined(separator: ",\n    ")
    }

    private static func insert(into table: String, _ columns: [Column<some Any>]) -> String {
        "INSERT INTO \(table) VALUES (\(marks(columns.count)))"
    }

    private static func marks(_ count: Int) -> String {
        Array(repeating: "?", count: count).joined(separator: ", ")
    }

    /// The configuration of every connection.
    static var configuration: Configuration {
        var configuration = Configuration()
        configuration.label = "ledger"
        configuration.busyMode = .timeout(2)
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { db in
            // The log and its index stay when the last connection closes: on a disk that is full by
            // then there would be no room to make them again.
            var stays: CInt = 1
            unsafe sqlite3_file_control(db.sqliteConnection, nil, SQLITE_FCNTL_PERSIST_WAL, &stays)
            // 512 KiB a connection: writing needs the right edge of each table and no more.
            try db.execute(
                sql: """
                    PRAGMA page_size = \(pageSize);
                    PRAGMA cache_size = -512;
                    PRAGMA temp_store = MEMORY;
                    PRAGMA trusted_schema = OFF;
                    """
            )
        }
        return configuration
    }

    /// Makes the tables where there are none, and settles what only the writing connection needs.
    static func prepare(_ pool: DatabasePool, path: String) throws {
        try pool.writeWithoutTransaction { db in
            let number = { (sql: String) in try Int.fetchOne(db, sql: sql) ?? 0 }
            if try number("SELECT count(*) FROM sqlite_schema") == 0 {
                try db.execute(sql: "BEGIN IMMEDIATE; \(tables); COMMIT")
            }
            let found = try number("PRAGMA user_version")
            guard found == version, try number("PRAGMA application_id") == applicationID else {
                throw LedgerError(
                    .otherSchema,
                    "cannot open the ledger \(path): another version of the agent wrote it "
                        + "(tables of version \(found), not \(version)); install that version "
                        + "again, or move the file away to begin anew"
                )
            }
            try db.execute(
                sql: """
                    PRAGMA synchronous = FULL;
                    PRAGMA wal_autocheckpoint = \(logPages);
                    PRAGMA journal_size_limit = \(logSize);
                    """
            )
        }
    }
}

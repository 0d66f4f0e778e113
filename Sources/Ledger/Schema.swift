internal import GRDB

/// The tables, and the settings of a connection.
///
/// Times are milliseconds since 1970 UTC unless a comment says otherwise; states and reasons are
/// the words of the API, so that the file can be read with the `sqlite3` program while the agent
/// runs:
///
///     SELECT request, ordinal, port, source, state, datetime(expires_at / 1000, 'unixepoch')
///     FROM grants;
enum Schema {
    /// How a grant's row id is made: `request * ordinalLimit + ordinal`.
    ///
    /// 17.1 is row 170001: both parts stay readable, and rows are only ever appended.
    static let ordinalLimit: Int64 = 10_000

    /// Bytes of a page.
    ///
    /// An opening changes five pages, and each is written whole to the log: smaller ones make the
    /// commit a tenth faster than SQLite's 4,096, and reading a tenth slower.
    static let pageSize = 1024

    /// Pages the write-ahead log may grow to before a commit moves them into the database.
    ///
    /// 4 MB, or 800 openings.
    static let logPages = 4_000

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            try db.execute(sql: tables)
        }
        return migrator
    }

    private static let tables = """
        CREATE TABLE boots (
            id INTEGER PRIMARY KEY,
            boot TEXT NOT NULL UNIQUE -- /proc/sys/kernel/random/boot_id
        ) STRICT;

        CREATE TABLE requests (
            id INTEGER PRIMARY KEY,
            created_at INTEGER NOT NULL,
            uid INTEGER NOT NULL,
            user TEXT NOT NULL,
            pid INTEGER NOT NULL,
            reason TEXT,
            ticket TEXT,
            idempotency_key TEXT,
            ask TEXT -- what the idempotency key was used for
        ) STRICT;
        CREATE INDEX requests_by_time ON requests (created_at);
        CREATE UNIQUE INDEX requests_by_key ON requests (uid, idempotency_key)
            WHERE idempotency_key IS NOT NULL;

        CREATE TABLE grants (
            id INTEGER PRIMARY KEY,
            request INTEGER AS (id / \(ordinalLimit)) VIRTUAL,
            ordinal INTEGER AS (id % \(ordinalLimit)) VIRTUAL,
            policy TEXT NOT NULL,
            port TEXT NOT NULL,
            source TEXT NOT NULL,
            state TEXT NOT NULL,
            starts_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            deadline INTEGER NOT NULL, -- milliseconds of CLOCK_BOOTTIME in that boot
            boot INTEGER NOT NULL, -- boots.id
            ended_at INTEGER,
            end_reason TEXT
        ) STRICT;
        CREATE INDEX live_grants ON grants (id) WHERE state = 'active';

        CREATE TABLE audit (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            event TEXT NOT NULL,
            uid INTEGER, -- who did it; NULL: the agent
            user TEXT,
            pid INTEGER,
            request INTEGER NOT NULL,
            ordinal INTEGER NOT NULL,
            policy TEXT NOT NULL,
            port TEXT NOT NULL,
            source TEXT NOT NULL,
            detail TEXT
        ) STRICT;
        """

    /// The configuration of every connection.
    static var configuration: Configuration {
        var configuration = Configuration()
        configuration.label = "ledger"
        configuration.busyMode = .timeout(2)
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { db in
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

    /// Settles what only the writing connection needs, and makes the log file its full size.
    ///
    /// A commit that makes the file longer costs a second write of the file system's journal.
    /// The rolled-back transaction leaves zeros behind the log's end and nothing in the database.
    static func prepareWriter(_ db: Database) throws {
        try db.execute(
            sql: """
                PRAGMA synchronous = FULL;
                PRAGMA wal_autocheckpoint = \(logPages);
                """
        )
        do {
            try db.execute(
                sql: """
                    BEGIN IMMEDIATE;
                    CREATE TABLE padding (bytes BLOB);
                    INSERT INTO padding VALUES (zeroblob(\(logPages * pageSize)));
                    ROLLBACK;
                    """
            )
        } catch DatabaseError.SQLITE_FULL {
            // What is left of the disk is needed for what is to be recorded.
            if db.isInsideTransaction { try db.rollback() }
            try db.checkpoint(.truncate)
        }
    }
}

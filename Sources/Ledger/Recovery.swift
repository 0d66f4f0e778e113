internal import GRDB
public import Policy

/// What the agent needs to know when it starts.
public struct Recovered: Sendable {
    /// A grant that was live when the ledger was last written.
    public struct LiveGrant: Hashable, Sendable {
        /// The grant.
        public var grant: Grant
        /// Whether `grant.deadline` was read in this boot; otherwise it means nothing now, and only
        /// `grant.expiresAt` holds.
        public var isOfThisBoot: Bool
    }

    /// All live grants, by id.
    public var live: [LiveGrant]
    /// The first number no request has had.
    public var nextRequestID: Int64
    /// The time of the newest audit row.
    ///
    /// A wall clock that shows less was set back.
    public var lastRecordedAt: Timestamp?
}

extension Ledger {
    /// Reads what the agent must put in place again.
    ///
    /// - Throws: `LedgerError`; `corrupt` where a live grant cannot be read.
    public func recover() throws(LedgerError) -> Recovered {
        try reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT \(GrantRows.columns) FROM \(GrantRows.join)
                    WHERE g.state = 'active' ORDER BY g.id
                    """
            )
            var rows = GrantRows()
            var live: [Recovered.LiveGrant] = []
            live.reserveCapacity(
                try Int.fetchOne(db, sql: "SELECT count(*) FROM grants WHERE state = 'active'") ?? 0
            )
            let cursor = try Row.fetchCursor(statement)
            while let row = try cursor.next() {
                let isOfThisBoot = try row.decode(Int64.self, atIndex: GrantRows.boot) == boot
                live.append(.init(grant: try rows.grant(from: row), isOfThisBoot: isOfThisBoot))
            }
            let last = try Int64.fetchOne(db, sql: "SELECT max(id) FROM requests") ?? 0
            let at = try Int64.fetchOne(
                db,
                sql: "SELECT at FROM audit ORDER BY id DESC LIMIT 1"
            )
            return Recovered(
                live: live,
                nextRequestID: last + 1,
                lastRecordedAt: at.map(Timestamp.init(milliseconds:))
            )
        }
    }

    /// Reads on the calling thread, from a connection that does not wait for commits.
    func reading<T>(_ body: (Database) throws -> T) throws(LedgerError) -> T {
        do {
            return try pool.read(body)
        } catch {
            throw LedgerError(error, cannot: "read", path: path)
        }
    }

    /// Reads on a thread of the ledger's own.
    func reading<T: Sendable>(
        _ body: @Sendable (Database) throws -> T
    ) async throws(LedgerError) -> T {
        do {
            return try await pool.read(body)
        } catch {
            throw LedgerError(error, cannot: "read", path: path)
        }
    }
}

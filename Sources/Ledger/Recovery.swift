internal import GRDB
public import Policy
internal import Synchronization

/// What the agent needs to know when it starts.
public struct Recovered: Sendable {
    /// A grant that was live when the ledger was last written.
    public struct LiveGrant: Hashable, Sendable {
        /// The grant.
        public var grant: Grant
        /// Whether `grant.end.deadline` was read in this boot; otherwise it means nothing now, and
        /// only `grant.end.expiresAt` holds.
        public var isOfThisBoot: Bool
    }

    /// All live grants, by id; not those whose end an earlier run could only secure, which the next
    /// commit records: see ``Ledger/isBehind``.
    public var live: [LiveGrant]
    /// How those were used that an earlier run took for live, as far as that is recorded.
    public var uses: [Grant.ID: GrantUse] = [:]
    /// The requests that wait.
    public var waiting: [WaitingRequest] = []
    /// The first number no request has had.
    public var nextRequestID: Int64
    /// The time of the newest audit row.
    ///
    /// A wall clock that shows less was set back.
    public var lastRecordedAt: Timestamp?
    /// The numbers of rows of the audit trail that were recorded and are gone, with what they tell
    /// of; nil where none are missing at the end.
    public var lost: ClosedRange<Int64>?
    /// The number of a row of the audit trail that is not the one that was recorded; nil where the
    /// newest is.
    public var replaced: Int64?
    /// Whether what an earlier run noted beside the ledger is missing or damaged: nobody knows then
    /// whether rows are lost at the end, or ends of grants that were only secured.
    public var lacksMarks = false
}

extension Ledger {
    /// Reads what the agent must put in place again.
    ///
    /// - Throws: `LedgerError`; `corrupt` where a live grant cannot be read.
    public func recover() throws(LedgerError) -> Recovered {
        let books = books.withLock { $0 }
        return try reading { db in
            var ended: Set<Grant.ID> = []
            var takenBack: [Grant.ID: GrantEnd] = [:]
            for event in books.owed {
                switch event {
                case .ended(let id, _, _, _, _): ended.insert(id)
                case .takenBack(let id, let end): takenBack[id] = end
                default: break
                }
            }
            let statement = try db.cachedStatement(
                sql: """
                    SELECT \(GrantRows.liveColumns.joined(separator: ", ")), boot
                    FROM live ORDER BY id
                    """
            )
            var rows = GrantRows()
            var live: [Recovered.LiveGrant] = []
            live.reserveCapacity(try Int.fetchOne(db, sql: "SELECT count(*) FROM live") ?? 0)
            let cursor = try Row.fetchCursor(statement)
            while let row = try cursor.next() {
                var grant = try rows.liveGrant(from: row)
                grant.end = takenBack[grant.id] ?? grant.end
                guard ended.isEmpty || !ended.contains(grant.id) else { continue }
                let boot: Int64 = try row.decode(atIndex: GrantRows.liveColumns.count)
                live.append(.init(grant: grant, isOfThisBoot: boot == self.boot))
            }
            let at = try Int64.fetchOne(db, sql: "SELECT at FROM audit ORDER BY id DESC LIMIT 1")
            return Recovered(
                live: live,
                uses: try Self.liveUses(db),
                waiting: try Self.waitingRequests(db),
                nextRequestID: books.marks.request + 1,
                lastRecordedAt: at.map(Timestamp.init(milliseconds:)),
                lost: books.lost,
                replaced: books.replaced,
                lacksMarks: books.lacksMarks
            )
        }
    }

    private static func liveUses(_ db: Database) throws -> [Grant.ID: GrantUse] {
        var uses: [Grant.ID: GrantUse] = [:]
        try db.each(
            """
            SELECT id, packets, bytes, first_at, last_at, counted_packets, counted_bytes
            FROM uses WHERE is_live
            """,
            []
        ) { row in
            func number(_ index: Int) -> UInt64 { UInt64(bitPattern: row[index].integer ?? 0) }
            uses[Grant.ID(row: row[0].integer ?? 0)] = GrantUse(
                traffic: Traffic(packets: number(1), bytes: number(2)),
                firstAt: row[3].integer.map(Timestamp.init(milliseconds:)),
                lastAt: row[4].integer.map(Timestamp.init(milliseconds:)),
                counted: Traffic(packets: number(5), bytes: number(6))
            )
            return true
        }
        return uses
    }

    /// The live grants that end within a time.
    public func grants(
        endingIn time: ClosedRange<Timestamp>
    ) async throws(LedgerError) -> [Grant] {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT \(GrantRows.liveColumns.joined(separator: ", ")) FROM live
                    WHERE expires_at BETWEEN ? AND ?
                    """
            )
            var rows = GrantRows()
            return try Row.fetchAll(
                statement,
                arguments: [time.lowerBound.milliseconds, time.upperBound.milliseconds]
            ).map { try rows.liveGrant(from: $0) }
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

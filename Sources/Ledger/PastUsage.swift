internal import GRDB
public import Policy

/// What was opened since a moment, as the ledger had it at another.
public struct PastUsage: Sendable {
    private let snapshot: DatabaseSnapshot
    private let since: Timestamp
    private let path: String

    fileprivate init(_ snapshot: DatabaseSnapshot, since: Timestamp, path: String) {
        self.snapshot = snapshot
        self.since = since
        self.path = path
    }

    /// Reads it, which takes a second or two for a million requests, and holds up no commit.
    ///
    /// Grants the kernel refused do not count. Requests are taken to be in the order of their
    /// times: where the clock was set back, some at the edge may be counted or not.
    ///
    /// - Throws: `LedgerError` where the ledger cannot be read.
    public func read() async throws(LedgerError) -> Usage {
        do {
            return try await snapshot.read { [since] db in try Self.usage(db, since: since) }
        } catch {
            throw LedgerError(error, cannot: "read", path: path)
        }
    }

    private static func usage(_ db: Database, since: Timestamp) throws -> Usage {
        // What opened since may have waited before, for no longer than that.
        let firstAsked = try firstRequest(db, since: since + RequestLimits.furthestStart * -1)
        let first = try min(
            firstRequest(db, since: since),
            Int64.fetchOne(
                db,
                sql: "SELECT min(request) FROM waits WHERE request >= ?",
                arguments: [firstAsked]
            ) ?? .max
        )
        // Both tables side by side, so that the grants of a request come one after the other.
        let rows = try Row.fetchCursor(
            db,
            sql: """
                SELECT id, policy, starts_at, subject FROM live
                WHERE id >= ?1 AND starts_at >= ?2
                UNION ALL
                SELECT g.id, g.policy, g.starts_at, r.subject
                FROM ended g CROSS JOIN requests r ON r.id = g.id / \(Schema.ordinalLimit)
                WHERE g.id >= ?1 AND g.starts_at >= ?2
                    AND g.state IN ('expired', 'revoked', 'superseded')
                ORDER BY 1
                """,
            arguments: [first * Schema.ordinalLimit, since.milliseconds]
        )
        var usage = Usage()
        var subjects: [String: Subject] = [:]
        var (request, policies) = (Int64(0), [String]())
        while let row = try rows.next() {
            let id = Grant.ID(row: try row.decode(atIndex: 0))
            let policy: String = try row.decode(atIndex: 1)
            if id.request != request { (request, policies) = (id.request, []) }
            guard !policies.contains(policy) else { continue }
            policies.append(policy)
            let text: String = try row.decode(atIndex: 3)
            let subject = try subjects[text] ?? Subject(parsing: text)
            subjects[text] = subject
            usage.noteOpening(
                of: request,
                under: policy,
                by: subject,
                at: Timestamp(milliseconds: try row.decode(atIndex: 2))
            )
        }
        return usage
    }

    /// The first request that was made since a moment, by halving: numbers are in the order of time,
    /// so that no index has to be written with each request.
    private static func firstRequest(_ db: Database, since: Timestamp) throws -> Int64 {
        let statement = try db.cachedStatement(
            sql: "SELECT id, created_at FROM requests WHERE id >= ? ORDER BY id LIMIT 1"
        )
        var (low, high) = (
            Int64(1), try Int64.fetchOne(db, sql: "SELECT max(id) FROM requests") ?? 0
        )
        high += 1
        while low < high {
            let middle = low + (high - low) / 2
            guard let row = try Row.fetchOne(statement, arguments: [middle]) else { return high }
            if try row.decode(Int64.self, atIndex: 1) < since.milliseconds {
                low = try row.decode(Int64.self, atIndex: 0) + 1
            } else {
                high = middle
            }
        }
        return high
    }
}

extension Ledger {
    /// What was opened since a moment, as it is recorded now: what is opened from now on is not
    /// among it, whenever it is read.
    ///
    /// - Throws: `LedgerError` where the ledger cannot be read.
    public func pastUsage(since: Timestamp) throws(LedgerError) -> PastUsage {
        do {
            return PastUsage(try pool.makeSnapshot(), since: since, path: path)
        } catch {
            throw LedgerError(error, cannot: "read", path: path)
        }
    }
}

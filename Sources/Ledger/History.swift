internal import GRDB
public import Policy

extension Ledger {
    /// One request with its grants; nil where there is none of this number.
    public func request(_ id: Int64) async throws(LedgerError) -> StoredRequest? {
        try await reading { db in
            try Self.fetchRequests(db, where: "r.id = ?", [id], limit: 1).first
        }
    }

    /// Requests that meet a filter, newest first, each with all its grants.
    public func requests(_ filter: LedgerFilter) async throws(LedgerError) -> [StoredRequest] {
        var conditions = ["r.id < ?"]
        var arguments: StatementArguments = [filter.before ?? .max]
        if let user = filter.user {
            conditions.append("r.user = ?")
            arguments += [user]
        }
        if let uid = filter.uid {
            conditions.append("r.uid = ?")
            arguments += [uid]
        }
        if let policy = filter.policy {
            conditions.append(
                "EXISTS (SELECT 1 FROM grants g WHERE \(Self.ofRequest) AND g.policy = ?)"
            )
            arguments += [policy]
        }
        switch filter.state {
        case .active:
            conditions.append("r.id IN (SELECT request FROM grants WHERE state = 'active')")
        case .some(let state):
            // As StoredRequest.state: a live grant decides, then the one that ended last.
            conditions.append(
                """
                ? = (SELECT g.state FROM grants g WHERE \(Self.ofRequest)
                     ORDER BY g.ended_at DESC NULLS FIRST, g.id DESC LIMIT 1)
                """
            )
            arguments += [state.rawValue]
        case nil: break
        }
        return try await reading { [conditions, arguments] db in
            try Self.fetchRequests(
                db,
                where: conditions.joined(separator: " AND "),
                arguments,
                limit: filter.limit
            )
        }
    }

    /// Grants that meet a filter, live and ended, newest request first.
    ///
    /// Paging with `before` goes by whole requests: the limit may cut one in two, so ask again for
    /// more than one request can have (1,024 grants) where all of them matter.
    public func grants(_ filter: LedgerFilter) async throws(LedgerError) -> [StoredGrant] {
        var conditions: [String] = []
        var arguments: StatementArguments = []
        if let before = filter.before {
            conditions.append("g.id < ?")
            arguments += [before &* Schema.ordinalLimit]
        }
        switch filter.state {
        // Spelt out, because the index of live grants serves no parameter.
        case .active: conditions.append("g.state = 'active'")
        case .some(let state):
            conditions.append("g.state = ?")
            arguments += [state.rawValue]
        case nil: break
        }
        if let policy = filter.policy {
            conditions.append("g.policy = ?")
            arguments += [policy]
        }
        if let user = filter.user {
            conditions.append("r.user = ?")
            arguments += [user]
        }
        if let uid = filter.uid {
            conditions.append("r.uid = ?")
            arguments += [uid]
        }
        arguments += [filter.limit]
        let condition = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
        return try await reading { [arguments] db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT \(GrantRows.columns) FROM grants g CROSS JOIN requests r
                    ON r.id = g.request \(condition) ORDER BY g.id DESC LIMIT ?
                    """
            )
            var rows = GrantRows()
            var grants: [StoredGrant] = []
            let cursor = try Row.fetchCursor(statement, arguments: arguments)
            while let row = try cursor.next() { grants.append(try rows.storedGrant(from: row)) }
            return grants
        }
    }

    /// The request of this requester that carried this key; nil where there is none.
    ///
    /// Reads on the calling thread: one look-up, which waits for no commit. It does not see a
    /// commit under way.
    public func keyedRequest(
        uid: UInt32,
        idempotencyKey: String
    ) throws(LedgerError) -> KeyedRequest? {
        try reading { db in
            let statement = try db.cachedStatement(
                sql: "SELECT id, ask FROM requests WHERE uid = ? AND idempotency_key = ?"
            )
            return try Row.fetchOne(statement, arguments: [uid, idempotencyKey])
                .map { KeyedRequest(id: try $0.decode(atIndex: 0), ask: try $0.decode(atIndex: 1)) }
        }
    }

    /// How much each policy was used since a moment, for policies that were; by name.
    ///
    /// Grants the kernel refused do not count.
    public func figures(since: Timestamp) async throws(LedgerError) -> [PolicyFigures] {
        try await reading { db in
            let statement = try db.cachedStatement(
                sql: """
                    WITH used AS (
                        SELECT policy, count(DISTINCT request) AS requests, max(id) AS newest
                        FROM grants
                        WHERE id >= \(Schema.ordinalLimit)
                            * (SELECT min(id) FROM requests WHERE created_at >= ?1)
                            AND starts_at >= ?1 AND state <> 'failed'
                        GROUP BY policy)
                    SELECT used.policy, used.requests, g.starts_at, r.user
                    FROM used JOIN grants g ON g.id = used.newest JOIN requests r ON r.id = g.request
                    ORDER BY used.policy
                    """
            )
            return try Row.fetchAll(statement, arguments: [since.milliseconds]).map { row in
                PolicyFigures(
                    policy: try row.decode(atIndex: 0),
                    requests: try row.decode(atIndex: 1),
                    lastAt: Timestamp(milliseconds: try row.decode(atIndex: 2)),
                    lastUser: try row.decode(atIndex: 3)
                )
            }
        }
    }

    /// The grants `g` of the request `r`, as a range of row ids.
    private static let ofRequest = """
        g.id > r.id * \(Schema.ordinalLimit) AND g.id < (r.id + 1) * \(Schema.ordinalLimit)
        """

    private static func fetchRequests(
        _ db: Database,
        where condition: String,
        _ arguments: StatementArguments,
        limit: Int
    ) throws -> [StoredRequest] {
        let statement = try db.cachedStatement(
            sql: """
                SELECT r.id, r.uid, r.user, r.pid, r.reason, r.ticket, r.created_at,
                    r.idempotency_key
                FROM requests r WHERE \(condition) ORDER BY r.id DESC LIMIT ?
                """
        )
        var requests = try Row.fetchAll(statement, arguments: arguments + [limit]).map { row in
            StoredRequest(
                id: try row.decode(atIndex: 0),
                requester: Requester(
                    uid: try row.decode(atIndex: 1),
                    user: try row.decode(atIndex: 2)
                ),
                pid: try row.decode(atIndex: 3),
                reason: try row.decode(atIndex: 4),
                ticket: try row.decode(atIndex: 5),
                createdAt: Timestamp(milliseconds: try row.decode(atIndex: 6)),
                idempotencyKey: try row.decode(atIndex: 7),
                grants: []
            )
        }
        let grants = try db.cachedStatement(
            sql: """
                SELECT \(GrantRows.columns) FROM requests r JOIN grants g ON \(ofRequest)
                WHERE r.id = ? ORDER BY g.id
                """
        )
        var rows = GrantRows()
        for index in requests.indices {
            let cursor = try Row.fetchCursor(grants, arguments: [requests[index].id])
            while let row = try cursor.next() {
                requests[index].grants.append(try rows.storedGrant(from: row))
            }
        }
        return requests
    }
}

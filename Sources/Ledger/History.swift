internal import GRDB
public import Policy
internal import Synchronization

extension Ledger {
    /// One request with its grants; nil where there is none of this number.
    public func request(_ id: Int64) async throws(LedgerError) -> StoredRequest? {
        let owedEnds = owedEnds
        return try await reading { db in
            try Self.fetchRequests(db, Conditions("r.id = ?", id), limit: 1, owedEnds).first
        }
    }

    typealias OwedEnds = [Grant.ID: (reason: EndReason, at: Timestamp)]

    /// The ends that ``secure(_:)`` took: in force, though the tables do not have them.
    ///
    /// Read them before the tables, which may have them meanwhile.
    private var owedEnds: OwedEnds {
        books.withLock(\.owed).reduce(into: [:]) { ends, event in
            if case .ended(let id, let reason, let at, _, _) = event { ends[id] = (reason, at) }
        }
    }

    /// Requests that meet a filter and are in a state, newest first, each with all its grants.
    public func requests(
        _ filter: LedgerFilter,
        state: RequestState? = nil
    ) async throws(LedgerError) -> [StoredRequest] {
        let owedEnds = owedEnds
        var conditions = Conditions("r.id < ?", filter.before ?? .max)
        if let after = filter.after { conditions.add("r.id > ?", [after]) }
        conditions.add(ofPeople: filter)
        if let policy = filter.policy { conditions.add(anyGrant: "g.policy = ?", [policy]) }
        if let policies = filter.policies { conditions.add(onlyPolicies: policies) }
        switch state {
        case .active:
            // The few that are live, instead of all there are.
            var live = "r.id IN (SELECT id / \(Schema.ordinalLimit) FROM live g"
            if !owedEnds.isEmpty { live += " WHERE " + Self.isNotOwed }
            conditions.add(live + ")", owedEnds.isEmpty ? [] : [try Self.list(owedEnds)])
        case .pending, .scheduled:
            conditions.add("r.\(Schema.isWaiting) AND r.state = ?", [state?.rawValue])
        case .some(let state): conditions.add("r.state = ?", [state.rawValue])
        case nil: break
        }
        return try await reading { [conditions] db in
            try Self.fetchRequests(db, conditions, limit: filter.limit, owedEnds)
        }
    }

    /// Grants that meet a filter and are in a state, newest request first.
    ///
    /// Paging with `before` goes by whole requests: the limit may cut one in two, so ask again for
    /// more than one request can have (1,024 grants) where all of them matter.
    public func grants(
        _ filter: LedgerFilter,
        state: GrantState? = nil
    ) async throws(LedgerError) -> [StoredGrant] {
        let owedEnds = owedEnds
        let (sql, arguments) = try Self.query(filter, state: state, owedEnds)
        return try await reading { db in
            let statement = try db.cachedStatement(sql: sql)
            var rows = GrantRows(owedEnds: owedEnds)
            var grants: [StoredGrant] = []
            let cursor = try Row.fetchCursor(statement, arguments: arguments)
            while let row = try cursor.next() {
                let reason: String? = try row.decode(atIndex: Self.grantColumnCount)
                let requester = try Self.person(row, at: Self.grantColumnCount + 1)
                grants.append(try rows.storedGrant(from: row, requester: requester, reason: reason))
            }
            return grants
        }
    }

    /// Reads both tables of grants from their newest rows on, side by side: no more of them than the
    /// page takes.
    static func query(
        _ filter: LedgerFilter,
        state: GrantState?,
        _ owedEnds: OwedEnds = [:]
    ) throws(LedgerError) -> (sql: String, arguments: StatementArguments) {
        let before = filter.before.map { $0.multipliedReportingOverflow(by: Schema.ordinalLimit) }
        var conditions = Conditions(
            "g.id < ?",
            before.map { $0.overflow ? .max : $0.partialValue } ?? .max
        )
        if let after = filter.after {
            conditions.add("g.id > ?", [(after + 1) * Schema.ordinalLimit])
        }
        conditions.add(ofPeople: filter)
        if let policy = filter.policy { conditions.add("g.policy = ?", [policy]) }
        if let policies = filter.policies {
            let (marks, names) = Conditions.list(policies)
            conditions.add("g.policy IN \(marks)", names)
        }
        var parts: [(sql: String, arguments: StatementArguments)] = []
        let select = { (columns: String, table: String, conditions: Conditions) in
            (
                """
                SELECT \(columns), r.reason, \(personColumns)
                FROM \(table) g CROSS JOIN requests r ON r.id = g.id / \(Schema.ordinalLimit)
                WHERE \(conditions.sql)
                """,
                conditions.arguments
            )
        }
        if state == nil {
            parts.append(select(GrantRows.columnsOfLive, "live", conditions))
        } else if state == .active {
            var conditions = conditions
            if !owedEnds.isEmpty { conditions.add(Self.isNotOwed, [try list(owedEnds)]) }
            parts.append(select(GrantRows.columnsOfLive, "live", conditions))
        }
        if state != .active {
            if let state { conditions.add("g.state = ?", [state.rawValue]) }
            parts.append(select(GrantRows.columnsOfEnded, "ended", conditions))
        }
        return (
            parts.map(\.sql).joined(separator: " UNION ALL ") + " ORDER BY g.id DESC LIMIT ?",
            parts.map(\.arguments).reduce([], +) + [filter.limit]
        )
    }

    /// The request of this person that carried this key; nil where there is none.
    ///
    /// Reads on the calling thread, by a connection of its own: one look-up, which waits for no
    /// commit and no other reader. It does not see a commit under way.
    public func keyedRequest(
        subject: Subject,
        idempotencyKey: String
    ) throws(LedgerError) -> KeyedRequest? {
        do {
            return try lookups.read { db in
                let statement = try db.cachedStatement(
                    sql: """
                        SELECT \(Self.askColumns), r.id FROM requests r
                        WHERE subject = ? AND idempotency_key = ?
                        """
                )
                return try Row.fetchOne(
                    statement,
                    arguments: [subject.description, idempotencyKey]
                )
                .map { row in
                    KeyedRequest(
                        id: try row.decode(atIndex: Self.askColumnCount),
                        ask: try Self.ask(row, at: 0)
                    )
                }
            }
        } catch {
            throw LedgerError(error, cannot: "read", path: path)
        }
    }

    /// Everybody who asked for access under a name and some policies, of this host or not.
    ///
    /// Reads all there is.
    ///
    /// - Parameters:
    ///   - name: What people called them then.
    ///   - policies: Only who asked under these policies alone.
    /// - Returns: Who they are, each once.
    /// - Throws: `LedgerError` where the ledger cannot be read.
    public func people(
        named name: String,
        under policies: Set<String>
    ) async throws(LedgerError) -> [Subject] {
        var conditions = Conditions("r.id < ?", .max)
        conditions.add("r.name = ?", [name])
        conditions.add(onlyPolicies: policies)
        return try await reading { [conditions] db in
            try String.fetchAll(
                db,
                sql: "SELECT DISTINCT r.subject FROM requests r WHERE \(conditions.sql) ORDER BY 1",
                arguments: conditions.arguments
            ).map { try Subject(parsing: $0) }
        }
    }

    /// Whether the grant `g` has not ended without the tables' knowing; takes what `list` makes.
    private static let isNotOwed = "g.id NOT IN (SELECT value FROM json_each(?))"

    private static func list(_ owedEnds: OwedEnds) throws(LedgerError) -> String {
        let rows = try owedEnds.keys.map { id throws(LedgerError) in "\(try id.row())" }
        return "[\(rows.joined(separator: ","))]"
    }

    private static let grantColumnCount = GrantRows.storedColumns.count
    private static let personColumns = Person.columns.map { "r." + $0.name }
        .joined(separator: ", ")
    private static let askColumns =
        "r.targets, r.sources, r.duration, r.until, r.at, r.reason, r.ticket"
    private static let askColumnCount = 7

    private static func person(_ row: Row, at index: Int) throws -> Person {
        guard let person = Person(try row.fields(index..<index + Person.columns.count)) else {
            throw LedgerError(
                .corrupt,
                "cannot read who asked for a request in the ledger; restore it from a backup"
            )
        }
        return person
    }

    private static func ask(_ row: Row, at index: Int) throws -> Ask {
        let words = { (text: String) in text.split(separator: " ").map(String.init) }
        return Ask(
            targets: words(try row.decode(atIndex: index)),
            sources: words(try row.decode(atIndex: index + 1)),
            duration: try row.decode(atIndex: index + 2),
            until: try row.decode(atIndex: index + 3),
            at: try row.decode(atIndex: index + 4),
            reason: try row.decode(atIndex: index + 5),
            ticket: try row.decode(atIndex: index + 6)
        )
    }

    /// The requests that wait, the newest first.
    static func waitingRequests(_ db: Database) throws -> [WaitingRequest] {
        var conditions = Conditions("r.id > ?", 0)
        conditions.add("r.\(Schema.isWaiting)")
        return try fetchRequests(db, conditions, limit: .max, [:]).compactMap(\.waiting)
    }

    private static func fetchRequests(
        _ db: Database,
        _ conditions: Conditions,
        limit: Int,
        _ owedEnds: OwedEnds
    ) throws -> [StoredRequest] {
        let statement = try db.cachedStatement(
            sql: """
                SELECT \(askColumns), r.id, r.state, r.created_at, r.decided_at, r.idempotency_key,
                    \(personColumns), r.decision, \(WaitRows.columns)
                FROM requests r LEFT JOIN waits w ON w.request = r.id
                WHERE \(conditions.sql) ORDER BY r.id DESC LIMIT ?
                """
        )
        let grants = try db.cachedStatement(
            sql: """
                SELECT \(GrantRows.storedColumns.joined(separator: ", ")) FROM grants
                WHERE \(Schema.isOfRequest) ORDER BY id
                """
        )
        var rows = GrantRows(owedEnds: owedEnds)
        return try Row.fetchAll(statement, arguments: conditions.arguments + [limit]).map { row in
            let first = askColumnCount
            let id: Int64 = try row.decode(atIndex: first)
            let stateText: String = try row.decode(atIndex: first + 1)
            guard let state = RequestState(rawValue: stateText) else {
                throw WaitRows.damaged(id, "unknown state \"\(stateText)\"")
            }
            let decidedAt: Int64? = try row.decode(atIndex: first + 3)
            var request = StoredRequest(
                id: id,
                state: state,
                requester: try person(row, at: first + 5),
                ask: try ask(row, at: 0),
                createdAt: Timestamp(milliseconds: try row.decode(atIndex: first + 2)),
                decidedAt: decidedAt.map(Timestamp.init(milliseconds:)),
                idempotencyKey: try row.decode(atIndex: first + 4),
                grants: []
            )
            let decision = first + 5 + Person.columns.count
            request.decision = try row.decode(atIndex: decision)
            if let known = try WaitRows.wait(db, from: row, at: decision + 1, of: id, state) {
                (request.wait, request.decidedBy) = known
            }
            if let extended = request.wait?.extends {
                let conditions = Conditions("r.id = ?", extended)
                request.grants =
                    try fetchRequests(db, conditions, limit: 1, owedEnds).first?.grants ?? []
                return request
            }
            let cursor = try Row.fetchCursor(grants, arguments: [id])
            while let row = try cursor.next() {
                let grant = try rows.storedGrant(
                    from: row,
                    requester: request.requester,
                    reason: request.ask.reason
                )
                request.grants.append(grant)
            }
            if request.state == .active, !request.grants.contains(where: { $0.state == .active }),
                let last = request.grants.last(where: { owedEnds[$0.id] != nil }),
                let state = RequestState(rawValue: last.state.rawValue)
            {
                request.state = state
            }
            return request
        }
    }
}

/// Conditions of a query, which must all hold.
private struct Conditions: Sendable {
    private(set) var sql: String
    private(set) var arguments: StatementArguments

    init(_ condition: String, _ argument: Int64) {
        sql = condition
        arguments = [argument]
    }

    mutating func add(_ condition: String, _ arguments: StatementArguments = []) {
        sql += " AND " + condition
        self.arguments += arguments
    }

    /// Requests of which a grant meets a condition, or none does.
    mutating func add(
        anyGrant condition: String,
        _ arguments: StatementArguments,
        negated: Bool = false
    ) {
        let exists = ["live", "ended", "unopened"].map { table in
            """
            EXISTS (SELECT 1 FROM \(table) g
                WHERE g.id > r.id * \(Schema.ordinalLimit)
                    AND g.id < (r.id + 1) * \(Schema.ordinalLimit) AND \(condition))
            """
        }
        let either = "(\(exists.joined(separator: " OR ")))"
        add(negated ? "NOT " + either : either, arguments + arguments + arguments)
    }

    /// Requests that have grants, and only under these policies.
    mutating func add(onlyPolicies policies: Set<String>) {
        let (marks, names) = Self.list(policies)
        add(anyGrant: "g.policy IN \(marks)", names)
        add(anyGrant: "g.policy NOT IN \(marks)", names, negated: true)
    }

    mutating func add(ofPeople filter: LedgerFilter) {
        if let subject = filter.subject { add("r.subject = ?", [subject.description]) }
        if let name = filter.name { add("r.name = ? AND r.subject LIKE 'unix:%'", [name]) }
    }

    /// `(?, ?)`, and what stands for it.
    static func list(_ texts: Set<String>) -> (marks: String, arguments: StatementArguments) {
        let marks = Array(repeating: "?", count: texts.count).joined(separator: ", ")
        return ("(\(marks))", StatementArguments(texts))
    }
}

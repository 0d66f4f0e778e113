internal import GRDB
public import Policy
internal import Synchronization

extension Ledger {
    /// Events of the audit trail that meet a filter, newest first.
    public func audit(_ filter: AuditFilter) async throws(LedgerError) -> [AuditRow] {
        try await reading { db in
            var rows: [AuditRow] = []
            let (sql, fields) = Self.query(filter, order: "DESC")
            try db.each(sql, fields) { row in
                rows.append(AuditRow(row))
                return true
            }
            return rows
        }
    }

    /// The newest event's number; 0 where there is none.
    public var newestEvent: Int64 { books.withLock(\.marks.sequence) }

    private static func query(
        _ filter: AuditFilter,
        order: String
    ) -> (sql: String, fields: [Field]) {
        var conditions = ["id < ?"]
        var fields = [Field.integer(filter.before ?? .max)]
        func add(_ condition: String, _ values: Field...) {
            conditions.append(condition)
            fields += values
        }
        if let since = filter.since { add("at >= ?", Field(since)) }
        if let until = filter.until { add("at < ?", Field(until)) }
        if let policy = filter.policy {
            add("instr(' ' || policy || ' ', ?)", .text(" \(policy) "))
        }
        if let user = filter.user {
            let columns = ["subject", "name", "requester", "requester_name"]
            add("? IN (\(columns.joined(separator: ", ")))", .text(user))
        }
        if let event = filter.event { add("event = ?", .text(event.rawValue)) }
        if let source = filter.source {
            let written = [source, (try? CIDR(parsing: source))?.description ?? source]
            add(
                "(instr(' ' || source || ' ', ?) OR instr(' ' || source || ' ', ?))",
                .text(" \(written[0]) "),
                .text(" \(written[1]) ")
            )
        }
        if let request = filter.request { add("request = ?", .integer(request)) }
        if let subject = filter.scope.subject?.description {
            add("? IN (subject, requester)", .text(subject))
        }
        if let policies = filter.scope.policies {
            conditions.append(
                "policy IN (\(policies.map { _ in "?" }.joined(separator: ", ")))"
            )
            fields += policies.sorted().map(Field.text)
        }
        fields.append(.integer(Int64(filter.limit)))
        return (
            """
            SELECT \(AuditRow.columnNames) FROM audit
            WHERE \(conditions.joined(separator: " AND ")) ORDER BY id \(order) LIMIT ?
            """,
            fields
        )
    }
}

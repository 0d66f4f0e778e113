internal import GRDB
internal import Policy

/// Reads how requests wait, or waited.
enum WaitRows {
    /// The columns of `waits`, as `w`, that `wait(from:)` takes.
    static let columns =
        ([
            "revision", "duration", "starts_at", "pending_until", "extends", "groups",
        ] + Person.columns.map(\.name)).map { "w." + $0 }.joined(separator: ", ")

    /// Reads a row of `columns`, which begin at an index, with what else belongs to it; nil where
    /// the request did not wait.
    static func wait(
        _ db: Database,
        from row: Row,
        at index: Int,
        of request: Int64,
        _ state: RequestState
    ) throws -> (wait: Wait, decidedBy: Person?)? {
        guard let revision: Int = try row.decode(atIndex: index) else { return nil }
        let groups: String = try row.decode(atIndex: index + 5)
        let startsAt: Int64? = try row.decode(atIndex: index + 2)
        var wait = Wait(
            state: state,
            openings: try openings(db, of: request),
            duration: .milliseconds(try row.decode(Int64.self, atIndex: index + 1)),
            startsAt: startsAt.map(Timestamp.init(milliseconds:)),
            pendingUntil: Timestamp(milliseconds: try row.decode(atIndex: index + 3)),
            extends: try row.decode(atIndex: index + 4),
            groups: Set(groups.split(separator: "\n").map(String.init))
        )
        wait.revision = revision
        wait.approvals = try approvals(db, of: request)
        let person = index + 6
        return (wait, Person(try row.fields(person..<person + Person.columns.count)))
    }

    private static func openings(_ db: Database, of request: Int64) throws -> [Opening] {
        let statement = try db.cachedStatement(
            sql: """
                SELECT policy, port, source, host FROM unopened WHERE \(Schema.isOfRequest) ORDER BY id
                """
        )
        return try Row.fetchAll(statement, arguments: [request]).map { row in
            do {
                let host: String? = try row.decode(atIndex: 3)
                return Opening(
                    policy: try row.decode(atIndex: 0),
                    port: try PortRange(parsing: row.decode(atIndex: 1)),
                    host: try host.map { text throws(ParseError) in try IPAddress(parsing: text) },
                    source: try CIDR(parsing: row.decode(atIndex: 2))
                )
            } catch let error as ParseError {
                throw damaged(request, "\"\(error.value)\": \(error.message)")
            }
        }
    }

    private static func approvals(_ db: Database, of request: Int64) throws -> [Approval] {
        let names = Schema.approvalColumns.map(\.name).joined(separator: ", ")
        let statement = try db.cachedStatement(
            sql: "SELECT \(names) FROM approvals WHERE request = ? ORDER BY id"
        )
        return try Row.fetchAll(statement, arguments: [request]).map { row in
            guard let person = Person(try row.fields(3..<3 + Person.columns.count)) else {
                throw damaged(request, "who approved it cannot be read")
            }
            let duration: Int64? = try row.decode(atIndex: 1)
            let policies: String = try row.decode(atIndex: 2)
            return Approval(
                by: person,
                at: Timestamp(milliseconds: try row.decode(atIndex: 0)),
                duration: duration.map { .milliseconds($0) },
                policies: Set(policies.split(separator: " ").map(String.init))
            )
        }
    }

    static func damaged(_ request: Int64, _ what: String) -> LedgerError {
        LedgerError(
            .corrupt,
            "cannot read request \(request) in the ledger: \(what); "
                + "restore the ledger from a backup"
        )
    }
}

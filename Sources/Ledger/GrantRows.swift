internal import GRDB
internal import Policy

/// Reads grants joined with their requests.
///
/// Ports, policies and users repeat from row to row: each text is read once and then shared.
struct GrantRows {
    /// The columns, in the order `grant(from:)` takes them.
    static let columns = """
        g.id, g.policy, g.port, g.source, g.starts_at, g.expires_at, g.deadline, r.uid, r.user,
        g.boot, r.pid, r.reason, g.state, g.ended_at, g.end_reason
        """
    static let join = "grants g JOIN requests r ON r.id = g.request"

    /// `boots.id` stands in this column.
    static let boot = 9

    private var ports: [String: PortRange] = [:]
    private var policies: Set<String> = []
    private var users: Set<String> = []

    mutating func grant(from row: Row) throws -> Grant {
        let id = Grant.ID(row: try row.decode(atIndex: 0))
        do {
            return Grant(
                id: id,
                policy: policies.insert(try row.decode(atIndex: 1)).memberAfterInsert,
                port: try port(row.decode(atIndex: 2)),
                source: try CIDR(parsing: row.decode(atIndex: 3)),
                requester: Requester(
                    uid: try row.decode(atIndex: 7),
                    user: users.insert(try row.decode(atIndex: 8)).memberAfterInsert
                ),
                startsAt: Timestamp(milliseconds: try row.decode(atIndex: 4)),
                expiresAt: Timestamp(milliseconds: try row.decode(atIndex: 5)),
                deadline: try row.decode(atIndex: 6)
            )
        } catch let error as ParseError {
            throw Self.damaged(id, "\"\(error.value)\": \(error.message)")
        }
    }

    mutating func storedGrant(from row: Row) throws -> StoredGrant {
        let grant = try grant(from: row)
        let stateText: String = try row.decode(atIndex: 12)
        guard let state = GrantState(rawValue: stateText) else {
            throw Self.damaged(grant.id, "unknown state \"\(stateText)\"")
        }
        return StoredGrant(
            grant: grant,
            pid: try row.decode(atIndex: 10),
            reason: try row.decode(atIndex: 11),
            state: state,
            endedAt: (try row.decode(Int64?.self, atIndex: 13)).map(Timestamp.init(milliseconds:)),
            endReason: (try row.decode(String?.self, atIndex: 14))
                .flatMap(EndReason.init(rawValue:))
        )
    }

    private mutating func port(_ text: String) throws(ParseError) -> PortRange {
        if let port = ports[text] { return port }
        let port = try PortRange(parsing: text)
        ports[text] = port
        return port
    }

    private static func damaged(_ id: Grant.ID, _ what: String) -> LedgerError {
        LedgerError(
            .corrupt,
            "cannot read grant \(id) in the ledger: \(what); restore the ledger from a backup"
        )
    }
}

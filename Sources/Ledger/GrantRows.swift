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

    mutating func grant(from row: Row) throws(LedgerError) -> Grant {
        let id = Grant.ID(row: row[0])
        do throws(ParseError) {
            return Grant(
                id: id,
                policy: policies.insert(row[1]).memberAfterInsert,
                port: try port(row[2]),
                source: try CIDR(parsing: row[3]),
                requester: Requester(
                    uid: UInt32(truncatingIfNeeded: row[7] as Int64),
                    user: users.insert(row[8]).memberAfterInsert
                ),
                startsAt: Timestamp(milliseconds: row[4]),
                expiresAt: Timestamp(milliseconds: row[5]),
                deadline: row[6]
            )
        } catch {
            throw Self.damaged(id, "\"\(error.value)\": \(error.message)")
        }
    }

    mutating func storedGrant(from row: Row) throws(LedgerError) -> StoredGrant {
        let grant = try grant(from: row)
        let stateText: String = row[12]
        guard let state = GrantState(rawValue: stateText) else {
            throw Self.damaged(grant.id, "unknown state \"\(stateText)\"")
        }
        return StoredGrant(
            grant: grant,
            pid: Int32(truncatingIfNeeded: row[10] as Int64),
            reason: row[11],
            state: state,
            endedAt: (row[13] as Int64?).map(Timestamp.init(milliseconds:)),
            endReason: (row[14] as String?).flatMap(EndReason.init(rawValue:))
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

internal import GRDB
public import Policy

/// One thing to record.
public enum LedgerChange: Sendable {
    /// A request and all its grants, which become live.
    ///
    /// `ask` is what the request asked for in a form of the caller's own; a later use of the same
    /// idempotency key is compared with it. It is stored only where the request has such a key.
    case record(AccessRequest, ask: String? = nil)
    /// The end of a live grant; `by` is absent where nobody asked for it.
    case end(Grant.ID, GrantState, EndReason, at: Timestamp, by: Identity?)
    /// A new end of a live grant; `deadline` in milliseconds of this boot's CLOCK_BOOTTIME.
    ///
    /// `by` is absent where the agent took an extension back.
    case extend(Grant.ID, expiresAt: Timestamp, deadline: Int64, by: Identity?)
    /// What a live grant's end, which stays the same, is in milliseconds of this boot's
    /// CLOCK_BOOTTIME; nothing for the audit trail.
    case carryOver(Grant.ID, deadline: Int64)
}

extension Grant.ID {
    /// The grant's row in the table `grants`.
    func row() throws(LedgerError) -> Int64 {
        guard ordinal > 0, ordinal < Schema.ordinalLimit,
            request > 0, request < Int64.max / Schema.ordinalLimit
        else {
            throw LedgerError(.other, "cannot record grant \(self): its number is out of range")
        }
        return request * Schema.ordinalLimit + Int64(ordinal)
    }

    init(row: Int64) {
        self.init(
            request: row / Schema.ordinalLimit,
            ordinal: Int(row % Schema.ordinalLimit)
        )
    }
}

/// Writes changes inside a transaction.
///
/// Statements are compiled once for each connection.
struct LedgerWriter {
    let db: Database
    /// `boots.id` of the running boot.
    let boot: Int64
    /// The time of the audit rows.
    let at: Timestamp

    func write(_ change: LedgerChange) throws {
        switch change {
        case .record(let request, let ask):
            try record(request, ask: ask)
        case .end(let id, let state, let reason, let endedAt, let actor):
            let row = try id.row()
            try run(
                """
                UPDATE grants SET state = ?, ended_at = ?, end_reason = ?
                WHERE id = ? AND state = 'active'
                """,
                [state.rawValue, endedAt.milliseconds, reason.rawValue, row]
            )
            try requireChange(of: id, "end")
            try audit(state.rawValue, row, by: actor, detail: reason.rawValue)
        case .extend(let id, let expiresAt, let deadline, let actor):
            let row = try id.row()
            try run(
                """
                UPDATE grants SET expires_at = ?, deadline = ?, boot = ?
                WHERE id = ? AND state = 'active'
                """,
                [expiresAt.milliseconds, deadline, boot, row]
            )
            try requireChange(of: id, "extend")
            try audit("extended", row, by: actor, detail: expiresAt.description)
        case .carryOver(let id, let deadline):
            try run(
                "UPDATE grants SET deadline = ?, boot = ? WHERE id = ? AND state = 'active'",
                [deadline, boot, id.row()]
            )
        }
    }

    private func record(_ request: AccessRequest, ask: String?) throws {
        let requester = request.requester
        try run(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                request.id, request.createdAt.milliseconds, requester.uid, requester.user,
                request.pid, request.reason, request.ticket, request.idempotencyKey,
                request.idempotencyKey == nil ? nil : ask,
            ]
        )
        for grant in request.grants {
            let port = grant.port.description
            let source = grant.source.description
            try run(
                """
                INSERT INTO grants (
                    id, policy, port, source, state, starts_at, expires_at, deadline, boot)
                VALUES (?, ?, ?, ?, 'active', ?, ?, ?, ?)
                """,
                [
                    grant.id.row(), grant.policy, port, source, grant.startsAt.milliseconds,
                    grant.expiresAt.milliseconds, grant.deadline, boot,
                ]
            )
            try run(
                """
                INSERT INTO audit (
                    at, event, uid, user, pid, request, ordinal, policy, port, source)
                VALUES (?, 'opened', ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    at.milliseconds, requester.uid, requester.user, request.pid,
                    request.id, grant.id.ordinal, grant.policy, port, source,
                ]
            )
        }
    }

    private func audit(_ event: String, _ row: Int64, by actor: Identity?, detail: String) throws {
        try run(
            """
            INSERT INTO audit (
                at, event, uid, user, pid, request, ordinal, policy, port, source, detail)
            SELECT ?, ?, ?, ?, ?, request, ordinal, policy, port, source, ?
            FROM grants WHERE id = ?
            """,
            [
                at.milliseconds, event, actor?.uid, actor?.user, actor?.pid, detail, row,
            ]
        )
    }

    private func run(_ sql: String, _ arguments: StatementArguments) throws {
        try db.cachedStatement(sql: sql).execute(arguments: arguments)
    }

    private func requireChange(of id: Grant.ID, _ verb: String) throws {
        guard db.changesCount == 1 else {
            throw LedgerError(
                .notLive,
                "cannot \(verb) grant \(id): it is not live in the ledger",
                grant: id
            )
        }
    }
}

internal import GRDB
internal import Policy

extension EventWriter {
    mutating func ask(_ request: WaitingRequest) throws {
        let wait = request.wait
        var row = request.opened([])
        row.wait = wait
        try db.run(Schema.insertRequest, Schema.requestColumns.map { $0.field(row) })
        try db.run(Schema.insertWait, Schema.waitColumns.map { $0.field(request) })
        for (index, opening) in wait.openings.enumerated() {
            try db.run(
                "INSERT INTO unopened VALUES (?, ?, ?, ?, ?)",
                [
                    .integer(try Grant.ID(request: request.id, ordinal: index + 1).row()),
                    .text(opening.policy), .text(opening.port.description),
                    Field(opening.host?.description), .text(opening.source.description),
                ]
            )
        }
        try note(.requested, request.id, by: request.requester) { row in
            row.reason = request.ask.reason
            row.ticket = request.ask.ticket
            row.outcome = wait.state.rawValue
            row.detail =
                "for \(wait.duration.compactDescription)"
                + (wait.startsAt.map { " from \($0)" } ?? "")
                + (wait.extends.map { " more of request \($0)" } ?? "")
        }
        marks.request = max(marks.request, request.id)
    }

    mutating func approve(_ id: Int64, _ approval: Approval?, then state: RequestState) throws {
        try db.run(
            """
            UPDATE waits SET revision = revision + 1, duration = min(duration, ifnull(?2, duration))
            WHERE request = ?1
            """,
            [.integer(id), Field(approval?.duration?.wholeMilliseconds)]
        )
        if let approval {
            try db.run(
                Schema.insertApproval,
                [.null, .integer(id)] + Schema.approvalColumns.map { $0.field(approval) }
            )
        }
        if state == .scheduled { try settle(id, state, at: approval?.at ?? at) }
        try note(.approved, id, by: approval?.by) { row in
            row.outcome = state.rawValue
            row.detail =
                approval == nil
                ? "the policy asks for no more approvals"
                : approval?.duration.map { "for \($0.compactDescription)" }
        }
    }

    mutating func conclude(
        _ id: Int64,
        _ state: RequestState,
        at time: Timestamp,
        by actor: Person?,
        reason: String?
    ) throws {
        try settle(id, state, at: time)
        try db.run(
            "UPDATE requests SET decision = ? WHERE id = ?",
            [Field(reason), .integer(id)]
        )
        try db.run(
            Schema.updateDecider,
            Person.columns.of { $0 }.map { $0.field(actor) } + [.integer(id)]
        )
        let kind: AuditKind
        switch state {
        case .denied: kind = .denied
        case .cancelled: kind = .cancelled
        case .lapsed: kind = .lapsed
        // What the kernel did not take has rows of its own.
        default: return
        }
        try note(kind, id, by: actor) { row in
            row.reason = reason
            row.outcome = state.rawValue
        }
    }

    /// What waited opens: what of it was kept apart goes, but of an extension, which has no grants.
    mutating func endWait(of request: AccessRequest, _ wait: Wait) throws {
        // What was scheduled is decided already.
        try db.run(
            "UPDATE requests SET state = 'active', decided_at = ifnull(decided_at, ?) WHERE id = ?",
            [Field(at), .integer(request.id)]
        )
        guard wait.extends == nil else { return }
        try db.run("DELETE FROM unopened WHERE \(Schema.isOfRequest)", [.integer(request.id)])
    }

    private func settle(_ id: Int64, _ state: RequestState, at time: Timestamp) throws {
        try db.run(
            "UPDATE requests SET state = ?, decided_at = ? WHERE id = ?",
            [.text(state.rawValue), Field(time), .integer(id)]
        )
    }

    /// Appends a row about a request that waits.
    private mutating func note(
        _ kind: AuditKind,
        _ id: Int64,
        by actor: Person?,
        _ fill: (inout AuditRow) -> Void
    ) throws {
        let targets = try db.run(Schema.selectTargets, [.integer(id)])
        try append(kind, by: actor) { row in
            row.tell(of: id, by: targets[4].text, targets[5].text)
            (row.policy, row.port) = (targets[0].text, targets[1].text)
            (row.host, row.source) = (targets[2].text, targets[3].text)
            fill(&row)
        }
    }
}

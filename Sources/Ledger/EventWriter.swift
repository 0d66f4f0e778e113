internal import GRDB
internal import Policy

/// Writes events inside a transaction: what becomes of requests and grants, and the audit trail.
struct EventWriter {
    let db: Database
    /// `boots.id` of the running boot.
    let boot: Int64
    /// The time of the audit rows.
    let at: Timestamp
    /// The newest numbers that were used.
    var marks: Marks
    /// The block of the next audit row.
    var block: AuditBlock

    mutating func write(_ event: Event) throws {
        switch event {
        case .asked(let request): try ask(request)
        case .approved(let id, let approval, let state): try approve(id, approval, then: state)
        case .concluded(let id, let state, let at, let actor, let reason):
            try conclude(id, state, at: at, by: actor, reason: reason)
        case .opened(let request): try open(request)
        case .ended(let id, let reason, let endedAt, let actor, let grounds):
            try end(id, reason, at: endedAt, by: actor, grounds)
        case .extended(let id, _, let end, let actor, let grounds):
            try move(id, "expires_at = ?, deadline = ?", [Field(end.expiresAt), end.deadlineField])
            try note(.extended, id, by: actor, detail: "until \(end.expiresAt)", grounds)
        case .takenBack(let id, let end):
            try move(id, "expires_at = ?, deadline = ?", [Field(end.expiresAt), end.deadlineField])
            try note(.takenBack, id, by: nil, detail: "until \(end.expiresAt)")
        case .shortened(let id, let deadline):
            try move(id, "deadline = ?", [.integer(deadline.milliseconds)])
            try note(.shortened, id, by: nil, detail: "the clock was set forward")
        case .carriedOver(let id, let deadline):
            try move(id, "deadline = ?", [.integer(deadline.milliseconds)])
        case .used(let id, let use, let isFinal):
            try db.run(
                Schema.insertUse,
                [
                    .integer(try id.row()), Field(use.traffic.packets), Field(use.traffic.bytes),
                    Field(use.firstAt), Field(use.lastAt), Field(use.counted.packets),
                    Field(use.counted.bytes), .integer(isFinal ? 0 : 1),
                ]
            )
        case .noted(let notice):
            try append(notice.kind, by: notice.by) { row in
                if let grant = notice.grant {
                    let requester = grant.requester
                    row.tell(of: grant.id, by: "\(requester.subject)", requester.name)
                }
                row.policy = notice.policy
                row.port = notice.port
                row.host = notice.host?.description
                row.source = notice.source?.split(separator: " ").map(AuditRow.sourceText)
                    .joined(separator: " ")
                row.reason = notice.reason
                row.detail = notice.detail
            }
        }
    }

    private mutating func open(_ request: AccessRequest) throws {
        if let wait = request.wait {
            try endWait(of: request, wait)
        } else {
            try db.run(Schema.insertRequest, Schema.requestColumns.map { $0.field(request) })
        }
        for grant in request.grants {
            let port = grant.port.description
            let host = grant.host?.description
            let source = grant.source.description
            try db.run(
                Schema.insertLive,
                [
                    .integer(grant.id.row()), .text(grant.policy), .text(port),
                    Field(host), .text(source),
                    .text(grant.requester.subject.description), .text(grant.requester.name),
                    Field(grant.requester.via), Field(grant.startsAt), Field(grant.end.expiresAt),
                    grant.end.deadlineField, .integer(boot),
                ]
            )
            try append(.opened, by: request.requester) { row in
                (row.request, row.grant) = (String(request.id), grant.id.description)
                row.policy = grant.policy
                row.port = port
                row.host = host
                row.source = source
                row.reason = request.ask.reason
                row.ticket = request.ask.ticket
                row.outcome = GrantState.active.rawValue
                row.detail = "until \(grant.end.expiresAt)"
            }
        }
        marks.request = max(marks.request, request.id)
    }

    private mutating func end(
        _ id: Grant.ID,
        _ reason: EndReason,
        at endedAt: Timestamp,
        by actor: Person?,
        _ grounds: Grounds
    ) throws {
        let state = reason.state.rawValue
        try db.run(
            Schema.insertEnded,
            [.integer(try id.row()), .text(state), Field(endedAt), .text(reason.rawValue)]
        )
        guard db.changesCount == 1 else { throw LedgerError.notLive(id) }
        try note(.ended, id, by: actor, outcome: reason.state, detail: reason.rawValue, grounds)
        try db.run("DELETE FROM live WHERE id = ?", [.integer(try id.row())])
        try db.run(Schema.settleRequest, [.text(state), .integer(id.request)])
        if let reason = grounds.reason {
            try db.run(
                "UPDATE requests SET decision = ? WHERE id = ?",
                [.text(reason), .integer(id.request)]
            )
        }
    }

    /// Moves the end of a live grant, whose deadline is one of this boot from now on.
    private func move(_ id: Grant.ID, _ assignments: String, _ fields: [Field]) throws {
        try db.run(
            "UPDATE live SET \(assignments), boot = ? WHERE id = ?",
            fields + [.integer(boot), .integer(try id.row())]
        )
        guard db.changesCount == 1 else { throw LedgerError.notLive(id) }
    }

    /// Appends a row about a live grant.
    private mutating func note(
        _ kind: AuditKind,
        _ id: Grant.ID,
        by actor: Person?,
        outcome: GrantState = .active,
        detail: String,
        _ grounds: Grounds = Grounds()
    ) throws {
        let live = try db.run(
            "SELECT policy, port, host, source, subject, name FROM live WHERE id = ?",
            [.integer(try id.row())]
        )
        try append(kind, by: actor) { row in
            row.tell(of: id, by: live[4].text, live[5].text)
            (row.policy, row.port) = (live[0].text, live[1].text)
            (row.host, row.source) = (live[2].text, live[3].text)
            row.reason = grounds.reason
            row.ticket = grounds.ticket
            row.outcome = outcome.rawValue
            row.detail = detail
        }
    }

    mutating func append(
        _ kind: AuditKind,
        by actor: Person?,
        _ fill: (inout AuditRow) -> Void
    ) throws {
        marks.sequence += 1
        var row = AuditRow(sequence: marks.sequence, at: at, event: kind.rawValue, by: actor)
        fill(&row)
        row.hash = row.hash(after: marks.hash)
        marks.hash = row.hash
        try db.run(Schema.insertAudit, AuditRow.columns.map { $0.field(row) })
        try summarize(row)
    }

    private mutating func summarize(_ row: AuditRow) throws {
        let number = AuditBlock.number(of: row.sequence)
        if block.number != number { block = AuditBlock(number: number) }
        block.add(row)
        guard AuditBlock.isLast(row.sequence) else { return }
        try db.run(
            "INSERT OR REPLACE INTO audit_blocks VALUES (?, ?, ?, ?)",
            [.integer(number), Field(block.oldest), Field(block.newest), .bytes(block.bits)]
        )
    }
}

extension AuditRow {
    /// Names a grant, and its requester where that is not who did it.
    fileprivate mutating func tell(
        of grant: Grant.ID,
        by requester: String?,
        _ requesterName: String?
    ) {
        tell(of: grant.request, by: requester, requesterName)
        self.grant = grant.description
    }

    /// Names a request, and its requester where that is not who did it.
    mutating func tell(of request: Int64, by requester: String?, _ requesterName: String?) {
        self.request = String(request)
        guard requester != subject else { return }
        self.requester = requester
        self.requesterName = requesterName
    }
}

extension GrantEnd {
    fileprivate var deadlineField: Field { .integer(deadline.milliseconds) }
}

extension Grant.ID {
    /// The row in the tables `live` and `ended`.
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

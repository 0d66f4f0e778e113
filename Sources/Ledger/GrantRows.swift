internal import GRDB
internal import Policy

/// Reads grants, live and ended.
///
/// Ports, policies and people repeat from row to row: each text is read once and then shared.
struct GrantRows {
    private static let grantColumns = [
        "id", "policy", "port", "host", "source", "starts_at", "expires_at", "deadline",
    ]
    private static let count = grantColumns.count
    /// The columns of `live` that `liveGrant(from:)` takes.
    static let liveColumns = grantColumns + ["subject", "name", "via"]
    private static let useColumns = ["packets", "bytes", "first_at", "last_at"].map { "u." + $0 }
    /// How many columns `storedGrant(from:)` takes.
    static let storedCount = count + 3 + useColumns.count

    /// Those columns of the view `grants`, as `g`, and of `uses`, as `u`.
    static let storedColumns = list("deadline", "g.state, g.ended_at, g.end_reason")
    /// The same of the tables that the view is made of.
    static let columnsOfLive = list("deadline", "'active', NULL, NULL")
    static let columnsOfEnded = list(nil, "g.state, g.ended_at, g.end_reason")

    private static func list(_ deadline: String?, _ end: String) -> String {
        (grantColumns.dropLast().map { "g." + $0 } + [deadline.map { "g." + $0 } ?? "0", end]
            + useColumns).joined(separator: ", ")
    }

    /// Ends that are in force, and not in the tables yet.
    let owedEnds: Ledger.OwedEnds
    private var ports: [String: PortRange] = [:]
    private var policies: Set<String> = []
    private var subjects: [String: Subject] = [:]
    private var names: Set<String> = []

    init(owedEnds: Ledger.OwedEnds = [:]) { self.owedEnds = owedEnds }

    private mutating func grant(from row: Row, requester: Requester) throws -> Grant {
        let id = Grant.ID(row: try row.decode(atIndex: 0))
        do {
            return Grant(
                id: id,
                policy: policies.insert(try row.decode(atIndex: 1)).memberAfterInsert,
                port: try port(row.decode(atIndex: 2)),
                host: try host(row.decode(atIndex: 3)),
                source: try CIDR(parsing: row.decode(atIndex: 4)),
                requester: requester,
                startsAt: Timestamp(milliseconds: try row.decode(atIndex: 5)),
                end: GrantEnd(
                    expiresAt: Timestamp(milliseconds: try row.decode(atIndex: 6)),
                    deadline: BootTime(milliseconds: try row.decode(atIndex: 7))
                )
            )
        } catch let error as ParseError {
            throw Self.damaged(id, "\"\(error.value)\": \(error.message)")
        }
    }

    /// Reads a row of `liveColumns`.
    mutating func liveGrant(from row: Row) throws -> Grant {
        let text: String = try row.decode(atIndex: Self.count)
        if subjects[text] == nil {
            do {
                subjects[text] = try Subject(parsing: text)
            } catch {
                let id = Grant.ID(row: try row.decode(atIndex: 0))
                throw Self.damaged(id, "\"\(error.value)\": \(error.message)")
            }
        }
        let requester = Requester(
            subject: subjects[text] ?? .local(uid: .max),
            name: names.insert(try row.decode(atIndex: Self.count + 1)).memberAfterInsert,
            via: try row.decode(atIndex: Self.count + 2)
        )
        return try grant(from: row, requester: requester)
    }

    /// Reads a row of `storedColumns`.
    mutating func storedGrant(
        from row: Row,
        requester: Person,
        reason: String?
    ) throws -> StoredGrant {
        let grant = try grant(
            from: row,
            requester: Requester(
                subject: requester.subject,
                name: requester.name,
                via: requester.via
            )
        )
        let state: String = try row.decode(atIndex: Self.count)
        guard let state = GrantState(rawValue: state) else {
            throw Self.damaged(grant.id, "unknown state \"\(state)\"")
        }
        let use = try use(row)
        if state == .active, let end = owedEnds[grant.id] {
            return StoredGrant(
                grant: grant,
                requester: requester,
                reason: reason,
                state: end.reason.state,
                endedAt: end.at,
                endReason: end.reason,
                use: use
            )
        }
        let endedAt: Int64? = try row.decode(atIndex: Self.count + 1)
        let endReason: String? = try row.decode(atIndex: Self.count + 2)
        return StoredGrant(
            grant: grant,
            requester: requester,
            reason: reason,
            state: state,
            endedAt: endedAt.map(Timestamp.init(milliseconds:)),
            endReason: endReason.flatMap(EndReason.init(rawValue:)),
            use: use
        )
    }

    private func use(_ row: Row) throws -> GrantUse? {
        let fields = Array(try row.fields(Self.count + 3..<Self.storedCount))
        guard let packets = fields[0].integer, let bytes = fields[1].integer else { return nil }
        return GrantUse(
            traffic: Traffic(
                packets: UInt64(bitPattern: packets),
                bytes: UInt64(bitPattern: bytes)
            ),
            firstAt: fields[2].integer.map(Timestamp.init(milliseconds:)),
            lastAt: fields[3].integer.map(Timestamp.init(milliseconds:))
        )
    }

    private mutating func port(_ text: String) throws(ParseError) -> PortRange {
        if let port = ports[text] { return port }
        let port = try PortRange(parsing: text)
        ports[text] = port
        return port
    }

    private func host(_ text: String?) throws(ParseError) -> IPAddress? {
        guard let text else { return nil }
        return try IPAddress(parsing: text)
    }

    static func damaged(_ id: Grant.ID, _ what: String) -> LedgerError {
        LedgerError(
            .corrupt,
            "cannot read grant \(id) in the ledger: \(what); restore the ledger from a backup"
        )
    }
}

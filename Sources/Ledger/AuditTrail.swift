internal import GRDB
public import Policy
internal import Synchronization

extension Ledger {
    /// Events of the audit trail that meet a filter, newest first.
    public func audit(_ filter: AuditFilter) async throws(LedgerError) -> [AuditRow] {
        let scan = AuditScan(filter)
        let sequences = 1...max(1, (filter.before ?? .max) - 1)
        guard filter.before != 1 else { return [] }
        return try await reading { db in
            try scan.read(sequences, isNewestFirst: true, limit: filter.limit, db)
        }
    }

    /// All events of the audit trail that meet a filter, but for its page and limit, oldest first.
    ///
    /// - Parameters:
    ///   - filter: Which events.
    ///   - kinds: Events of these kinds are left out.
    ///   - after: The event before the first.
    ///   - isUnbroken: Whether it fails where events are pruned that it has not come to yet.
    /// - Returns: The events that are recorded by now.
    public func allAudit(
        _ filter: AuditFilter,
        without kinds: Set<AuditKind> = [],
        after: Int64 = 0,
        isUnbroken: Bool = false
    ) -> AuditExport {
        AuditExport(
            ledger: self,
            scan: AuditScan(filter, without: kinds),
            after: after,
            through: newestEvent,
            isUnbroken: isUnbroken
        )
    }

    /// The newest event's number and hash; 0 and 64 zeros where there is none.
    public var head: (sequence: Int64, hash: String) {
        books.withLock { ($0.marks.sequence, $0.marks.hash) }
    }

    /// The newest event's number; 0 where there is none.
    public var newestEvent: Int64 { books.withLock(\.marks.sequence) }
}

/// Events of the audit trail, some at a time: the next ones are read when they are asked for, and
/// nothing is held meanwhile.
public struct AuditExport: AsyncSequence, Sendable {
    /// Events that are read at once, of so many that are looked at.
    private static let most = 256
    private static let span: Int64 = 64 * AuditBlock.size

    fileprivate let ledger: Ledger
    fileprivate let scan: AuditScan
    fileprivate let after: Int64
    fileprivate let through: Int64
    fileprivate let isUnbroken: Bool

    /// Begins with the first event.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(export: self, through: through, position: after)
    }

    /// Reads on.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let export: AuditExport
        fileprivate var through: Int64
        private var hasBegun = false
        /// Up to which event all was read.
        public private(set) var position: Int64

        fileprivate init(export: AuditExport, through: Int64, position: Int64) {
            (self.export, self.through, self.position) = (export, through, position)
        }

        /// The next events, perhaps none; nil behind the last.
        public mutating func next() async throws -> [AuditRow]? {
            guard position < through else { return nil }
            let (export, position, isFirst) = (export, position, !hasBegun)
            let (rows, end) = try await export.ledger.reading { [through] db in
                var through = through
                if export.isUnbroken {
                    if isFirst {
                        // With the event that tells of the latest pruning, which came first.
                        let newest = try db.run("SELECT max(id) FROM audit").first?.integer
                        through = newest ?? through
                    } else {
                        try AuditExport.requireNothingPruned(after: position, db)
                    }
                }
                let end = Swift.min(through, position + span)
                let range = position + 1...end
                let rows = try export.scan.read(range, isNewestFirst: false, limit: most, db)
                return (rows, end: (of: through, here: end))
            }
            (hasBegun, through) = (true, end.of)
            self.position = rows.count == most ? rows.last?.sequence ?? end.here : end.here
            return rows
        }
    }

    /// What is left would not hang together with what was read.
    private static func requireNothingPruned(after position: Int64, _ db: Database) throws {
        let pruned = try db.run("SELECT sequence FROM audit_anchor").first?.integer ?? 0
        guard pruned > position else { return }
        throw LedgerError(
            .other,
            "cannot go on reading the audit trail: events up to \(pruned) were pruned meanwhile, "
                + "\(pruned - position) of them unread; ask again"
        )
    }
}

/// A search in the audit trail.
struct AuditScan: Sendable {
    private let conditions: String
    private let fields: [Field]
    /// What an event has that meets the filter: all of one of these.
    private let alternatives: [[UInt64]]
    private let since: Timestamp
    private let until: Timestamp
    /// Whether it is for all events.
    private let isForAll: Bool

    init(_ filter: AuditFilter, without kinds: Set<AuditKind> = []) {
        var conditions = ""
        var fields: [Field] = []
        var words: [AuditWord] = []
        func add(_ condition: String, _ values: Field...) {
            conditions += " AND " + condition
            fields += values
        }
        if !kinds.isEmpty {
            let marks = kinds.map { _ in "?" }.joined(separator: ", ")
            conditions += " AND event NOT IN (\(marks))"
            fields += kinds.map { .text($0.rawValue) }
        }
        if let since = filter.since { add("at >= ?", Field(since)) }
        if let until = filter.until { add("at < ?", Field(until)) }
        if let event = filter.event?.rawValue {
            add("event = ?", .text(event))
            words.append(AuditWord(.event, event))
        }
        if let policy = filter.policy {
            add("instr(' ' || policy || ' ', ?)", .text(" \(policy) "))
            words.append(AuditWord(.policy, policy))
        }
        if let source = filter.source.map(AuditRow.sourceText) {
            add("instr(' ' || source || ' ', ?)", .text(" \(source) "))
            words.append(AuditWord(.source, source))
        }
        if let user = filter.user {
            add("? IN (subject, name, requester, requester_name)", .text(user))
            words.append(AuditWord(.user, user))
        }
        if let subject = filter.scope.subject?.description {
            add("? IN (subject, requester)", .text(subject))
            words.append(AuditWord(.user, subject))
        }
        if let request = filter.request {
            add("request = ?", .integer(request))
            words.append(AuditWord(.request, "\(request)"))
        }
        if let policies = filter.scope.policies {
            let marks = policies.map { _ in "?" }.joined(separator: ", ")
            conditions += " AND policy IN (\(marks))"
            fields += policies.sorted().map(Field.text)
        }
        self.conditions = conditions
        self.fields = fields
        let choices = filter.scope.policies?.map { [AuditWord(.policy, $0)] } ?? [[]]
        alternatives = choices.map { [words] in AuditWord.hashes(of: words + $0) }
        since = filter.since ?? Timestamp(milliseconds: .min)
        until = filter.until ?? Timestamp(milliseconds: .max)
        isForAll = alternatives == [[]] && filter.since == nil && filter.until == nil
    }

    /// Reads events, of those with these numbers, block by block until there are enough.
    func read(
        _ sequences: ClosedRange<Int64>,
        isNewestFirst: Bool,
        limit: Int,
        _ db: Database
    ) throws -> [AuditRow] {
        var (low, high) = (sequences.lowerBound, sequences.upperBound)
        var rows: [AuditRow] = []
        let order = isNewestFirst ? "DESC" : "ASC"
        let sql = """
            SELECT \(AuditRow.columnNames) FROM audit
            WHERE id BETWEEN ? AND ?\(conditions) ORDER BY id \(order) LIMIT ?
            """
        func take(_ first: Int64, _ last: Int64) throws {
            guard first <= last, rows.count < limit else { return }
            let bounds = [Field.integer(first), .integer(last)]
            try db.each(sql, bounds + fields + [.integer(Int64(limit - rows.count))]) { row in
                rows.append(AuditRow(row))
                return true
            }
        }
        if !isForAll {
            try db.each(
                """
                SELECT id, CASE WHEN newest >= ? AND oldest < ? THEN words END FROM audit_blocks
                WHERE id BETWEEN ? AND ? ORDER BY id \(order)
                """,
                [
                    Field(since), Field(until), .integer(AuditBlock.number(of: low)),
                    .integer(AuditBlock.number(of: high)),
                ]
            ) { block in
                let own = AuditBlock.sequences(of: block[0].integer ?? 0)
                let mayHold =
                    block[1].bytes.map { bits in
                        alternatives.contains { AuditBlock.mayHold($0, bits) }
                    } ?? false
                // With what is before it and has no block yet.
                if isNewestFirst {
                    try take(mayHold ? max(low, own.lowerBound) : own.upperBound + 1, high)
                    high = own.lowerBound - 1
                } else {
                    try take(low, mayHold ? min(high, own.upperBound) : own.lowerBound - 1)
                    low = own.upperBound + 1
                }
                return rows.count < limit
            }
        }
        try take(low, high)
        return rows
    }
}

extension AuditRow {
    /// A source in the one form it has in the trail, or the word where it is none.
    static func sourceText(_ word: some StringProtocol) -> String {
        (try? CIDR(parsing: String(word)))?.description ?? String(word)
    }
}

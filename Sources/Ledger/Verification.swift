internal import GRDB
public import Policy
internal import Synchronization

extension Ledger {
    /// Goes through the whole audit trail, and says what in it is not as it was recorded.
    ///
    /// It holds up no commit: what is recorded meanwhile is looked at, too.
    ///
    /// - Parameter given: A hash that was the head once, as the journal has it; nil for none.
    /// - Returns: What it came to, faults included.
    /// - Throws: `LedgerError` where the ledger cannot be read; `gone` where its files were
    ///   deleted or replaced: what was read then is not what the next start will find.
    public func verify(head given: String? = nil) async throws(LedgerError) -> AuditVerification {
        let recorded = books.withLock(\.marks)
        var verifier = Verifier(recorded: recorded, given: given)
        var isAtEnd = false
        while !isAtEnd {
            (verifier, isAtEnd) = try await reading { [verifier] db in
                var verifier = verifier
                let isAtEnd = try verifier.takeBatch(from: db)
                return (verifier, isAtEnd)
            }
        }
        // All that is recorded by now was so before the last batch, or is not in it.
        try await writing({ [self] _ in try requireFiles() })
        return verifier.finish(newest: books.withLock(\.marks))
    }
}

/// Follows the chain of hashes from the first event on.
struct Verifier: Sendable {
    private static let batch = 1_000
    private static let mostFaults = 100

    /// The newest event when it began.
    private let recorded: Marks
    private let given: String?
    /// The event before the next one.
    private var sequence: Int64 = 0
    private var hash = AuditRow.firstHash
    /// What stands for the events that were pruned.
    private var anchor: (sequence: Int64, hash: String)?
    /// What the newest event of pruning says of it.
    private var pruned: String?
    private var events: Int64 = 0
    private var givenAt: Int64?
    private var faults: [AuditVerification.Fault] = []
    private var faultCount = 0

    init(recorded: Marks, given: String?) {
        self.recorded = recorded
        self.given = given
    }

    /// Takes the next events; answers whether there are no more.
    mutating func takeBatch(from db: Database) throws -> Bool {
        let held = try db.run("SELECT sequence, hash FROM audit_anchor")
        if let through = held.first?.integer, let hash = held.last?.text {
            anchor = (through, hash)
            if through > sequence { (sequence, self.hash) = (through, hash) }
            if hash == given { givenAt = through }
        }
        if events == 0,
            let early = try db.run(
                "SELECT max(id) FROM audit WHERE id <= ?",
                [.integer(sequence)]
            ).first?.integer
        {
            add(early, .added, "event \(early) comes before the first that was recorded")
        }
        var count = 0
        try db.each(
            """
            SELECT \(AuditRow.columnNames) FROM audit
            WHERE id > ? ORDER BY id LIMIT \(Self.batch)
            """,
            [.integer(sequence)]
        ) { row in
            take(AuditRow(row))
            count += 1
            return true
        }
        return count < Self.batch
    }

    private mutating func take(_ row: AuditRow) {
        if row.sequence > sequence + 1 {
            add(
                sequence + 1,
                .removed,
                "events \(sequence + 1) to \(row.sequence - 1) are missing"
            )
        } else if row.hash != row.hash(after: hash) {
            add(
                row.sequence,
                .changed,
                "event \(row.sequence) does not follow from the one before: it was changed, "
                    + "put there or moved"
            )
        }
        if row.sequence == recorded.sequence, row.hash != recorded.hash {
            add(
                row.sequence,
                .truncated,
                "event \(row.sequence) is not the one that the agent recorded last"
            )
        }
        if row.hash == given { givenAt = row.sequence }
        if row.event == AuditKind.auditPruned.rawValue { pruned = row.detail }
        (sequence, hash) = (row.sequence, row.hash)
        events += 1
    }

    /// What it came to.
    ///
    /// - Parameter newest: The newest event that was recorded until now.
    /// - Returns: The whole of it.
    func finish(newest: Marks) -> AuditVerification {
        var verifier = self
        if sequence < recorded.sequence {
            verifier.add(
                sequence + 1,
                .truncated,
                "events \(sequence + 1) to \(recorded.sequence) are missing at the end"
            )
        }
        if sequence > newest.sequence {
            verifier.add(
                newest.sequence + 1,
                .added,
                "events \(newest.sequence + 1) to \(sequence) were never recorded"
            )
        }
        let shouldSay = anchor.map { Ledger.pruned(through: $0.sequence, hash: $0.hash) }
        if pruned != shouldSay {
            verifier.add(
                anchor?.sequence ?? 0,
                .anchor,
                "the trail begins behind event \(anchor?.sequence ?? 0), but no event tells that "
                    + "those before it were pruned, or tells of others"
            )
        }
        if let given, givenAt == nil {
            verifier.add(
                sequence,
                .unknownHead,
                "no event has the hash \(printable(given)): events at the end are missing, or "
                    + "the trail was written anew"
            )
        }
        return AuditVerification(
            events: events,
            last: sequence,
            head: hash,
            prunedThrough: anchor?.sequence,
            given: givenAt,
            faultCount: verifier.faultCount,
            faults: verifier.faults
        )
    }

    private mutating func add(
        _ sequence: Int64,
        _ code: AuditVerification.Fault.Code,
        _ message: String
    ) {
        faultCount += 1
        guard faults.count < Self.mostFaults else { return }
        faults.append(AuditVerification.Fault(sequence: sequence, code: code, message: message))
    }
}

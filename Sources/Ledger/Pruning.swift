internal import GRDB
public import Policy

extension Ledger {
    /// Takes away the oldest block of events, where all of it is older than a moment.
    ///
    /// An event tells of it, with the hash of the last one that is gone: there the chain goes on
    /// from, and by it is known that no more is gone. One block takes a millisecond or two; whoever
    /// has more to prune lets others write in between.
    ///
    /// - Parameters:
    ///   - moment: What is older may go.
    ///   - now: The time of the event.
    /// - Returns: Whether there was one.
    /// - Throws: `LedgerError`; then nothing is gone.
    public func prune(before moment: Timestamp, at now: Timestamp) async throws(LedgerError) -> Bool
    {
        let found = try await reading { db in
            try db.run("SELECT id, newest FROM audit_blocks ORDER BY id LIMIT 1").map(\.integer)
        }
        guard found.count == 2, let block = found[0], let newest = found[1],
            newest < moment.milliseconds
        else { return false }
        try await writing({ [self] db in
            try transact(at: now, db) { writer in try writer.prune(block: block) }
        })
        return true
    }

    /// What an event says of pruning; the verifier in docs/audit.md reads it.
    static func pruned(through sequence: Int64, hash: String) -> String {
        "up to \(sequence), hash \(hash)"
    }
}

extension EventWriter {
    fileprivate mutating func prune(block: Int64) throws {
        let last = AuditBlock.sequences(of: block).upperBound
        let hash = try db.run("SELECT hash FROM audit WHERE id = ?", [.integer(last)]).first?.text
        guard let hash else {
            throw LedgerError(
                .corrupt,
                "cannot prune the audit trail: event \(last) is missing; "
                    + "`sallyport log verify` says what else is"
            )
        }
        try db.run("DELETE FROM audit WHERE id <= ?", [.integer(last)])
        try db.run("DELETE FROM audit_blocks WHERE id <= ?", [.integer(block)])
        try db.run(
            "INSERT OR REPLACE INTO audit_anchor VALUES (1, ?, ?)",
            [.integer(last), .text(hash)]
        )
        try append(.auditPruned, by: nil) { row in
            row.detail = Ledger.pruned(through: last, hash: hash)
        }
    }
}

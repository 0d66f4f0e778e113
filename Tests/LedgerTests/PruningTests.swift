import GRDB
import Policy
import Testing
import TestSupport

@testable import Ledger

/// Retention: what is pruned of the audit trail, and what is left.
@Suite(.blocking) struct PruningTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A thousand events an hour, numbered by their policies.
    private func fill(_ ledger: Ledger, hours: Int) throws {
        for hour in 0..<hours {
            try ledger.commitBlocking(
                (0..<1_024).map { .noted(Notice(.refused, policy: "p\(hour * 1_024 + $0 + 1)")) },
                at: minutes(60 * hour)
            )
        }
    }

    @Test func takesAwayWholeBlocksThatAreOlder() async throws {
        let ledger = try folder.open()
        try fill(ledger, hours: 3)
        let now = minutes(600)
        #expect(try await !ledger.prune(before: minutes(0), at: now))
        #expect(try await ledger.prune(before: minutes(61), at: now))
        #expect(try await ledger.prune(before: minutes(61), at: now))
        #expect(try await !ledger.prune(before: minutes(61), at: now))
        let found = try await ledger.verify()
        #expect(found.intact, "\(found.faults)")
        #expect(found.prunedThrough == 2_048 && found.events == 1_026 && found.last == 3_074)
        #expect(try await ledger.audit(AuditFilter(policy: "p2048")).isEmpty)
        #expect(try await ledger.audit(AuditFilter(policy: "p2049")).count == 1)
        let told = try await ledger.audit(AuditFilter(event: .auditPruned))
        #expect(told.map(\.at) == [now, now])
        #expect(told.first?.detail?.hasPrefix("up to 2048, hash ") == true)
    }

    /// What was begun before is whole or fails: no export has a gap that looks like a forgery.
    @Test func anExportIsWholeOrFails() async throws {
        let ledger = try folder.open()
        try fill(ledger, hours: 2)
        let now = minutes(600)
        var early = ledger.allAudit(AuditFilter(), isUnbroken: true).makeAsyncIterator()
        let late = ledger.allAudit(AuditFilter(), isUnbroken: true)
        #expect(try await early.next()?.last?.sequence == 256)
        #expect(try await ledger.prune(before: minutes(61), at: now))
        await #expect(throws: LedgerError.self) { try await early.next() }
        // It was asked for before, and begins after.
        var rows: [AuditRow] = []
        for try await some in late { rows += some }
        #expect(rows.first?.sequence == 1_025 && rows.last?.event == "audit-pruned")
        // What it has read already may go.
        var reading = ledger.allAudit(AuditFilter(), isUnbroken: true).makeAsyncIterator()
        for _ in 0..<4 { _ = try await reading.next() }
        #expect(reading.position == 2_048)
        #expect(try await ledger.prune(before: minutes(61), at: now))
        #expect(try await reading.next()?.last?.sequence == 2_049)
    }

    /// What is not of a full block stays, whatever its age.
    @Test func neverTakesAllThereIs() async throws {
        let ledger = try folder.open()
        try ledger.commitBlocking([.noted(Notice(.started))], at: noon)
        #expect(try await !ledger.prune(before: minutes(9_999), at: minutes(9_999)))
    }

    @Test func goesOnAfterARestart() async throws {
        try fill(folder.open(), hours: 2)
        #expect(try await folder.open().prune(before: minutes(30), at: minutes(99)))
        let ledger = try folder.open()
        #expect(try ledger.recover().lost == nil)
        try fill(ledger, hours: 1)
        let found = try await ledger.verify()
        #expect(found.intact && found.prunedThrough == 1_024 && found.last == 3_073)
        #expect(try await ledger.audit(AuditFilter(policy: "p1024")).count == 1)
    }

    /// A crash takes back what was noted beside the ledger, to an event that was pruned since.
    @Test func aStartKnowsThePrunedEventThatWasNotedLast() async throws {
        let reserve = folder.state + "/ledger.reserve"
        do {
            let ledger = try folder.open()
            try fill(ledger, hours: 1)
            try shell(["cp", reserve, folder.path + "/before"]).get()
            #expect(try await ledger.prune(before: minutes(30), at: minutes(99)))
        }
        try shell(["cp", folder.path + "/before", reserve]).get()
        #expect(try folder.open().recover().replaced == nil)
    }

    @Test(arguments: [
        "DELETE FROM audit WHERE id = 1025",
        """
        UPDATE audit_anchor SET sequence = 1030,
            hash = (SELECT hash FROM audit WHERE id = 1030);
        DELETE FROM audit WHERE id <= 1030
        """,
        "DELETE FROM audit_anchor",
    ])
    func findsThatMoreWasTakenAway(change: String) async throws {
        let ledger = try folder.open()
        try fill(ledger, hours: 2)
        _ = try await ledger.prune(before: minutes(30), at: minutes(99))
        try await ledger.pool.write { try $0.execute(sql: change) }
        #expect(try await !ledger.verify().intact)
    }

    /// Somebody takes the beginning away and says that it was pruned.
    @Test func findsAnAnchorOfItsOwn() async throws {
        let ledger = try folder.open()
        try fill(ledger, hours: 1)
        try await ledger.pool.write {
            try $0.execute(
                sql: """
                    INSERT INTO audit_anchor SELECT 1, id, hash FROM audit WHERE id = 7;
                    DELETE FROM audit WHERE id <= 7;
                    """
            )
        }
        #expect(try await ledger.verify().faults.map(\.code) == [.anchor])
    }
}

import GRDB
import Policy
import Testing
import TestSupport

@testable import Ledger

/// The chain of hashes in the audit trail.
@Suite(.blocking) struct ChainTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Some events of all kinds, by people of all kinds.
    private func fill(_ ledger: Ledger, requests: ClosedRange<Int64> = 1...12) throws {
        let people = try people()
        for number in requests {
            let person = people[Int(number) % people.count]
            try ledger.commitBlocking(
                [.opened(request(number, policies: ["ssh", "rdp"], by: person))],
                at: minutes(Int(number))
            )
            try ledger.commitBlocking(
                [
                    .ended(id("\(number).1"), .closedByAdmin, at: noon, by: bob),
                    .noted(
                        Notice(
                            .refused,
                            by: person,
                            reason: "\u{1}\u{8}\t\n\u{C}\r\"\\/\u{7F}é\u{2028}\u{1F6AA}",
                            detail: ""
                        )
                    ),
                ],
                at: minutes(Int(number))
            )
        }
    }

    private func change(_ sql: String) throws {
        let queue = try DatabaseQueue(path: folder.file)
        try queue.write { try $0.execute(sql: sql) }
        try queue.close()
    }

    private func text(_ sql: String) throws -> [String] {
        let queue = try DatabaseQueue(path: folder.file)
        return try queue.read { try String.fetchAll($0, sql: sql) }
    }

    @Test func anUnchangedTrailIsIntact() async throws {
        let ledger = try folder.open()
        var found = try await ledger.verify()
        #expect(found.intact && found.events == 0 && found.last == 0)
        #expect(found.head == AuditRow.firstHash)
        try fill(ledger)
        found = try await ledger.verify()
        #expect(found.intact, "\(found.faults)")
        #expect(found.events == 48 && found.last == 48)
        #expect(try [found.head] == text("SELECT hash FROM audit WHERE id = 48"))
    }

    @Test func goesOnAfterARestart() async throws {
        try fill(folder.open(), requests: 1...3)
        let ledger = try folder.open()
        #expect(try ledger.recover().replaced == nil)
        try fill(ledger, requests: 4...6)
        #expect(try await ledger.verify().intact)
    }

    @Test func eachHashFollowsFromTheOneBefore() throws {
        var row = AuditRow(
            sequence: 7,
            at: noon,
            event: "opened",
            by: Person(subject: .local(uid: 1000), name: "al\"ice", origin: alice.origin)
        )
        row.reason = "a\u{1F}b\n"
        #expect(
            String(decoding: row.canonicalForm, as: UTF8.self)
                == #"{"at":"2026-02-02T02:40:00Z","event":"opened","name":"al\"ice","pid":4242,"#
                + #""reason":"a\u001fb\n","sequence":7,"subject":"unix:1000","uid":1000}"#
        )
        // printf '%064d\n%s' 0 '{"at":…}' | sha256sum
        #expect(
            row.hash(after: AuditRow.firstHash)
                == "efc2085906cff4219ceac40e56ff1318677005437a37e91a57b96a40bb69b3e0"
        )
    }

    @Test(arguments: [
        ("UPDATE audit SET reason = 'other' WHERE id = 5", "changed 5"),
        ("UPDATE audit SET at = at + 1 WHERE id = 1", "changed 1"),
        ("UPDATE audit SET detail = NULL WHERE id = 4", "changed 4"),
        ("UPDATE audit SET name = 'bob', subject = 'unix:1001' WHERE id = 5", "changed 5"),
        ("DELETE FROM audit WHERE id = 5", "removed 5"),
        ("DELETE FROM audit WHERE id < 5", "removed 1"),
        ("DELETE FROM audit WHERE id IN (5, 6)", "removed 5"),
        ("DELETE FROM audit WHERE id > 45", "truncated 46"),
        ("DELETE FROM audit", "truncated 1"),
        (
            """
            UPDATE audit SET id = -1 WHERE id = 5; UPDATE audit SET id = 5 WHERE id = 6;
            UPDATE audit SET id = 6 WHERE id = -1
            """,
            "changed 5, changed 6, changed 7"
        ),
        (
            "INSERT INTO audit (id, at, event, hash) VALUES (49, 0, 'x', 'y')",
            "changed 49, added 49"
        ),
        ("INSERT INTO audit (id, at, event, hash) VALUES (0, 0, 'x', 'y')", "added 0"),
        ("UPDATE audit SET id = id + 1000 WHERE id > 20", "removed 21"),
    ])
    func findsWhatWasDone(to trail: String, fault: String) async throws {
        let ledger = try folder.open()
        try fill(ledger)
        try change(trail)
        let found = try await ledger.verify()
        #expect(!found.intact)
        let faults = found.faults.map { "\($0.code.rawValue) \($0.sequence)" }
        #expect(faults.joined(separator: ", ").hasPrefix(fault), "\(faults)")
    }

    /// Somebody who changes the trail and makes all hashes anew.
    @Test func findsATrailThatWasWrittenAnew() async throws {
        let ledger = try folder.open()
        try fill(ledger)
        let heads = try text("SELECT hash FROM audit ORDER BY id")
        let queue = try DatabaseQueue(path: folder.file)
        try await queue.write { db in
            var hash = AuditRow.firstHash
            var rows: [AuditRow] = []
            try db.each("SELECT \(AuditRow.columnNames) FROM audit ORDER BY id") {
                rows.append(AuditRow($0))
                return true
            }
            for var row in rows {
                if row.sequence == 20 { row.detail = "nothing happened" }
                row.hash = row.hash(after: hash)
                hash = row.hash
                try db.run(
                    "UPDATE audit SET detail = ?, hash = ? WHERE id = ?",
                    [Field(row.detail), .text(hash), .integer(row.sequence)]
                )
            }
        }
        let found = try await ledger.verify()
        #expect(found.faults.map(\.code) == [.truncated])
        // A new agent knows it from what the last one noted beside the ledger; and who has an older
        // head finds it whatever was done to the machine.
        let given = try await ledger.verify(head: heads[30])
        #expect(given.faults.map(\.code) == [.truncated, .unknownHead])
        let before = try await ledger.verify(head: heads[18])
        #expect(before.given == 19)
    }

    @Test(
        arguments: [
            ("DELETE FROM audit WHERE id > 45", 46...48, nil, [46]),
            ("UPDATE audit SET hash = 'x' WHERE id = 48", nil, 48, [48, 49]),
            ("UPDATE audit SET hash = 'x' WHERE id = 47", nil, nil, [47, 48]),
        ] as [(String, ClosedRange<Int64>?, Int64?, [Int64])]
    )
    func aStartFindsAnotherHead(
        change: String,
        lost: ClosedRange<Int64>?,
        replaced: Int64?,
        faults: [Int64]
    ) async throws {
        try fill(folder.open())
        try self.change(change)
        let ledger = try folder.open()
        let recovered = try ledger.recover()
        #expect(recovered.lost == lost)
        #expect(recovered.replaced == replaced)
        // The chain goes on where it was, so that the gap stays one.
        try ledger.commitBlocking([.noted(Notice(.ledgerRowsLost))], at: noon)
        let found = try await ledger.verify()
        #expect(found.last == 49)
        // What follows was recorded behind what was there, and not behind what somebody put there.
        #expect(found.faults.map(\.sequence) == faults)
    }

    /// Whatever one byte, row or place is changed, it is found.
    @Test(arguments: 0..<24 as Range<UInt64>)
    func findsAnyChange(seed: UInt64) async throws {
        var generator = Generator(seed: seed)
        let ledger = try folder.open()
        try fill(ledger, requests: 1...Int64(generator.int(1...10)))
        let last = try await ledger.verify().last
        let row = Int64(generator.int(1...Int(last)))
        let other = Int64(generator.int(1...Int(last)))
        switch generator.int(0...3) {
        case 0: try change("DELETE FROM audit WHERE id = \(row)")
        case 1 where row != other:
            try change(
                """
                UPDATE audit SET id = -\(row) WHERE id = \(row);
                UPDATE audit SET id = \(row) WHERE id = \(other);
                UPDATE audit SET id = \(other) WHERE id = -\(row);
                """
            )
        case 2:
            try change(
                """
                UPDATE audit SET id = -id - 1 WHERE id >= \(row);
                UPDATE audit SET id = -id WHERE id < 0;
                INSERT INTO audit SELECT \(row), \
                \(AuditRow.columns.dropFirst().map(\.name).joined(separator: ", "))
                FROM audit WHERE id = \(other > row ? other + 1 : row + 1);
                """
            )
        default:
            // A column that the row has; one letter or digit of it.
            let names = AuditRow.columns.dropFirst().map(\.name)
            let filled = try names.filter {
                try !text("SELECT \($0) FROM audit WHERE id = \(row) AND length(\($0)) > 0").isEmpty
            }
            let column = filled[generator.int(0...filled.count - 1)]
            let isNumber = ["at", "pid", "request", "ordinal"].contains(column)
            let value =
                isNumber ? "\(column) + 1" : "replace(\(column), substr(\(column), 1, 1), '#')"
            try change("UPDATE audit SET \(column) = \(value) WHERE id = \(row)")
        }
        let found = try await ledger.verify()
        #expect(!found.intact)
        // It is told where: the event itself, or the one that follows.
        #expect(found.faults.contains { [row, row + 1, other, last].contains($0.sequence) })
    }
}

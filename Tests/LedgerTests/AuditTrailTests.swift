import GRDB
import Policy
import Testing
import TestSupport

@testable import Ledger

/// Searching the audit trail.
@Suite(.blocking) struct AuditTrailTests {
    let folder: TemporaryFolder
    let ledger: Ledger

    init() throws {
        folder = try TemporaryFolder()
        ledger = try folder.open()
    }

    /// Fills some blocks and a part of one with events about few people, policies and sources.
    private func fill(_ ledger: Ledger, from first: Int64 = 1, seed: UInt64 = 1) throws {
        var generator = Generator(seed: seed)
        let people = try people()
        let kinds: [AuditKind] = [.refused, .breakGlassUsed, .gateTampered]
        var events: [Event] = []
        for number in first...first + 1_200 {
            let person = people[generator.int(0...people.count - 1)]
            let policy = ["ssh", "rdp", "winrm", "db"][generator.int(0...3)]
            events.append(.opened(try request(number, policies: [policy], by: person)))
            if generator.int(0...1) == 0 {
                events.append(.ended(try id("\(number).1"), .closedByAdmin, at: noon, by: bob))
            }
            let source = ["192.0.2.\(generator.int(0...200))", "::/0"][generator.int(0...1)]
            events.append(
                .noted(
                    Notice(
                        kinds[generator.int(0...2)],
                        by: person,
                        policy: ["ssh winrm", "db", nil][generator.int(0...2)],
                        source: source + " 10.0.0.0/8"
                    )
                )
            )
            if number % 20 == 0 {
                try ledger.commitBlocking(events, at: minutes(Int(number)))
                events = []
            }
        }
        try ledger.commitBlocking(events, at: minutes(Int(first) + 1_200))
    }

    private func rows() throws -> [AuditRow] {
        try ledger.pool.read { db in
            var rows: [AuditRow] = []
            try db.each("SELECT \(AuditRow.columnNames) FROM audit ORDER BY id") {
                rows.append(AuditRow($0))
                return true
            }
            return rows
        }
    }

    /// What a filter means, said in another way.
    private func meets(_ filter: AuditFilter, _ row: AuditRow) -> Bool {
        func has(_ texts: String?, _ word: String?) -> Bool {
            word.map { word in texts?.split(separator: " ").contains { $0 == word } ?? false }
                ?? true
        }
        let people = [row.subject, row.name, row.requester, row.requesterName]
        return row.at >= filter.since ?? row.at && filter.until.map { row.at < $0 } ?? true
            && has(row.policy, filter.policy) && has(row.source, filter.source)
            && filter.user.map(people.contains) ?? true
            && row.event == filter.event?.rawValue ?? row.event
            && filter.request.map { row.request == "\($0)" } ?? true
            && row.sequence < filter.before ?? .max && filter.scope.includes(row)
    }

    /// Whatever is looked for, blocks are left out only where it is not.
    @Test(arguments: 0..<2 as Range<UInt64>)
    func findsWhatMeetsAFilterAndNothingElse(seed: UInt64) async throws {
        try fill(ledger, seed: seed)
        let rows = try rows()
        let blocks = try await ledger.pool.read {
            try Int.fetchOne($0, sql: "SELECT count(*) FROM audit_blocks") ?? 0
        }
        #expect(blocks == rows.count / 1_024 && blocks > 1)
        var generator = Generator(seed: seed + 100)
        var found = 0
        for _ in 0..<24 {
            func perhaps<Value>(_ values: [Value]) -> Value? {
                generator.int(0...2) == 0 ? values[generator.int(0...values.count - 1)] : nil
            }
            var filter = AuditFilter(limit: generator.int(1...200))
            filter.since = perhaps([minutes(0), minutes(500), minutes(1_180), minutes(9_999)])
            filter.until = perhaps([minutes(40), minutes(700), minutes(1_201)])
            filter.policy = perhaps(["ssh", "winrm", "db", "d"])
            filter.user = perhaps(["alice", "unix:1001", "bob", "oidc:corp:248289761001", "nobody"])
            filter.event = perhaps([.opened, .ended, .refused, .gateTampered, .started])
            filter.source = perhaps(["192.0.2.7/32", "::/0", "10.0.0.0/8", "2001:db8::/64"])
            filter.request = perhaps([1, 700, 1_201, 5_000])
            filter.before = perhaps([1, 2, 1_025, 3_000])
            filter.scope.subject = perhaps([alice.subject, bob.subject])
            filter.scope.policies = perhaps([["ssh", "db"], ["winrm"]])
            let expected = rows.filter { meets(filter, $0) }
            found += expected.count
            #expect(
                try await ledger.audit(filter)
                    == expected.reversed().prefix(filter.limit).map(\.self),
                "\(filter)"
            )
            filter.before = nil
            var all: [AuditRow] = []
            for try await part in ledger.allAudit(filter) { all += part }
            #expect(all == rows.filter { meets(filter, $0) }, "\(filter)")
        }
        // Otherwise nothing was compared.
        #expect(found > 50)
    }

    @Test func takesASourceInAnyForm() async throws {
        try ledger.commitBlocking(
            [.noted(Notice(.refused, by: bob, source: "192.0.2.7 2001:DB8:0::1 somewhere"))],
            at: noon
        )
        for source in ["192.0.2.7", "192.0.2.7/32", "2001:db8::1", "somewhere"] {
            #expect(try await ledger.audit(AuditFilter(source: source)).count == 1, "\(source)")
        }
        #expect(try await ledger.audit(AuditFilter(source: "192.0.2.8")).isEmpty)
    }

    /// What is asked for and what may be seen can be the same word.
    @Test func whoSeesOnlyTheirOwnFindsItByTheirSubject() async throws {
        try ledger.commitBlocking(
            (1...1_100).map { _ in .noted(Notice(.refused, by: bob, policy: "ssh")) },
            at: noon
        )
        var filter = AuditFilter(limit: 2_000)
        filter.scope = AuditScope(subject: bob.subject, policies: ["rdp", "ssh"])
        for policy in [nil, "ssh"] {
            for user in [nil, "bob", bob.subject.description] {
                (filter.policy, filter.user) = (policy, user)
                #expect(try await ledger.audit(filter).count == 1_100, "\(filter)")
            }
        }
        filter.scope.policies = ["rdp"]
        #expect(try await ledger.audit(filter).isEmpty)
    }

    @Test func leavesOutBlocksThatCannotHoldWhatIsWanted() throws {
        var block = AuditBlock(number: 0)
        for number in 1...1_024 as ClosedRange<Int64> {
            var row = AuditRow(
                sequence: number,
                at: minutes(Int(number)),
                event: "opened",
                by: alice
            )
            (row.policy, row.source) = ("ssh", "192.0.\(number / 256).\(number % 256)/32")
            if number % 2 == 0 { (row.event, row.policy) = ("refused", "rdp") }
            row.request = "\(number)"
            block.add(row)
        }
        func mayHold(_ words: (AuditWord.Place, String)...) -> Bool {
            let hashes = AuditWord.hashes(of: words.map { AuditWord($0.0, $0.1) })
            return AuditBlock.mayHold(hashes, block.bits)
        }
        #expect(mayHold((.event, "opened"), (.policy, "ssh"), (.user, "alice"), (.request, "17")))
        // Both are there, but not in one event.
        #expect(!mayHold((.event, "refused"), (.policy, "ssh")))
        let missed = (2_000..<4_000).count { mayHold((.request, "\($0)")) }
        #expect(missed < 40)
        #expect(block.oldest == minutes(1) && block.newest == minutes(1_024))
    }

    /// What a start reads back of the block that is not full is what the run before had of it.
    @Test func aRestartLosesNoWord() async throws {
        let again = try TemporaryFolder()
        for numbers in [1...300, 301...1_025] {
            try again.open().commitBlocking(
                numbers.map { .noted(Notice(.refused, by: bob, policy: "p\($0)")) },
                at: noon
            )
        }
        let ledger = try again.open()
        for number in [1, 299, 300, 301, 1_024, 1_025] as [Int64] {
            let found = try await ledger.audit(AuditFilter(policy: "p\(number)"))
            #expect(found.map(\.sequence) == [number])
        }
    }
}

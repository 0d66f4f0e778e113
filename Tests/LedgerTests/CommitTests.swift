import GRDB
import Policy
import Testing
import TestSupport

@testable import Ledger

@Suite(.blocking) struct CommitTests {
    let folder: TemporaryFolder
    let ledger: Ledger

    init() throws {
        folder = try TemporaryFolder()
        ledger = try folder.open()
    }

    private func audit() throws -> [String] {
        try ledger.pool.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT printf('%s %s %s %s %s %s %s %s %s %s', (at - ?) / 60000, event,
                        coalesce(subject || ' ' || name || ' ' || pid, '-'),
                        coalesce(request || '.' || ordinal, '-'), coalesce(policy, '-'),
                        coalesce(port, '-'), coalesce(source, '-'),
                        coalesce(reason || ' ' || ticket, '-'), coalesce(outcome, '-'),
                        coalesce(detail, '-'))
                    FROM audit ORDER BY id
                    """,
                arguments: [noon.milliseconds]
            ).map { $0[0] }
        }
    }

    /// The host behind this machine is of the grant wherever it is written.
    @Test func keepsTheHostOfAGrant() async throws {
        var live = try request(7)
        live.grants[0].host = try IPAddress(parsing: "2001:db8:2::7")
        var ended = try request(8)
        ended.grants[0].host = try IPAddress(parsing: "2001:db8:2::8")
        try await ledger.commit([.opened(live), .opened(ended)], at: noon)
        try await ledger.commit([expired(ended.grants[0].id)], at: noon)
        #expect(try await ledger.request(7)?.grants.map(\.grant.host) == [live.grants[0].host])
        #expect(try await ledger.request(8)?.grants.map(\.grant.host) == [ended.grants[0].host])
        let rows = try await ledger.audit(AuditFilter())
        #expect(rows.map(\.host) == ["2001:db8:2::8", "2001:db8:2::8", "2001:db8:2::7"])
        #expect(try await ledger.request(7)?.grants.map(\.grant) == live.grants)
    }

    @Test(arguments: try people())
    func keepsEveryFieldOfARequest(person: Person) async throws {
        let request = try request(7, policies: ["ssh", "rdp"], by: person, key: "k")
        try await ledger.commit([.opened(request)], at: noon)
        let stored = try #require(try await ledger.request(7))
        #expect(stored.requester == person)
        #expect(stored.ask == request.ask)
        #expect(stored.state == .active)
        #expect(stored.createdAt == request.createdAt)
        #expect(stored.decidedAt == request.createdAt)
        #expect(stored.idempotencyKey == "k")
        #expect(stored.grants.map(\.grant) == request.grants)
        #expect(stored.grants.map(\.state) == [.active, .active])
        #expect(stored.grants.allSatisfy { $0.endedAt == nil && $0.endReason == nil })
        #expect(stored.grants.allSatisfy { $0.requester == person && $0.reason == "deploy" })
        #expect(try ledger.recover().live.map(\.grant) == request.grants)
        #expect(try await ledger.request(8) == nil)
    }

    @Test func keepsWhatWasAskedInOtherWords() async throws {
        var request = try request(1)
        request.ask = Ask(
            targets: ["22/tcp", "rdp"],
            sources: ["192.0.2.1", "2001:db8::/64"],
            until: "2026-12-01T17:00:00Z"
        )
        try await ledger.commit([.opened(request)], at: noon)
        #expect(try await ledger.request(1)?.ask == request.ask)
    }

    @Test func recordsHowAGrantEnds() async throws {
        try await ledger.commit([.opened(request(1, policies: ["ssh", "rdp"]))], at: noon)
        try await ledger.commit(
            [.ended(id("1.2"), .closedByAdmin, at: minutes(5), by: root)],
            at: minutes(6)
        )
        let grants = try #require(try await ledger.request(1)).grants
        #expect(grants.map(\.state) == [.active, .revoked])
        #expect(grants.map(\.endedAt) == [nil, minutes(5)])
        #expect(grants.map(\.endReason) == [nil, .closedByAdmin])
    }

    @Test func givesARequestTheStateOfTheGrantThatEndedLast() async throws {
        try await ledger.commit([.opened(request(1, policies: ["ssh", "rdp"]))], at: noon)
        let state = { try await ledger.request(1)?.state }
        try await ledger.commit([expired(id("1.2"))], at: noon)
        #expect(try await state() == .active)
        try await ledger.commit([.ended(id("1.1"), .closedByAdmin, at: noon, by: root)], at: noon)
        #expect(try await state() == .revoked)
    }

    @Test func recordsANewEnd() async throws {
        try await ledger.commit([.opened(request(1))], at: noon)
        let grant = { try #require(try await ledger.request(1)?.grants.first).grant }
        let (old, new) = (try await grant().end, end(minute: 90, deadline: 5_400_000))
        try await ledger.commit([.extended(id("1.1"), from: old, until: new, by: alice)], at: noon)
        #expect(try await grant().end == new)
        try await ledger.commit([.takenBack(id("1.1"), until: old)], at: noon)
        #expect(try await grant().end == old)
        let deadline = BootTime(milliseconds: 77)
        try await ledger.commit([.shortened(id("1.1"), deadline: deadline)], at: noon)
        #expect(try await grant().end == GrantEnd(expiresAt: old.expiresAt, deadline: deadline))
    }

    @Test func writesOneAuditRowForEachThingThatHappened() throws {
        try ledger.commitBlocking([.opened(request(1, policies: ["ssh", "rdp"]))], at: minutes(1))
        let (old, new) = (end(minute: 60, deadline: 1), end(minute: 90, deadline: 2))
        try ledger.commitBlocking(
            [
                .extended(id("1.1"), from: old, until: new, by: alice),
                .takenBack(id("1.1"), until: old),
                .shortened(id("1.1"), deadline: old.deadline),
                .carriedOver(id("1.1"), deadline: old.deadline),
                .ended(id("1.1"), .closedByRequester, at: minutes(2), by: alice),
                expired(id("1.2")),
                .noted(
                    Notice(.refused, by: bob, policy: "ssh", source: "::/0", detail: "too wide")
                ),
                .noted(Notice(.gateTampered)),
            ],
            at: minutes(3)
        )
        let (who, what) = ("unix:1000 alice 4242", "22/tcp 2001:db8::/64")
        #expect(
            try audit() == [
                "1 opened \(who) 1.1 ssh \(what) deploy OPS-1 active until \(minutes(60))",
                "1 opened \(who) 1.2 rdp \(what) deploy OPS-1 active until \(minutes(60))",
                "3 extended \(who) 1.1 ssh \(what) - active until \(minutes(90))",
                "3 extension-taken-back - 1.1 ssh \(what) - active until \(minutes(60))",
                "3 shortened - 1.1 ssh \(what) - active the clock was set forward",
                "3 ended \(who) 1.1 ssh \(what) - revoked closed-by-requester",
                "3 ended - 1.2 rdp \(what) - expired expired",
                "3 refused unix:1001 bob 4343 - ssh - ::/0 - - too wide",
                "3 gate-tampered - - - - - - - -",
            ]
        )
    }

    @Test func recordsAndEndsInOneGo() async throws {
        try await ledger.commit([.opened(request(1))], at: noon)
        try await ledger.commit(
            [
                .ended(id("1.1"), .newerRequest, at: noon, by: alice),
                .opened(request(2)),
                .ended(id("2.1"), .kernelRefused, at: noon, by: nil),
            ],
            at: noon
        )
        #expect(try await ledger.requests(LedgerFilter()).map(\.state) == [.failed, .superseded])
    }

    @Test(arguments: ["1.1", "1.2", "9.1"], [true, false])
    func changesNothingWhereAGrantIsNotLive(grant: String, extending: Bool) async throws {
        try await ledger.commit([.opened(request(1))], at: noon)
        try await ledger.commit(
            [expired(id("1.1"), at: noon)],
            at: noon
        )
        let rows = try audit()
        let newEnd = end(minute: 9, deadline: 9)
        let change: Event =
            extending
            ? .extended(try id(grant), from: newEnd, until: newEnd, by: alice)
            : .ended(try id(grant), .closedByAdmin, at: minutes(9), by: root)
        let error = await #expect(throws: LedgerError.self) {
            try await ledger.commit([.opened(request(2)), change], at: noon)
        }
        #expect(error?.code == .notLive)
        #expect(try error?.grant == id(grant))
        #expect(error?.message.contains("grant \(grant): it is not live") == true)
        #expect(try await ledger.request(2) == nil)
        #expect(try audit() == rows)
        try await ledger.commit([.opened(request(2))], at: noon)
    }

    @Test func refusesANumberTwice() throws {
        try ledger.commitBlocking([.opened(request(1))], at: noon)
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking([.opened(request(1))], at: noon)
        }
        #expect(error?.code == .duplicate)
    }

    @Test func refusesAKeyTwiceOfOneRequesterAlone() throws {
        try ledger.commitBlocking([.opened(request(1, key: "k"))], at: noon)
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking([.opened(request(2, key: "k"))], at: noon)
        }
        #expect(error?.code == .duplicate)
        try ledger.commitBlocking(
            [
                .opened(request(2, policies: ["rdp"], by: bob, key: "k")),
                .opened(request(3)), .opened(request(4)),
            ],
            at: noon
        )
        let found = { (uid: UInt32) in
            try ledger.keyedRequest(subject: .local(uid: uid), idempotencyKey: "k")
        }
        #expect(try found(1000) == KeyedRequest(id: 1, ask: request(1).ask))
        #expect(try found(1001) == KeyedRequest(id: 2, ask: request(2, policies: ["rdp"]).ask))
        #expect(try found(1002) == nil)
    }

    @Test(arguments: [Grant.ID(request: 1, ordinal: 0), Grant.ID(request: 1, ordinal: 10_000)])
    func refusesANumberThatHasNoRow(grant: Grant.ID) throws {
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking(
                [.ended(grant, .expired, at: noon, by: nil)],
                at: noon
            )
        }
        #expect(error?.code == .other)
        #expect(error?.message.contains("grant \(grant): its number is out of range") == true)
    }

    @Test func commitsThoughItsTaskIsCancelled() async throws {
        let task = Task { [ledger] in
            while !Task.isCancelled { await Task.yield() }
            try await ledger.commit([.opened(request(1))], at: noon)
        }
        task.cancel()
        try await task.value
        #expect(try await ledger.request(1) != nil)
    }

    @Test func saysThatTheDiskIsFullAndGoesOnOnceItIsNot() throws {
        func setLimit(_ pages: Int) throws {
            try ledger.pool.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA max_page_count = \(pages)")
            }
        }
        try setLimit(20)
        var recorded: Int64 = 0
        let error = #expect(throws: LedgerError.self) {
            while recorded < 10_000 {
                try ledger.commitBlocking([.opened(request(recorded + 1))], at: noon)
                recorded += 1
            }
        }
        #expect(error?.code == .full)
        #expect(error?.message.contains("no space is left") == true)
        #expect(try ledger.recover().nextRequestID == recorded + 1)
        try setLimit(1_000_000)
        try ledger.commitBlocking([.opened(request(recorded + 1))], at: noon)
    }

    @Test func saysThatTheLedgerMayNotBeWritten() throws {
        try ledger.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA query_only = 1") }
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking([.opened(request(1))], at: noon)
        }
        #expect(error?.code == .readOnly)
        #expect(error?.message.contains(folder.file) == true)
    }

    @Test func leavesReadersTheFileWhileItWrites() async throws {
        try ledger.commitBlocking([.opened(request(1))], at: noon)
        let auditor = try DatabaseQueue(path: folder.file)
        try await auditor.read { db in
            let count = { try Int.fetchOne(db, sql: "SELECT count(*) FROM requests") }
            #expect(try count() == 1)
            try ledger.commitBlocking([.opened(request(2))], at: noon)
            #expect(try count() == 1)
        }
        try ledger.checkpoint()
        #expect(try ledger.recover().nextRequestID == 3)
    }
}

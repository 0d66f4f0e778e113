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
                    SELECT printf('%s %s %s %s %s %s %s %s %s %s', (at - ?) / 60000, event, coalesce(user, '-'),
                        coalesce(uid, '-'), coalesce(pid, '-'), request || '.' || ordinal, policy,
                        port, source, coalesce(detail, '-'))
                    FROM audit ORDER BY id
                    """,
                arguments: [noon.milliseconds]
            ).map { $0[0] }
        }
    }

    @Test func keepsEveryFieldOfARequest() async throws {
        let request = try request(7, policies: ["ssh", "rdp"], key: "k")
        try await ledger.commit([.record(request)], at: noon)
        let stored = try #require(try await ledger.request(7))
        #expect(stored.requester == request.requester)
        #expect(stored.pid == request.pid)
        #expect(stored.reason == request.reason)
        #expect(stored.ticket == request.ticket)
        #expect(stored.createdAt == request.createdAt)
        #expect(stored.idempotencyKey == "k")
        #expect(stored.grants.map(\.grant) == request.grants)
        #expect(stored.grants.map(\.state) == [.active, .active])
        #expect(stored.grants.allSatisfy { $0.endedAt == nil && $0.endReason == nil })
        #expect(stored.grants.allSatisfy { $0.pid == request.pid && $0.reason == "deploy" })
        #expect(try await ledger.request(8) == nil)
    }

    @Test func recordsHowAGrantEnds() async throws {
        try await ledger.commit([.record(request(1, policies: ["ssh", "rdp"]))], at: noon)
        try await ledger.commit(
            [.end(id("1.2"), .revoked, .closedByAdmin, at: minutes(5), by: root)],
            at: minutes(6)
        )
        let grants = try #require(try await ledger.request(1)).grants
        #expect(grants.map(\.state) == [.active, .revoked])
        #expect(grants.map(\.endedAt) == [nil, minutes(5)])
        #expect(grants.map(\.endReason) == [nil, .closedByAdmin])
    }

    @Test func recordsANewEnd() async throws {
        try await ledger.commit([.record(request(1))], at: noon)
        try await ledger.commit(
            [.extend(id("1.1"), expiresAt: minutes(90), deadline: 5_400_000, by: alice)],
            at: minutes(1)
        )
        let grant = try #require(try await ledger.request(1)?.grants.first)
        #expect(grant.grant.expiresAt == minutes(90))
        #expect(grant.grant.deadline == 5_400_000)
        #expect(grant.state == .active)
    }

    @Test func writesOneAuditRowForEachGrantThatChanges() throws {
        try ledger.commitBlocking([.record(request(1, policies: ["ssh", "rdp"]))], at: minutes(1))
        try ledger.commitBlocking(
            [
                .extend(id("1.1"), expiresAt: minutes(90), deadline: 1, by: alice),
                .extend(id("1.1"), expiresAt: minutes(60), deadline: 0, by: nil),
                .end(id("1.1"), .revoked, .closedByRequester, at: minutes(2), by: alice),
                .end(id("1.2"), .expired, .expired, at: minutes(2), by: nil),
            ],
            at: minutes(3)
        )
        let what = "22/tcp 2001:db8::/64"
        #expect(
            try audit() == [
                "1 opened alice 1000 4242 1.1 ssh \(what) -",
                "1 opened alice 1000 4242 1.2 rdp \(what) -",
                "3 extended alice 1000 4242 1.1 ssh \(what) \(minutes(90))",
                "3 extended - - - 1.1 ssh \(what) \(minutes(60))",
                "3 revoked alice 1000 4242 1.1 ssh \(what) closed-by-requester",
                "3 expired - - - 1.2 rdp \(what) expired",
            ]
        )
    }

    @Test func recordsAndEndsInOneGo() async throws {
        try await ledger.commit([.record(request(1))], at: noon)
        try await ledger.commit(
            [
                .end(id("1.1"), .superseded, .newerRequest, at: noon, by: alice),
                .record(request(2)),
                .end(id("2.1"), .failed, .kernelRefused, at: noon, by: nil),
            ],
            at: noon
        )
        #expect(try await ledger.requests(LedgerFilter()).map(\.state) == [.failed, .superseded])
    }

    @Test(arguments: ["1.1", "1.2", "9.1"], [true, false])
    func changesNothingWhereAGrantIsNotLive(grant: String, extending: Bool) async throws {
        try await ledger.commit([.record(request(1))], at: noon)
        try await ledger.commit(
            [.end(id("1.1"), .expired, .expired, at: noon, by: nil)],
            at: noon
        )
        let rows = try audit()
        let change: LedgerChange =
            extending
            ? .extend(try id(grant), expiresAt: minutes(9), deadline: 9, by: alice)
            : .end(try id(grant), .revoked, .closedByAdmin, at: minutes(9), by: root)
        let error = await #expect(throws: LedgerError.self) {
            try await ledger.commit([.record(request(2)), change], at: noon)
        }
        #expect(error?.code == .notLive)
        #expect(try error?.grant == id(grant))
        #expect(error?.message.contains("grant \(grant): it is not live") == true)
        #expect(try await ledger.request(2) == nil)
        #expect(try audit() == rows)
        try await ledger.commit([.record(request(2))], at: noon)
    }

    @Test func refusesANumberTwice() throws {
        try ledger.commitBlocking([.record(request(1))], at: noon)
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking([.record(request(1))], at: noon)
        }
        #expect(error?.code == .duplicate)
    }

    @Test func refusesAKeyTwiceOfOneRequesterAlone() throws {
        try ledger.commitBlocking([.record(request(1, key: "k"), ask: "22/tcp")], at: noon)
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking([.record(request(2, key: "k"))], at: noon)
        }
        #expect(error?.code == .duplicate)
        try ledger.commitBlocking(
            [
                .record(request(2, user: "bob", uid: 1001, key: "k"), ask: "3389/tcp"),
                .record(request(3)), .record(request(4)),
            ],
            at: noon
        )
        #expect(
            try ledger.keyedRequest(uid: 1000, idempotencyKey: "k")
                == KeyedRequest(id: 1, ask: "22/tcp")
        )
        #expect(
            try ledger.keyedRequest(uid: 1001, idempotencyKey: "k")
                == KeyedRequest(id: 2, ask: "3389/tcp")
        )
        #expect(try ledger.keyedRequest(uid: 1002, idempotencyKey: "k") == nil)
    }

    @Test(arguments: [Grant.ID(request: 1, ordinal: 0), Grant.ID(request: 1, ordinal: 10_000)])
    func refusesANumberThatHasNoRow(grant: Grant.ID) throws {
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking(
                [.end(grant, .expired, .expired, at: noon, by: nil)],
                at: noon
            )
        }
        #expect(error?.code == .other)
        #expect(error?.message.contains("grant \(grant): its number is out of range") == true)
    }

    @Test func commitsThoughItsTaskIsCancelled() async throws {
        let task = Task { [ledger] in
            while !Task.isCancelled { await Task.yield() }
            try await ledger.commit([.record(request(1))], at: noon)
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
                try ledger.commitBlocking([.record(request(recorded + 1))], at: noon)
                recorded += 1
            }
        }
        #expect(error?.code == .full)
        #expect(error?.message.contains("no space is left") == true)
        #expect(try ledger.recover().nextRequestID == recorded + 1)
        try setLimit(1_000_000)
        try ledger.commitBlocking([.record(request(recorded + 1))], at: noon)
    }

    @Test func saysThatTheLedgerMayNotBeWritten() throws {
        try ledger.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA query_only = 1") }
        let error = #expect(throws: LedgerError.self) {
            try ledger.commitBlocking([.record(request(1))], at: noon)
        }
        #expect(error?.code == .readOnly)
        #expect(error?.message.contains(folder.file) == true)
    }

    @Test func leavesReadersTheFileWhileItWrites() async throws {
        try ledger.commitBlocking([.record(request(1))], at: noon)
        let auditor = try DatabaseQueue(path: folder.file)
        try await auditor.read { db in
            let count = { try Int.fetchOne(db, sql: "SELECT count(*) FROM requests") }
            #expect(try count() == 1)
            try ledger.commitBlocking([.record(request(2))], at: noon)
            #expect(try count() == 1)
        }
        try ledger.checkpoint()
        #expect(try ledger.recover().nextRequestID == 3)
    }
}

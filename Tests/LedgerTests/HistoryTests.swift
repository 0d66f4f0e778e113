import GRDB
import Glibc
import Linux
import Policy
import Synchronization
import Testing
import TestSupport

@testable import Ledger

@Suite(.blocking) struct HistoryTests {
    let folder: TemporaryFolder
    let ledger: Ledger

    /// 1 ssh alice expired, 2 ssh+rdp bob: one expired and then one revoked, 3 rdp alice live beside
    /// an ended one, 4 ssh alice refused by the kernel, 5 ssh bob live.
    init() throws {
        folder = try TemporaryFolder()
        ledger = try folder.open()
        try ledger.commitBlocking(
            [
                .opened(request(1, minute: 1)),
                .opened(request(2, policies: ["ssh", "rdp"], by: bob, minute: 2)),
                .opened(request(3, policies: ["rdp", "rdp"], minute: 3)),
                .opened(request(4, minute: 4)),
                .opened(request(5, by: bob, minute: 5)),
                expired(id("1.1"), at: minutes(61)),
                expired(id("2.2"), at: minutes(62)),
                .ended(id("2.1"), .closedByAdmin, at: minutes(63), by: root),
                .ended(id("3.2"), .closedByRequester, at: minutes(64), by: alice),
                .ended(id("4.1"), .kernelRefused, at: minutes(4), by: nil),
            ],
            at: minutes(70)
        )
    }

    @Test(
        arguments: [
            (LedgerFilter(), nil, [5, 4, 3, 2, 1]),
            (LedgerFilter(), .active, [5, 3]),
            (LedgerFilter(), .expired, [1]),
            (LedgerFilter(), .revoked, [2]),
            (LedgerFilter(), .failed, [4]),
            (LedgerFilter(), .superseded, []),
            (LedgerFilter(policy: "ssh"), nil, [5, 4, 2, 1]),
            (LedgerFilter(policy: "rdp"), nil, [3, 2]),
            (LedgerFilter(policy: "winrm"), nil, []),
            (LedgerFilter(policies: ["ssh", "winrm"]), nil, [5, 4, 1]),
            (LedgerFilter(policy: "ssh", policies: ["ssh", "rdp"]), .revoked, [2]),
            (LedgerFilter(policies: []), nil, []),
            (LedgerFilter(name: "bob"), nil, [5, 2]),
            (LedgerFilter(name: "1001"), nil, []),
            (LedgerFilter(subject: .local(uid: 1001)), nil, [5, 2]),
            (LedgerFilter(subject: .remote(issuer: "corp", id: "1001")), nil, []),
            (LedgerFilter(subject: .local(uid: 1001), name: "alice"), nil, []),
            (LedgerFilter(policy: "rdp", name: "alice"), .active, [3]),
            (LedgerFilter(policy: "ssh", name: "alice"), .active, []),
            (LedgerFilter(limit: 2), nil, [5, 4]),
            (LedgerFilter(before: 4, limit: 2), nil, [3, 2]),
            (LedgerFilter(name: "bob", before: 5), nil, [2]),
            (LedgerFilter(before: 1), nil, []),
        ] as [(LedgerFilter, RequestState?, [Int64])]
    )
    func findsRequests(
        filter: LedgerFilter,
        state: RequestState?,
        expected: [Int64]
    ) async throws {
        let found = try await ledger.requests(filter, state: state)
        #expect(found.map(\.id) == expected)
        #expect(found.allSatisfy { state == nil || $0.state == state })
    }

    @Test(
        arguments: [
            (LedgerFilter(), nil, ["5.1", "4.1", "3.2", "3.1", "2.2", "2.1", "1.1"]),
            (LedgerFilter(), .active, ["5.1", "3.1"]),
            (LedgerFilter(), .revoked, ["3.2", "2.1"]),
            (LedgerFilter(policy: "rdp"), nil, ["3.2", "3.1", "2.2"]),
            (LedgerFilter(policies: ["rdp"]), nil, ["3.2", "3.1", "2.2"]),
            (LedgerFilter(policies: []), nil, []),
            (LedgerFilter(name: "bob"), nil, ["5.1", "2.2", "2.1"]),
            (LedgerFilter(subject: .local(uid: 1001)), nil, ["5.1", "2.2", "2.1"]),
            (LedgerFilter(name: "bob"), .active, ["5.1"]),
            (LedgerFilter(before: 3, limit: 2), nil, ["2.2", "2.1"]),
            (LedgerFilter(before: .max, limit: 1), nil, ["5.1"]),
        ] as [(LedgerFilter, GrantState?, [String])]
    )
    func findsGrants(filter: LedgerFilter, state: GrantState?, expected: [String]) async throws {
        let found = try await ledger.grants(filter, state: state)
        #expect(found.map(\.id.description) == expected)
        #expect(found.allSatisfy { state == nil || $0.state == state })
    }

    /// A page must not be paid for with all there is.
    @Test(arguments: [nil, .active, .revoked] as [GrantState?])
    func readsNoMoreThanAPageOfGrants(state: GrantState?) throws {
        let filter = LedgerFilter(policies: ["ssh"], name: "bob", before: 9)
        let (sql, arguments) = try Ledger.query(filter, state: state)
        let plan = try ledger.pool.read { db in
            try Row.fetchAll(db, sql: "EXPLAIN QUERY PLAN " + sql, arguments: arguments)
                .map { $0["detail"] as String }
        }
        #expect(!plan.contains { $0.contains("TEMP B-TREE") || $0.contains("SCAN") }, "\(plan)")
    }

    @Test func readsOnlyTheGrantsOfARequest() async throws {
        let request = try #require(try await ledger.request(2))
        #expect(request.grants.map(\.id.description) == ["2.1", "2.2"])
        #expect(request.grants.map(\.grant.policy) == ["ssh", "rdp"])
        #expect(request.grants.map(\.endedAt) == [minutes(63), minutes(62)])
    }

    @Test func looksUpAKeyWhoeverElseReads() async throws {
        try ledger.commitBlocking([.opened(request(6, minute: 6, key: "k"))], at: minutes(71))
        let begun = Mutex(0)
        let mayEnd = Mutex(false)
        defer { mayEnd.withLock { $0 = true } }
        for _ in 0..<8 {
            ledger.pool.asyncRead { _ in
                begun.withLock { $0 += 1 }
                while !mayEnd.withLock(\.self) { usleep(1000) }
            }
        }
        #expect(try await eventually { begun.withLock(\.self) == 4 })
        let found = Mutex<Int64?>(nil)
        let ledger = ledger
        let thread = try OwnThread.start {
            let keyed = try? ledger.keyedRequest(subject: alice.subject, idempotencyKey: "k")
            found.withLock { $0 = keyed?.id }
        }
        #expect(try await eventually(within: .seconds(5)) { found.withLock(\.self) == 6 })
        mayEnd.withLock { $0 = true }
        thread.join()
    }

    @Test func countsWhatOpened() async throws {
        let figures = { (minute: Int) async throws -> [String] in
            // What comes later is not part of it, though it was not read yet.
            let past = try ledger.pastUsage(since: minutes(minute))
            try await ledger.commit([.opened(request(100, minute: 90))], at: minutes(90))
            try await ledger.commit([expired(id("100.1"))], at: minutes(91))
            try await ledger.pool.write { db in
                try db.execute(sql: "DELETE FROM ended WHERE id / 10000 = 100")
                try db.execute(sql: "DELETE FROM requests WHERE id = 100")
            }
            var usage = try await past.read()
            return ["rdp", "ssh"].map { policy in
                let all = usage.figures(of: policy, at: minutes(90))
                let bobs = usage.figures(of: policy, by: bob.subject, at: minutes(90))
                return "\(all?.requests ?? 0) \(all?.newest ?? 0) \(bobs?.requests ?? 0)"
            }
        }
        // Not 4, which the kernel refused.
        #expect(try await figures(0) == ["2 3 1", "3 5 2"])
        #expect(try await figures(2) == ["2 3 1", "2 5 2"])
        #expect(try await figures(3) == ["1 3 0", "1 5 1"])
        #expect(try await figures(4) == ["0 0 0", "1 5 1"])
        #expect(try await figures(6) == ["0 0 0", "0 0 0"])
    }

    @Test func countsByTimeThoughTheClockWentBack() async throws {
        try ledger.commitBlocking([.opened(request(6, minute: -1000))], at: minutes(71))
        try ledger.commitBlocking([.opened(request(7, minute: 6))], at: minutes(72))
        var usage = try await ledger.pastUsage(since: minutes(4)).read()
        let figures = usage.figures(of: "ssh", at: minutes(90))
        #expect(figures?.requests == 2)
        #expect(figures?.newest == 7)
    }
}

import Policy
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
                .record(request(1, minute: 1)),
                .record(request(2, policies: ["ssh", "rdp"], user: "bob", uid: 1001, minute: 2)),
                .record(request(3, policies: ["rdp", "rdp"], minute: 3)),
                .record(request(4, minute: 4)),
                .record(request(5, user: "bob", uid: 1001, minute: 5)),
                .end(id("1.1"), .expired, .expired, at: minutes(61), by: nil),
                .end(id("2.2"), .expired, .expired, at: minutes(62), by: nil),
                .end(id("2.1"), .revoked, .closedByAdmin, at: minutes(63), by: root),
                .end(id("3.2"), .revoked, .closedByRequester, at: minutes(64), by: alice),
                .end(id("4.1"), .failed, .kernelRefused, at: minutes(4), by: nil),
            ],
            at: minutes(70)
        )
    }

    @Test(arguments: [
        (LedgerFilter(), [5, 4, 3, 2, 1]),
        (LedgerFilter(state: .active), [5, 3]),
        (LedgerFilter(state: .expired), [1]),
        (LedgerFilter(state: .revoked), [2]),
        (LedgerFilter(state: .failed), [4]),
        (LedgerFilter(state: .superseded), []),
        (LedgerFilter(policy: "ssh"), [5, 4, 2, 1]),
        (LedgerFilter(policy: "rdp"), [3, 2]),
        (LedgerFilter(policy: "winrm"), []),
        (LedgerFilter(user: "bob"), [5, 2]),
        (LedgerFilter(user: "1001"), []),
        (LedgerFilter(uid: 1001), [5, 2]),
        (LedgerFilter(user: "alice", uid: 1001), []),
        (LedgerFilter(state: .active, policy: "rdp", user: "alice"), [3]),
        (LedgerFilter(state: .active, policy: "ssh", user: "alice"), []),
        (LedgerFilter(limit: 2), [5, 4]),
        (LedgerFilter(before: 4, limit: 2), [3, 2]),
        (LedgerFilter(user: "bob", before: 5), [2]),
        (LedgerFilter(before: 1), []),
    ])
    func findsRequests(filter: LedgerFilter, expected: [Int64]) async throws {
        let found = try await ledger.requests(filter)
        #expect(found.map(\.id) == expected)
        #expect(found.allSatisfy { filter.state == nil || $0.state == filter.state })
    }

    @Test(arguments: [
        (LedgerFilter(), ["5.1", "4.1", "3.2", "3.1", "2.2", "2.1", "1.1"]),
        (LedgerFilter(state: .active), ["5.1", "3.1"]),
        (LedgerFilter(state: .revoked), ["3.2", "2.1"]),
        (LedgerFilter(policy: "rdp"), ["3.2", "3.1", "2.2"]),
        (LedgerFilter(user: "bob"), ["5.1", "2.2", "2.1"]),
        (LedgerFilter(uid: 1001), ["5.1", "2.2", "2.1"]),
        (LedgerFilter(state: .active, user: "bob"), ["5.1"]),
        (LedgerFilter(before: 3, limit: 2), ["2.2", "2.1"]),
        (LedgerFilter(limit: 1), ["5.1"]),
    ])
    func findsGrants(filter: LedgerFilter, expected: [String]) async throws {
        let found = try await ledger.grants(filter)
        #expect(found.map(\.id.description) == expected)
        let user = filter.user
        #expect(found.allSatisfy { user == nil || $0.grant.requester.user == user })
    }

    @Test func readsOnlyTheGrantsOfARequest() async throws {
        let request = try #require(try await ledger.request(2))
        #expect(request.grants.map(\.id.description) == ["2.1", "2.2"])
        #expect(request.grants.map(\.grant.policy) == ["ssh", "rdp"])
        #expect(request.grants.map(\.endedAt) == [minutes(63), minutes(62)])
    }

    @Test func countsTheRequestsOfEachPolicy() async throws {
        let figures = { (minute: Int) in
            try await ledger.figures(since: minutes(minute)).map {
                "\($0.policy) \($0.requests) \(($0.lastAt - noon).compactDescription) \($0.lastUser)"
            }
        }
        #expect(try await figures(0) == ["rdp 2 3m alice", "ssh 3 5m bob"])
        #expect(try await figures(2) == ["rdp 2 3m alice", "ssh 2 5m bob"])
        #expect(try await figures(3) == ["rdp 1 3m alice", "ssh 1 5m bob"])
        #expect(try await figures(4) == ["ssh 1 5m bob"])
        #expect(try await figures(6) == [])
    }

    @Test func countsByTimeThoughTheClockWentBack() async throws {
        try ledger.commitBlocking([.record(request(6, minute: -1000))], at: minutes(71))
        try ledger.commitBlocking([.record(request(7, minute: 6))], at: minutes(72))
        let figures = try await ledger.figures(since: minutes(4))
        #expect(figures.map(\.requests) == [2])
        #expect(figures.first?.lastAt == minutes(6))
    }
}

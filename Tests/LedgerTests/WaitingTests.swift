import Policy
import TestSupport
import Testing

@testable import Ledger

@Suite(.blocking) struct WaitingTests {
    /// A request that waits to be opened, with every field saying something.
    private func waiting(_ id: Int64, by person: Person, extends: Int64? = nil) throws
        -> WaitingRequest
    {
        var wait = Wait(
            state: .pending,
            openings: [
                Opening(
                    policy: "ssh",
                    port: try PortRange(parsing: "22/tcp"),
                    source: try CIDR(parsing: "198.51.100.0/24")
                ),
                Opening(
                    policy: "rdp",
                    port: try PortRange(parsing: "3389/any"),
                    source: try CIDR(parsing: "198.51.100.0/24")
                ),
            ],
            duration: .seconds(3_600),
            startsAt: minutes(10),
            pendingUntil: minutes(15),
            groups: ["ops", "group with space"]
        )
        wait.extends = extends
        return WaitingRequest(
            id: id,
            requester: person,
            ask: Ask(
                targets: ["ssh", "rdp"],
                sources: ["198.51.100.0/24"],
                duration: "1h",
                at: minutes(10).description,
                reason: "deploy",
                ticket: "OPS-1"
            ),
            createdAt: noon,
            idempotencyKey: "key \(id)",
            wait: wait
        )
    }

    @Test func whatWaitsIsReadBackAsItWasRecorded() async throws {
        let folder = try TemporaryFolder()
        var ledger: Ledger? = try folder.open()
        var expected: [WaitingRequest] = []
        for (index, person) in try people().enumerated() {
            var request = try waiting(Int64(index + 1), by: person)
            try await ledger?.commit([.asked(request)], at: noon)
            for (duration, approver) in zip([nil, Duration.seconds(600)], [bob, root]) {
                let approval = Approval(
                    by: approver,
                    at: minutes(3),
                    duration: duration,
                    policies: ["ssh", "rdp"]
                )
                let state: RequestState = duration == nil ? .pending : .scheduled
                request.wait.add(approval, then: state)
                try await ledger?.commit(
                    [.approved(request.id, approval, then: state)],
                    at: minutes(3)
                )
            }
            expected.append(request)
        }
        ledger = nil
        let opened = try folder.open()
        let recovered = try opened.recover()
        #expect(recovered.waiting.sorted { $0.id < $1.id } == expected)
        #expect(recovered.nextRequestID == Int64(expected.count) + 1)
        for request in expected {
            let stored = try #require(try await opened.request(request.id))
            #expect(stored.waiting == request)
            #expect(stored.state == .scheduled && stored.decidedAt == minutes(3))
            let keyed = try opened.keyedRequest(
                subject: request.requester.subject,
                idempotencyKey: "key \(request.id)"
            )
            #expect(keyed?.id == request.id && keyed?.ask == request.ask)
        }
        for (state, count) in [(RequestState.pending, 0), (.scheduled, expected.count)] {
            let listed = try await opened.requests(LedgerFilter(), state: state)
            #expect(listed.count == count)
        }
        let ofPolicy = try await opened.requests(LedgerFilter(policy: "rdp"))
        #expect(ofPolicy.count == expected.count)
        #expect(try await opened.requests(LedgerFilter(policies: ["ssh"])).isEmpty)
        #expect(try await opened.grants(LedgerFilter()).isEmpty)
    }

    @Test(arguments: [RequestState.denied, .cancelled, .lapsed])
    func whatComesToNothingIsToldWithItsReason(_ state: RequestState) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.open()
        let request = try waiting(1, by: alice)
        try await ledger.commit([.asked(request)], at: noon)
        let actor = state == .lapsed ? nil : bob
        let reason = state == .denied ? "not now" : nil
        try await ledger.commit(
            [.concluded(1, state, at: minutes(5), by: actor, reason: reason)],
            at: minutes(5)
        )
        let stored = try #require(try await ledger.request(1))
        #expect(stored.state == state && stored.decidedAt == minutes(5))
        #expect(stored.decision == reason && stored.decidedBy == actor)
        #expect(stored.wait?.openings == request.wait.openings)
        #expect(try ledger.recover().waiting.isEmpty)
        var usage = try await ledger.pastUsage(since: noon).read()
        #expect(usage.figures(of: "ssh", at: minutes(5)) == nil)
    }

    @Test func whatOpensWaitsNoMore() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.open()
        var waiting = try waiting(1, by: alice)
        try await ledger.commit([.asked(waiting)], at: noon)
        let approval = Approval(by: bob, at: minutes(2), duration: nil, policies: ["ssh"])
        waiting.wait.add(approval, then: .pending)
        let opened = waiting.opened(try request(1, minute: 2).grants)
        try await ledger.commit(
            [.approved(1, approval, then: .pending), .opened(opened)],
            at: minutes(2)
        )
        // It counts from when it opened, not from when it was asked.
        for (minute, requests) in [(0, 1), (1, 1), (2, 1), (3, nil)] {
            var usage = try await ledger.pastUsage(since: minutes(minute)).read()
            #expect(usage.figures(of: "ssh", at: minutes(5))?.requests == requests)
        }
        let stored = try #require(try await ledger.request(1))
        #expect(stored.state == .active && stored.decidedAt == minutes(2))
        #expect(stored.grants.map(\.grant) == opened.grants)
        #expect(stored.wait?.openings == [] && stored.wait?.approvals == [approval])
        #expect(try ledger.recover().waiting.isEmpty)
        try await ledger.commit([expired(try id("1.1"))], at: minutes(60))
        #expect(try await ledger.request(1)?.state == .expired)
    }

    /// What lengthens a request's grants stands and ends with them.
    @Test func anExtensionEndsAsWhatItExtends() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.open()
        try await ledger.commit([.opened(try request(1, policies: ["ssh", "rdp"]))], at: noon)
        let extensions = try (2...4).map { try waiting($0, by: bob, extends: 1) }
        try await ledger.commit(extensions.map(Event.asked), at: noon)
        try await ledger.commit([.opened(extensions[0].opened([]))], at: minutes(1))
        try await ledger.commit(
            [.concluded(3, .denied, at: minutes(1), by: bob, reason: "no")],
            at: minutes(1)
        )
        let extended = try #require(try await ledger.request(2))
        #expect(extended.state == .active && extended.requester == bob)
        #expect(extended.grants.map(\.id.description) == ["1.1", "1.2"])
        #expect(extended.grants.map(\.requester) == [alice, alice])
        for (number, states) in [
            ("1.1", ["active", "denied", "pending"]),
            ("1.2", ["expired", "denied", "pending"]),
        ] {
            try await ledger.commit([expired(try id(number))], at: minutes(60))
            for (request, state) in zip(2...4 as ClosedRange<Int64>, states) {
                #expect(try await ledger.request(request)?.state.rawValue == state)
            }
        }
    }
}

import API
import Access
import GRDB
import Ledger
import Policy
import Settings
import Synchronization
import TestSupport
import Testing

@testable import Agent

/// Whoever does what to requests that wait, whenever and whatever fails: each goes only where the
/// states lead, opens only with the approvals it takes, and for no longer than anybody allowed.
@Suite(.blocking(atOnce: 3)) struct WaitingChaosTests {
    @Test(.timeLimit(.minutes(20)), arguments: 1...10 as ClosedRange<UInt64>)
    func noRequestGoesWhereItMustNot(_ seed: UInt64) async throws {
        let host = try Host(approvals: 2)
        try host.changeConfiguration {
            $0.roles = RoleTable([
                .requester: [.user("alice"), .user("bob")],
                .approver: [.user("bob"), .user("carol"), .user("erin")],
                .admin: [.user("dora")],
            ])
            $0.policies[0].maxDuration = .seconds(3600)
            $0.policies[0].pendingFor = .seconds(600)
        }
        var agent: Agent? = try await host.agent()
        for round in 0..<4 {
            // The last one without faults: what was left waiting goes on.
            if round < 3 { host.breakDown(by: Dice(seed: seed &* 1000 &+ UInt64(round))) }
            try await withThrowingTaskGroup(of: Void.self) { [agent] group in
                let agent = try #require(agent)
                for worker in 0..<4 {
                    group.addTask {
                        var random = Generator(seed: seed &* 7919 &+ UInt64(round * 10 + worker))
                        for _ in 0..<14 { try await act(on: agent, host, &random) }
                    }
                }
                try await group.waitForAll()
            }
            if round % 2 == 1 {
                // Nothing is settled before the agent is gone.
                agent = nil
                host.repair()
                agent = try await host.agent()
            }
            host.repair()
            await agent?.clockStepped()
            try await expectOrder(on: #require(agent), host)
        }
    }

    // MARK: Acting

    private static let people = [alice, bob, carol, erin, dora]

    /// Does something to a request of the newest, as anybody; most of it is refused.
    private func act(
        on agent: Agent,
        _ host: Host,
        _ random: inout Generator
    ) async throws {
        let caller = Self.people[random.int(0...4)]
        let newest = try await host.otherConnection().read {
            try Int64.fetchOne($0, sql: "SELECT max(id) FROM requests") ?? 0
        }
        let id = max(1, newest - Int64(random.int(0...4)))
        let refusals: [Problem.Code]
        do {
            switch random.int(0...15) {
            case 0...4:
                refusals = [.outsidePolicy]
                let owner = Self.people[random.int(0...1)]
                var asked = ask("ssh", from: "198.51.100.\(random.int(1...4))")
                asked.duration = "\(60 * random.int(5...60) + 30)s"
                if random.int(0...3) == 0 {
                    let start = host.clocks.now().wall + .seconds(60 * random.int(1...5))
                    asked.at = start.description
                }
                let key = random.int(0...1) == 0 ? "\(random.next())" : nil
                let first = try await agent.opened(asked, key: key, by: owner)
                #expect(first.isNew && first.request.state != .active)
                guard key != nil else { return }
                let again = try await agent.opened(asked, key: key, by: owner)
                #expect(!again.isNew && again.request.id == first.request.id)
            case 5...9:
                refusals = [.notPermitted, .notFound, .wrongState, .outsidePolicy]
                let shorter = random.int(0...3) == 0 ? "\(60 * random.int(5...20) + 30)s" : nil
                let revision = random.int(0...3) == 0 ? random.int(1...3) : nil
                let answer = try await agent.approve(
                    id,
                    by: caller,
                    for: shorter,
                    revision: revision
                )
                #expect(answer.requester.subject != caller.identity.subject)
                #expect(answer.approvals.last?.who.subject == caller.identity.subject)
            case 10:
                refusals = [.notPermitted, .notFound, .wrongState]
                let answer = try await agent.deny(request: id, reason: "no", by: caller)
                #expect(answer.state == .denied)
            case 11:
                refusals = [.notPermitted, .notFound, .wrongState]
                let answer = try await agent.cancel(request: id, by: caller)
                #expect(answer.state == .cancelled)
            case 12:
                refusals = [.notPermitted, .notFound, .wrongState]
                _ = try await agent.revoke(request: id, by: caller)
            case 13:
                refusals = [.notPermitted, .notFound, .wrongState, .outsidePolicy]
                let more = Duration.seconds(60 * random.int(1...20))
                let answer = try await agent.extend(request: id, by: more, by: caller)
                #expect(answer.state == .pending && answer.extends == "\(id)")
            case 14:
                refusals = []
                host.clocks.setWallClock(by: .seconds(60 * random.int(-2...2)))
                await agent.clockStepped()
            default:
                refusals = []
                host.clocks.pass(.seconds(60 * random.int(0...3)))
                await agent.grantsEnded()
            }
        } catch let problem as Problem {
            #expect(
                (refusals + [.ledgerUnavailable, .kernelRefused]).contains(problem.code),
                "\(problem.detail)"
            )
        }
    }

    // MARK: Order

    /// The kinds of events that may follow one another, of one request.
    private static let next: [String?: Set<String>] = [
        nil: ["requested"],
        "requested": ["approved", "denied", "cancelled", "lapsed"],
        "approved": ["approved", "denied", "cancelled", "lapsed", "opened"],
        "opened": ["extended", "extension-taken-back", "shortened", "ended"],
        "extended": ["extended", "extension-taken-back", "shortened", "ended"],
        "extension-taken-back": ["extended", "extension-taken-back", "shortened", "ended"],
        "shortened": ["extended", "extension-taken-back", "shortened", "ended"],
    ]

    private func expectOrder(on agent: Agent, _ host: Host) async throws {
        let rows = try host.audit().filter { $0.request != nil }
        for (id, rows) in Dictionary(grouping: rows, by: \.request) {
            var last: String?
            for row in rows {
                let events = rows.map(\.event)
                #expect(Self.next[last]?.contains(row.event) == true, "\(id ?? 0): \(events)")
                last = row.event
            }
        }
        let committer = agent.committer
        var waiting: Set<Int64> = []
        var page = try await agent.requests(RequestFilter(limit: 1000), for: dora)
        #expect(page.next == nil)
        page.requests.reverse()
        for request in page.requests {
            let id = try #require(Int64(request.id))
            let approvers = Set(request.approvals.map(\.who.subject))
            #expect(approvers.count == request.approvals.count, "\(id)")
            #expect(!approvers.contains(request.requester.subject), "\(id)")
            if request.state.isWaiting { waiting.insert(id) }
            // Twice or not at all, whatever was answered.
            let isApproved = ![.pending, .denied, .cancelled, .lapsed].contains(request.state)
            #expect(!isApproved || request.approvals.count == 2, "\(id) is \(request.state)")
            if request.state == .pending { #expect(request.approvals.count < 2, "\(id)") }
            for grant in request.grants {
                guard let start = grant.startsAt, let end = grant.expiresAt else { continue }
                if request.extends == nil { #expect(request.approvals.count == 2, "\(grant.id)") }
                // Never more than the longest from any moment on, and so not from the opening on.
                let extensions = page.requests.filter {
                    $0.extends == request.id && $0.state != .failed && $0.approvals.count == 2
                }
                let most = try ([request] + extensions).reduce(Duration.zero) { sum, request in
                    let asked = try Duration(
                        parsing: request.extends == nil
                            ? lengthAsked(id, host) : request.duration
                    )
                    let approved = try request.approvals.compactMap(\.duration)
                        .map { try Duration(parsing: $0) }
                    return sum + ([asked] + approved).reduce(asked, min)
                }
                if request.extends == nil { #expect(end - start <= most, "\(grant.id)") }
            }
        }
        #expect(await Set(committer.waitingRequests.all.map(\.id)) == waiting)
        let plan = await committer.plan
        #expect(try Set(host.elements().keys) == Set(plan.elements.map(\.key)))
    }

    private func lengthAsked(_ id: Int64, _ host: Host) throws -> String {
        let length = try host.otherConnection().read {
            try String.fetchOne(
                $0,
                sql: "SELECT duration FROM requests WHERE id = ?",
                arguments: [id]
            )
        }
        return try #require(length)
    }
}

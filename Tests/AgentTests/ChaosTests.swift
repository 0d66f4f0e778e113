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

/// When all is over, kernel, plan and ledger agree with each other and with every answer given.
///
/// Until then several people ask, extend and close at once, the clock steps, the policies are
/// reloaded and others break the table, while ledger and kernel fail as they please.
@Suite(.blocking(atOnce: 3)) struct ChaosTests {
    private static var policies: [AccessPolicy] {
        get throws {
            try [("ssh", "22/tcp"), ("winrm", "5985-5986/tcp")].map { name, ports in
                AccessPolicy(
                    name: name,
                    ports: [try PortRange(parsing: ports)],
                    maxActivePerRequester: 1000
                )
            }
        }
    }

    @Test(.timeLimit(.minutes(20)), arguments: 1...12 as ClosedRange<UInt64>)
    func whateverFailsAnswersAreTrue(_ seed: UInt64) async throws {
        let isOwned = seed % 2 == 0
        let host = try Host(Self.policies)
        let journal = Journal()
        journal.see(host.clocks.now())
        var agent: Agent? = try await host.agent(owning: isOwned)
        for round in 0..<3 {
            let dice = Dice(seed: seed &* 1000 &+ UInt64(round))
            host.breakDown(by: dice)
            try await withThrowingTaskGroup(of: Void.self) { [agent] group in
                let agent = try #require(agent)
                for worker in 0..<5 {
                    group.addTask {
                        var random = Generator(seed: seed &* 7919 &+ UInt64(round * 10 + worker))
                        for _ in 0..<12 {
                            try await act(on: agent, host, journal, &random, isOwned: isOwned)
                        }
                    }
                }
                try await group.waitForAll()
            }
            host.repair()
            // In step again at once, and not only when the agent next tries by itself.
            await agent?.clockStepped()
            try await expectAgreement(of: #require(agent), host, journal)
            if round == 1 {
                let before = Set(await agent?.committer.plan.allGrants.map(\.id) ?? [])
                agent = nil
                agent = try await host.agent(owning: isOwned)
                #expect(Set(await agent?.committer.plan.allGrants.map(\.id) ?? []) == before)
                try await expectAgreement(of: #require(agent), host, journal)
            }
        }
    }

    /// A close that was answered holds, whenever the agent dies.
    @Test(.timeLimit(.minutes(20)), arguments: 1...6 as ClosedRange<UInt64>)
    func whatWasAnsweredOutlivesACrash(_ seed: UInt64) async throws {
        let host = try Host(Self.policies)
        let journal = Journal()
        journal.see(host.clocks.now())
        let dice = Dice(seed: seed)
        for round in 0..<4 {
            var agent: Agent? = try await host.agent()
            host.breakDown(by: dice)
            try await withThrowingTaskGroup(of: Void.self) { [agent] group in
                let agent = try #require(agent)
                for worker in 0..<4 {
                    group.addTask {
                        var random = Generator(seed: seed &* 7919 &+ UInt64(round * 10 + worker))
                        for _ in 0..<8 {
                            if random.int(0...1) == 0 {
                                try await open(on: agent, host, journal, &random)
                            } else {
                                try await end(on: agent, journal, &random)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            // Nothing is settled; the kernel is well again.
            agent = nil
            host.repair()
            agent = try await host.agent()
            let plan = try #require(await agent?.committer.plan)
            let state = journal.state.withLock(\.self)
            for id in state.closed.keys { #expect(plan[id] == nil, "\(id) was closed") }
            for reason in state.failed.keys { #expect(!(try host.isLive(reason)), "\(reason)") }
            for id in state.ends.keys where state.closed[id] == nil && plan[id] == nil {
                let reason = try #require(try host.ledgerRow(id)).reason ?? "live"
                #expect(Self.requested.contains(reason), "\(id): \(reason)")
            }
            #expect(try Set(host.elements().keys) == Set(plan.elements.map(\.key)))
            agent = nil
        }
    }

    /// How grants end that somebody wanted to end.
    private static let requested = ["newer-request", "closed-by-requester", "closed-by-admin"]

    // MARK: Acting

    private func act(
        on agent: Agent,
        _ host: Host,
        _ journal: Journal,
        _ random: inout Generator,
        isOwned: Bool
    ) async throws {
        switch random.int(0...19) {
        case 0...7: try await open(on: agent, host, journal, &random)
        case 8...10: try await extend(on: agent, journal, &random)
        case 11...14: try await end(on: agent, journal, &random)
        case 15:
            // Whole minutes, where grants last so many and a half: no end is near.
            host.clocks.setWallClock(by: .seconds(60 * random.int(-6...4)))
            journal.see(host.clocks.now())
            await agent.clockStepped()
        case 16:
            let hasRDP = random.int(0...1) == 0
            try host.changeConfiguration {
                $0.policies.removeAll { $0.name == "rdp" }
                guard hasRDP, let port = try? PortRange(parsing: "3389/tcp") else { return }
                $0.policies.append(AccessPolicy(name: "rdp", ports: [port]))
            }
            _ = await problem { try await agent.reload(by: nil) }
        case 17:
            if !isOwned {
                let commands = [
                    ["delete", "table", "inet", "sallyport"],
                    ["flush", "set", "inet", "sallyport", "grants4_32"],
                ]
                // Another may have deleted it just now.
                try? host.nft(commands[random.int(0...1)])
            }
            await agent.rulesetChanged()
        case 18: await agent.grantsEnded()
        default:
            host.clocks.pass(.seconds(60 * random.int(0...4)))
            journal.see(host.clocks.now())
            await agent.clockStepped()
        }
    }

    private func open(
        on agent: Agent,
        _ host: Host,
        _ journal: Journal,
        _ random: inout Generator
    ) async throws {
        let sources = ["198.51.100.0/24", "198.51.100.7", "198.51.100.8", "2001:db8::/64"]
        let targets = [["ssh"], ["5985/tcp"], ["winrm"], ["ssh", "5986/tcp"]]
        let first = random.int(0...3)
        let reason = "the work number \(random.next())"
        let asked = Ask(
            targets: targets[random.int(0...3)],
            sources: random.int(0...3) == 0
                ? [sources[first], sources[(first + 1) % 4]] : [sources[first]],
            duration: "\(60 * random.int(1...30) + 30)s",
            reason: reason
        )
        let caller = random.int(0...1) == 0 ? alice : bob
        let key = random.int(0...2) == 0 ? "key \(random.int(0...5)) \(reason)" : nil
        do {
            let opened = try await agent.opened(asked, key: key, by: caller)
            #expect(opened.isNew)
            try journal.note(opened.request)
            guard let key else { return }
            // Whatever became of it meanwhile, it is not made again.
            let again = try await agent.opened(asked, key: key, by: caller)
            #expect(!again.isNew && again.request.id == opened.request.id)
        } catch let problem as Problem {
            #expect([.ledgerUnavailable, .kernelRefused].contains(problem.code))
            journal.state.withLock { $0.failed[reason] = problem.code }
        }
    }

    private func extend(
        on agent: Agent,
        _ journal: Journal,
        _ random: inout Generator
    ) async throws {
        guard let (request, owner) = journal.pick(&random) else { return }
        let addition = Duration.seconds(60 * random.int(1...10))
        do {
            let extended = try await agent.extend(request: request, by: addition, by: owner)
            for document in extended.grants where document.state == .active {
                try journal.extend(Grant.ID(parsing: document.id), by: addition)
            }
        } catch let problem as Problem {
            #expect(
                [.ledgerUnavailable, .kernelRefused, .wrongState, .outsidePolicy]
                    .contains(problem.code)
            )
        }
    }

    private func end(
        on agent: Agent,
        _ journal: Journal,
        _ random: inout Generator
    ) async throws {
        guard let (request, owner) = journal.pick(&random) else { return }
        let caller = random.int(0...2) == 0 ? dora : owner
        do {
            if random.int(0...1) == 0 {
                let answer = try await agent.revoke(request: request, by: caller)
                #expect(answer.state == .revoked)
                for document in answer.grants where document.state == .revoked {
                    try journal.close(document)
                }
            } else {
                let answer = try await agent.close(grant: grant(request), by: caller)
                try journal.close(answer)
            }
        } catch let problem as Problem {
            #expect([.ledgerUnavailable, .kernelRefused, .wrongState].contains(problem.code))
        }
    }

    // MARK: Agreement

    private func expectAgreement(
        of agent: Agent,
        _ host: Host,
        _ journal: Journal
    ) async throws {
        let plan = await agent.committer.plan
        let state = journal.state.withLock(\.self)
        // The kernel.
        let now = host.clocks.now().boot
        let left = try host.elements()
        #expect(Set(left.keys) == Set(plan.elements.map(\.key)))
        for (key, end, _) in plan.elements {
            let difference = (end - now).wholeMilliseconds - (left[key] ?? 0)
            #expect(abs(difference) < 20_000, "\(key)")
        }
        let ports = try await agent.policies(for: dora).policies.flatMap(\.ports)
        #expect(try host.managedPorts() == Set(ports.flatMap { $0.lower...$0.upper }))
        #expect(try await agent.status(for: dora).gate.armed)
        // The ledger.
        let live = try host.liveRows()
        #expect(
            live == Dictionary(uniqueKeysWithValues: plan.allGrants.map { ($0.id, $0.end) })
        )
        // Every answer.
        for (id, end) in state.ends {
            let row = try #require(try host.ledgerRow(id), "\(id) was opened")
            switch row.reason {
            case nil:
                #expect(row.expiresAt == end, "\(id)")
                #expect(plan[id] != nil && state.closed[id] == nil)
            case "expired":
                #expect(row.expiresAt == end, "\(id)")
                // A clock that was set forward since may have shortened it by as much.
                #expect(end - state.latestWall(at: now) <= .zero, "\(id) ended too soon")
            case let reason?:
                // Also a close that was answered with a failure may have closed it.
                #expect(Self.requested.contains(reason), "\(id): \(reason)")
                if let told = state.closed[id] { #expect(reason == told.rawValue, "\(id)") }
            }
        }
        for id in state.closed.keys { #expect(plan[id] == nil, "\(id) was closed") }
        for (reason, code) in state.failed {
            let found = try host.endReasons(ofRequestFor: reason)
            #expect(
                found.allSatisfy { $0 == "kernel-refused" || $0 == "newer-request" },
                "\(reason): \(found)"
            )
            if code == .ledgerUnavailable { #expect(found.isEmpty) }
        }
    }
}

/// What was answered.
private final class Journal: Sendable {
    struct State {
        /// When the grants of requests that were granted end.
        var ends: [Grant.ID: Timestamp] = [:]
        var owners: [Int64: Caller] = [:]
        var closed: [Grant.ID: EndReason] = [:]
        /// By their reasons, the requests that were answered with a failure.
        var failed: [String: Problem.Code] = [:]
        /// The most by which the wall clock was ahead of the time since boot.
        var lead = Duration.zero

        /// The latest that the wall clock would have shown by now, had it never been set back.
        func latestWall(at now: BootTime) -> Timestamp {
            Timestamp(milliseconds: now.milliseconds) + lead
        }
    }
    let state = Mutex(State())

    func note(_ request: RequestDocument) throws {
        try state.withLock { state in
            for document in request.grants {
                let id = try Grant.ID(parsing: document.id)
                // Somebody who was quicker may have extended it.
                state.ends[id] =
                    try #require(document.expiresAt)
                    + ((state.ends[id] ?? .init(milliseconds: 0)) - .init(milliseconds: 0))
                state.owners[id.request] = request.requester.name == "alice" ? alice : bob
            }
        }
    }

    func extend(_ id: Grant.ID, by addition: Duration) {
        state.withLock { $0.ends[id] = ($0.ends[id] ?? Timestamp(milliseconds: 0)) + addition }
    }

    func close(_ document: GrantDocument) throws {
        let id = try Grant.ID(parsing: document.id)
        state.withLock { $0.closed[id] = document.endReason }
    }

    func see(_ now: Moment) {
        let lead = Duration.milliseconds(now.wall.milliseconds - now.boot.milliseconds)
        state.withLock { $0.lead = max($0.lead, lead) }
    }

    func pick(_ random: inout Generator) -> (Int64, Caller)? {
        let owners = state.withLock(\.owners).sorted { $0.key < $1.key }.suffix(12)
        guard !owners.isEmpty else { return nil }
        let picked = owners[owners.startIndex + random.int(0...owners.count - 1)]
        return (picked.key, picked.value)
    }
}

/// Chance, shared by all that fails.
final class Dice: Sendable {
    private let random: Mutex<Generator>

    init(seed: UInt64) { random = Mutex(Generator(seed: seed)) }

    func roll(_ range: ClosedRange<Int>) -> Int { random.withLock { $0.int(range) } }
    func hits(percent: Int) -> Bool { roll(1...100) <= percent }
}

extension Host {
    /// From now on ledger and kernel fail by chance.
    func breakDown(by dice: Dice) {
        store.chance.withLock {
            $0 = {
                StoreFaults.Outcome(
                    delay: .milliseconds(dice.roll(0...6)),
                    commitFault: dice.hits(percent: 20) ? .full : nil,
                    secureFault: dice.hits(percent: 20) ? .full : nil
                )
            }
        }
        kernel.fault.withLock {
            $0 = { _ in
                guard dice.hits(percent: 20) else { return nil }
                return dice.hits(percent: 50) ? .refused : .outcomeUnknown
            }
        }
    }

    func repair() {
        store.chance.withLock { $0 = { StoreFaults.Outcome() } }
        kernel.fail()
    }

    fileprivate func liveRows() throws -> [Grant.ID: GrantEnd] {
        try otherConnection().read { db in
            let rows = try Row.fetchAll(db, sql: "SELECT id, expires_at, deadline FROM live")
            return Dictionary(
                uniqueKeysWithValues: rows.map { row in
                    let id: Int64 = row[0]
                    return (
                        grant(id / 10_000, Int(id % 10_000)),
                        GrantEnd(
                            expiresAt: Timestamp(milliseconds: row[1]),
                            deadline: BootTime(milliseconds: row[2])
                        )
                    )
                }
            )
        }
    }

    fileprivate func ledgerRow(_ id: Grant.ID) throws -> (expiresAt: Timestamp, reason: String?)? {
        try otherConnection().read { db in
            try Row.fetchOne(
                db,
                sql: "SELECT expires_at, end_reason FROM grants WHERE request = ? AND ordinal = ?",
                arguments: [id.request, id.ordinal]
            ).map { (Timestamp(milliseconds: $0[0]), $0[1]) }
        }
    }

    fileprivate func endReasons(ofRequestFor reason: String) throws -> [String?] {
        try otherConnection().read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT g.end_reason FROM requests r JOIN grants g ON g.request = r.id
                    WHERE r.reason = ?
                    """,
                arguments: [reason]
            ).map { $0[0] }
        }
    }

    fileprivate func isLive(_ reason: String) throws -> Bool {
        try endReasons(ofRequestFor: reason).contains(nil)
    }
}

import Agent
import Gate
import Policy
import Settings
import Synchronization

@testable import Ledger

/// What is wrong with a host's disk.
final class StoreFaults: Sendable {
    /// What becomes of a commit.
    struct Outcome {
        var delay = Duration.zero
        var commitFault: LedgerError.Code?
        var secureFault: LedgerError.Code?
    }

    /// Asked at each commit, besides what is set below.
    let chance = Mutex<@Sendable () -> Outcome>({ Outcome() })

    private struct State {
        var commitFault: LedgerError.Code?
        var secureFault: LedgerError.Code?
        var isHeld = false
        var held: [CheckedContinuation<Void, Never>] = []
        var commits: [[Event]] = []
    }
    private let state = Mutex(State())

    /// From now on nothing is recorded, or not even kept apart; nil ends it.
    func fail(commit: LedgerError.Code?, secure: LedgerError.Code? = nil) {
        state.withLock {
            $0.commitFault = commit
            $0.secureFault = secure
        }
    }

    /// From now on commits wait.
    func hold() { state.withLock { $0.isHeld = true } }

    /// Lets the commits that wait go on, and those to come.
    func letGo() {
        let held = state.withLock { state in
            defer { state.held = [] }
            state.isHeld = false
            return state.held
        }
        for commit in held { commit.resume() }
    }

    /// How many commits wait.
    var held: Int { state.withLock(\.held.count) }

    /// How many commits were made.
    var commits: Int { committed.count }

    /// What was committed, in their order.
    var committed: [[Event]] { state.withLock(\.commits) }

    fileprivate func beforeCommit() async throws(LedgerError) {
        await withCheckedContinuation { commit in
            let isHeld = state.withLock { state in
                if state.isHeld { state.held.append(commit) }
                return state.isHeld
            }
            if !isHeld { commit.resume() }
        }
        let chance = chance.withLock { $0() }
        if chance.delay > .zero { try? await Task.sleep(for: chance.delay) }
        if let code = state.withLock(\.commitFault) ?? chance.commitFault {
            throw LedgerError(code, "cannot commit")
        }
    }

    fileprivate func afterCommit(_ events: [Event]) { state.withLock { $0.commits.append(events) } }

    fileprivate func afterSecuring() throws(LedgerError) {
        if let code = state.withLock(\.secureFault) ?? chance.withLock({ $0() }).secureFault {
            throw LedgerError(code, "cannot secure")
        }
    }
}

/// A ledger on a disk that can fail.
struct FaultyStore: EventStore {
    let ledger: Ledger
    let faults: StoreFaults

    func commit(
        _ events: [Event],
        at time: Timestamp,
        meanwhile: () -> Void,
        afterwards: @escaping @Sendable () -> Void
    ) async throws(LedgerError) {
        try await faults.beforeCommit()
        try await ledger.commit(events, at: time, meanwhile: meanwhile, afterwards: afterwards)
        faults.afterCommit(events)
    }

    func secure(_ events: [Event]) async throws(LedgerError) {
        // The next commit writes them whether they are durable or not.
        try await ledger.secure(events)
        try faults.afterSecuring()
    }

    var isBehind: Bool { ledger.isBehind }
}

/// What is wrong with a host's kernel.
final class KernelFaults: Sendable {
    enum Call: Hashable { case arm, apply, inspect, disarm }

    /// How a call fails.
    enum Fault {
        /// Nothing was done.
        case refused
        /// It was done, and the answer lost.
        case outcomeUnknown
    }

    /// Asked at each call.
    let fault = Mutex<@Sendable (Call) -> Fault?>({ _ in nil })
    /// The sessions of callers that run to this host.
    let shells = Mutex<Set<OwnSession>>([])
    /// What break-glass sources have let in; nil for what the kernel has counted.
    let breakGlass = Mutex<[(source: CIDR, packets: UInt64)]?>(nil)
    /// The sessions that there are; nil for those that the kernel knows.
    let sessions = Mutex<[Session]?>(nil)
    /// Whether sessions are listed even after they were ended.
    let listsEndedSessions = Mutex(false)
    /// How often sessions were asked for.
    let listings = Mutex(0)
    /// The sessions that were ended, as their clients.
    let ended = Mutex<[String]>([])

    /// From now on these fail so; all others do not.
    func fail(_ calls: Call..., as fault: Fault = .refused) {
        self.fault.withLock { $0 = { calls.contains($0) ? fault : nil } }
    }

    /// The call after so many others like it is refused, and that alone.
    func failOnce(_ call: Call, after others: Int) {
        let left = Counter(others)
        fault.withLock { $0 = { $0 == call && left.reachesZero() ? .refused : nil } }
    }

    private final class Counter: Sendable {
        private let left: Mutex<Int>
        init(_ count: Int) { left = Mutex(count) }
        func reachesZero() -> Bool {
            left.withLock { left in
                defer { left -= 1 }
                return left == 0
            }
        }
    }

    fileprivate func during<Answer>(
        _ call: Call,
        _ body: () throws(GateError) -> Answer
    ) throws(GateError) -> Answer {
        let fault = fault.withLock { $0(call) }
        if case .refused = fault { throw GateError("cannot \(call): refused") }
        let answer = try body()
        if case .outcomeUnknown = fault { throw GateError("cannot \(call): outcome unknown") }
        return answer
    }
}

/// A gate in a kernel that can fail.
struct FaultyGate: GateControl {
    let gate: Gate
    let faults: KernelFaults

    var isOwned: Bool { gate.isOwned }

    func arm(
        managed: [ManagedPort],
        breakGlass: [CIDR],
        holding: Holding,
        now: () -> BootTime
    ) throws(GateError) -> Bool {
        try faults.during(.arm) { () throws(GateError) in
            try gate.arm(managed: managed, breakGlass: breakGlass, holding: holding, now: now)
        }
    }

    func prepare(_ changes: [ElementChange], now: BootTime) { gate.prepare(changes, now: now) }

    /// Not before the fault of `apply` is known.
    func begin(_ changes: [ElementChange], now: BootTime) {}

    func apply(_ changes: [ElementChange], now: BootTime) throws(GateError) {
        try faults.during(.apply) { () throws(GateError) in try gate.apply(changes, now: now) }
    }

    func inspect() throws(GateError) -> GateReport {
        try faults.during(.inspect) { () throws(GateError) in
            var report = try gate.inspect()
            if let used = faults.breakGlass.withLock(\.self) { report.breakGlass = used }
            return report
        }
    }

    func traffic(of key: ElementKey) throws(GateError) -> Traffic? { try gate.traffic(of: key) }

    func distrust() { gate.distrust() }

    func breakGlass() throws(GateError) -> [(source: CIDR, packets: UInt64)] {
        if let used = faults.breakGlass.withLock(\.self) { return used }
        return try gate.breakGlass()
    }

    func disarm() throws(GateError) {
        try faults.during(.disarm) { () throws(GateError) in try gate.disarm() }
    }

    func isRunning(_ session: OwnSession) throws(GateError) -> Bool {
        faults.shells.withLock { $0.contains(session) }
    }

    func forgetEndedSessions() throws(GateError) { try gate.forgetEndedSessions() }

    func sessions(to ports: Set<TransportPort>?) throws(GateError) -> [FoundSession] {
        faults.listings.withLock { $0 += 1 }
        guard let sessions = faults.sessions.withLock(\.self) else {
            return try gate.sessions(to: ports)
        }
        return sessions.filter { ports?.contains(TransportPort(of: $0)) != false }
            .map { FoundSession($0, identity: "\($0.transport) \($0.client)") }
    }

    func end(_ sessions: [FoundSession]) throws(GateError) {
        guard faults.sessions.withLock(\.self) != nil else { return try gate.end(sessions) }
        let clients = sessions.map { "\($0.session.client)" }
        faults.ended.withLock { $0 += clients }
        guard !faults.listsEndedSessions.withLock(\.self) else { return }
        faults.sessions.withLock { $0?.removeAll { clients.contains("\($0.client)") } }
    }
}

import API
import GRDB
import Gate
import Glibc
import Logging
import Nftables
import Policy
import Server
import Synchronization
import TestSupport
import Testing

@testable import Agent
@testable import Ledger
@testable import Settings

/// The machine's clocks, moved by hand.
final class SteppedClocks: Clocks {
    struct Offsets {
        var wall: Int64 = 0
        var boot: Int64 = 0
        var bootID = "boot-1"
    }
    private let real: SystemClocks
    let offsets = Mutex(Offsets())

    init() throws { real = try SystemClocks() }

    var bootID: String { offsets.withLock(\.bootID) }

    func now() -> Moment {
        let (now, moved) = (real.now(), offsets.withLock(\.self))
        return Moment(
            wall: Timestamp(milliseconds: now.wall.milliseconds + moved.wall),
            boot: now.boot + moved.boot
        )
    }

    /// Lets time pass, for the agent but not for the kernel: as in suspend.
    func pass(_ time: Duration) {
        offsets.withLock {
            $0.wall += time.wholeMilliseconds
            $0.boot += time.wholeMilliseconds
        }
    }

    /// Sets the wall clock forward, or back.
    func setWallClock(by step: Duration) {
        offsets.withLock { $0.wall += step.wholeMilliseconds }
    }

    /// Boots the machine: the time since boot begins anew.
    func reboot() {
        let boot = real.now().boot
        offsets.withLock {
            $0.boot = 30_000 - boot
            $0.bootID += "'"
        }
    }
}

/// A host with a network namespace, a state directory and clocks of its own.
final class Host: Sendable {
    static let executor = LoopExecutor.makeWithOwnThread()

    let namespace: NetworkNamespace
    let clocks: SteppedClocks
    private let folder: TemporaryFolder
    let configuration: Mutex<Result<AgentConfiguration, ConfigurationError>>
    private let kernel: Connection

    init(_ policies: [AccessPolicy] = []) throws {
        namespace = try NetworkNamespace()
        clocks = try SteppedClocks()
        kernel = try namespace.run { try Connection() }
        folder = try TemporaryFolder()
        var configuration = AgentConfiguration(policyDirectory: "/nowhere")
        configuration.roles = RoleTable([
            .requester: [.user("alice"), .user("bob")], .admin: [.user("dora")],
            .viewer: [.user("vera")],
        ])
        configuration.policies = policies.isEmpty ? try Self.policies : policies
        self.configuration = Mutex(.success(configuration))
    }

    var state: String { folder.path }

    private static var policies: [AccessPolicy] {
        get throws {
            [
                AccessPolicy(
                    name: "ssh",
                    ports: [try PortRange(parsing: "22/tcp")],
                    maxActivePerRequester: 100_000
                ),
                AccessPolicy(
                    name: "winrm",
                    ports: [try PortRange(parsing: "5985-5986/tcp")],
                    reason: .required,
                    reasonMinLength: 5,
                    maxActivePerRequester: 2
                ),
            ]
        }
    }

    func changeConfiguration(_ change: (inout AgentConfiguration) -> Void) throws {
        try configuration.withLock {
            var configuration = try $0.get()
            change(&configuration)
            $0 = .success(configuration)
        }
    }

    func gate(owning: Bool = true) throws -> Gate {
        try namespace.run { try Gate(owning: owning) }
    }

    /// An agent as `Daemon` makes it, without socket and signals.
    func agent(owning: Bool = true, watched: Bool = false) async throws -> Agent {
        let executor = watched ? LoopExecutor.makeWithOwnThread() : Self.executor
        let ledger = try await openLedger()
        // A program that another test starts keeps the old gate's socket until it is executed.
        _ = try await eventually {
            try kernel.tables().first { $0.name == table.name }?.owner == nil
        }
        let gate = try gate(owning: owning)
        let load = { @Sendable [self] () throws(ConfigurationError) in
            try configuration.withLock(\.self).get()
        }
        let agent = try await Agent(
            configuration: load(),
            loadConfiguration: load,
            gate: gate,
            ledger: ledger,
            clocks: clocks,
            watch: Watch(
                ruleset: owning ? nil : namespace.run { try RulesetMonitor(besides: gate) }
            ),
            executor: executor,
            logger: Logger(label: "agent") { _ in SwiftLogNoOpLogHandler() }
        )
        if watched {
            try await agent.watch.start { [weak agent] event in
                Task(executorPreference: executor) { await agent?.handle(event) }
            }
        }
        return agent
    }

    /// Opens the ledger when the agent before has let go of it.
    private func openLedger() async throws -> Ledger {
        for _ in 0..<500 {
            if let ledger = try? Ledger(directory: state, bootID: clocks.bootID) { return ledger }
            try await Task.sleep(for: .milliseconds(10))
        }
        return try Ledger(directory: state, bootID: clocks.bootID)
    }

    /// What the kernel lets in, with the milliseconds left.
    func elements() throws -> [ElementKey: Int64] {
        var left: [ElementKey: Int64] = [:]
        for set in try kernel.sets(in: table) {
            guard let prefix = Int(set.name.split(separator: "_").last ?? "") else { continue }
            for element in try kernel.elements(of: set) {
                let bytes = element.key.bytes
                let address = try #require(IPAddress(bytes: Array(bytes.dropLast(8))))
                let rest = Array(bytes.suffix(8))
                let key = ElementKey(
                    source: try #require(CIDR(address, prefixLength: prefix)),
                    transport: try #require(Transport(rawValue: rest[0])),
                    port: UInt16(rest[4]) << 8 | UInt16(rest[5])
                )
                left[key] = try #require(element.expiration).wholeMilliseconds
            }
        }
        return left
    }

    /// The ports the kernel closes unless granted.
    func managedPorts() throws -> Set<UInt16> {
        let set = try #require(kernel.sets(in: table).first { $0.name == "managed" })
        return Set(
            try kernel.elements(of: set).map {
                UInt16($0.key.bytes[4]) << 8 | UInt16($0.key.bytes[5])
            }
        )
    }

    private var table: Nftables.Table { Nftables.Table(family: .inet, name: "sallyport") }

    func nft(_ arguments: String...) throws {
        try namespace.run { _ = try shell(["nft"] + arguments).get() }
    }

    /// Another program's connection to the ledger.
    func otherConnection() throws -> DatabaseQueue {
        var configuration = GRDB.Configuration()
        configuration.allowsUnsafeTransactions = true
        configuration.busyMode = .timeout(5)
        return try DatabaseQueue(path: state + "/ledger.sqlite", configuration: configuration)
    }

    /// Makes the ledger refuse every change until `mendLedger`.
    func breakLedger() throws {
        try otherConnection().write { try $0.execute(sql: refusal) }
    }

    func mendLedger() throws {
        try otherConnection().write { try $0.execute(sql: "DROP TRIGGER refusal") }
    }

    func stored(_ id: Int64) throws -> StoredGrants {
        try otherConnection().read { db in
            try Row.fetchAll(
                db,
                sql: "SELECT id, state, end_reason FROM grants WHERE request = ? ORDER BY id",
                arguments: [id]
            ).map { "\($0[1] as String)/\($0[2] as String? ?? "-")" }
        }
    }

    typealias StoredGrants = [String]
}

/// Refuses every commit, as a full disk does.
let refusal = """
    CREATE TRIGGER refusal BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no space'); END
    """

func caller(_ user: String) -> Caller {
    let people: [String: (UInt32, Set<Role>)] = [
        "alice": (1000, [.requester]), "bob": (1001, [.requester]), "dora": (1002, [.admin]),
        "vera": (1003, [.viewer]),
    ]
    let (uid, roles) = people[user] ?? (65534, [])
    return Caller(
        identity: Identity(uid: uid, user: user, groups: [], pid: 4242),
        roles: roles
    )
}

let alice = caller("alice")
let bob = caller("bob")
let dora = caller("dora")
let vera = caller("vera")

func ask(
    _ targets: String...,
    from sources: String...,
    for duration: String = "10m",
    reason: String? = nil
) -> Ask {
    Ask(targets: targets, sources: sources, duration: duration, reason: reason)
}

func key(_ source: String, _ port: UInt16 = 22) throws -> ElementKey {
    ElementKey(
        source: try CIDR(parsing: source),
        transport: .tcp,
        port: port
    )
}

/// Whether an element ends when it should: never later, and sooner by no more than the test may
/// have taken on a busy machine.
func expectEnd(
    _ left: Int64?,
    of milliseconds: Int64,
    late: Int64 = 40,
    early: Int64 = 30_000,
    at place: SourceLocation = #_sourceLocation
) {
    guard let left else {
        Issue.record("the element is not in the kernel", sourceLocation: place)
        return
    }
    #expect(left <= milliseconds + late, sourceLocation: place)
    #expect(left >= milliseconds - early, sourceLocation: place)
}

/// What something is refused with.
func problem(_ body: () async throws -> some Any) async -> Problem? {
    do {
        _ = try await body()
        return nil
    } catch {
        return error as? Problem
    }
}

extension RequestDocument {
    var number: Int64 { Int64(id) ?? 0 }
}

extension Agent {
    @discardableResult
    func open(_ ask: Ask, by caller: Caller = alice) async throws -> RequestDocument {
        try await open(ask, idempotencyKey: nil, by: caller)
    }
}

extension Agent {
    /// Lets changes wait, until `letGo` commits them all at once.
    func hold() { isCommitting = true }

    func letGo() async throws {
        isCommitting = false
        try await commit(closesOnly: true) { _, _ throws(Problem) in (Change(), ()) }
    }
}

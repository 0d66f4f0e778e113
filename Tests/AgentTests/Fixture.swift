import API
import Access
import Dispatch
import GRDB
import Gate
import Ledger
import Linux
import Logging
import Nftables
import Policy
import Survey
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import Agent
@testable import Settings

/// The machine's clocks, moved by hand.
final class SteppedClocks: Clocks {
    private struct Offsets {
        var wall = Duration.zero
        var boot = Duration.zero
        var bootID = "boot-1"
    }
    private let real: SystemClocks
    private let offsets = Mutex(Offsets())

    init() throws { real = try SystemClocks() }

    var bootID: String { offsets.withLock(\.bootID) }

    func now() -> Moment {
        let (now, moved) = (real.now(), offsets.withLock(\.self))
        return Moment(wall: now.wall + moved.wall, boot: now.boot + moved.boot)
    }

    /// Lets time pass, for the agent but not for the kernel: as in suspend.
    func pass(_ time: Duration) {
        offsets.withLock {
            $0.wall += time
            $0.boot += time
        }
    }

    /// Lets time pass until a minute since boot begins.
    func passToNextMinute() {
        pass(.milliseconds(60_000 - now().boot.milliseconds % 60_000))
    }

    /// Sets the wall clock forward, or back.
    func setWallClock(by step: Duration) { offsets.withLock { $0.wall += step } }

    /// Boots the machine: the time since boot begins anew.
    func reboot() {
        let boot = real.now().boot
        offsets.withLock {
            $0.boot = BootTime(milliseconds: 30_000) - boot
            $0.bootID += "'"
        }
    }
}

/// A host with a network namespace, a state directory, clocks and a configuration of its own, whose
/// ledger and kernel can be made to fail.
final class Host: ConfigurationSource {
    let clocks: SteppedClocks
    let store = StoreFaults()
    let kernel = KernelFaults()
    /// What the agent has logged as errors.
    let log = ErrorLog()
    let configuration: Mutex<Result<AgentConfiguration, ConfigurationError>>
    /// The files that are the configuration instead.
    private let files: TemporaryFolder?
    /// What is kept to start from where the files cannot be used.
    let remembered = Mutex<AgentConfiguration?>(nil)
    /// Whether nothing can be kept in the state directory.
    let isStateUnwritable = Mutex(false)
    private let wakeAt = Mutex<BootTime?>(nil)
    let namespace: NetworkNamespace
    private let folder: TemporaryFolder
    private let connection: Connection
    private let madeAt = ContinuousClock.now

    init(
        _ policies: [AccessPolicy]? = nil,
        breakGlass: [CIDR] = [],
        files: TemporaryFolder? = nil
    ) throws {
        self.files = files
        namespace = try NetworkNamespace()
        clocks = try SteppedClocks()
        connection = try namespace.run { try Connection() }
        folder = try TemporaryFolder()
        var configuration = AgentConfiguration(policyDirectory: "/nowhere")
        configuration.roles = RoleTable([
            .requester: [
                .user("alice"), .user("bob"), .asserted(issuer: "corp", group: "ops"),
            ],
            .approver: [.user("carol"), .user("erin"), .asserted(issuer: "corp", group: "leads")],
            .admin: [.user("dora")],
            .viewer: [.user("vera"), .asserted(issuer: "corp", group: "audit")],
        ])
        configuration.policies = try policies ?? Self.policies
        configuration.breakGlass = breakGlass
        self.configuration = Mutex(.success(configuration))
    }

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

    func read() throws(ConfigurationError) -> AgentConfiguration {
        if let files { return try AgentConfiguration.load(file: files.path + "/sallyport.yaml") }
        return try configuration.withLock(\.self).get()
    }

    func remember(_ configuration: AgentConfiguration) {
        remembered.withLock { $0 = configuration }
    }

    func keep(_ trial: Trial?) throws(SystemError) {
        if isStateUnwritable.withLock(\.self) {
            throw SystemError(call: "open", errno: .noSpace)
        }
        try Trial.keep(trial, in: folder.path)
    }

    func keep(_ disarmament: Disarmament?) throws(SystemError) {
        if isStateUnwritable.withLock(\.self) {
            throw SystemError(call: "open", errno: .noSpace)
        }
        try Disarmament.keep(disarmament, in: folder.path)
    }

    /// What an agent that starts now begins with.
    func start() throws -> ConfigurationStart {
        try ConfigurationStart.begin(
            file: try #require(files).path + "/sallyport.yaml",
            stateDirectory: folder.path,
            at: clocks.now(),
            bootID: clocks.bootID
        )
    }

    /// An agent as it starts from the files and the state directory.
    func restarted() async throws -> Agent {
        let start = try start()
        let ledger = try await openLedger()
        try await waitUntilAgentIsGone()
        return try await agent(
            gate: gate(),
            ledger: ledger,
            origin: start.origin,
            fault: start.fault,
            start
        )
    }

    /// A gate of this host's kernel.
    func gate(owning: Bool = true) throws -> Gate { try namespace.run { try Gate(owning: owning) } }

    /// Makes another process the owner of the table, so that the kernel refuses the agent's changes
    /// as long as what is returned lives.
    func stealTable() throws -> Gate {
        try nft("delete", "table", "inet", "sallyport")
        let thief = try gate()
        try namespace.run { [clocks] in
            try thief.arm(managed: [], breakGlass: [], holding: .whatIsThere) { clocks.now().boot }
        }
        return thief
    }

    /// Joins the host, 198.51.100.1, to a client, 198.51.100.7 and .8.
    func connect(to client: NetworkNamespace) throws {
        try namespace.connect(
            "eth0",
            ["198.51.100.1/24"],
            to: client,
            "eth0",
            ["198.51.100.7/24", "198.51.100.8/24"]
        )
    }

    /// Hears of what others than a gate change in the kernel.
    func monitor(besides gate: Gate) throws -> RulesetMonitor {
        try namespace.run { try RulesetMonitor(besides: gate) }
    }

    /// An agent as the daemon makes it, without socket, timers and signals.
    func agent(
        owning: Bool = true,
        origin: ConfigurationOrigin = .files,
        fault: ConfigurationError? = nil
    ) async throws -> Agent {
        let ledger = try await openLedger()
        try await waitUntilAgentIsGone()
        return try await agent(
            gate: gate(owning: owning),
            ledger: ledger,
            origin: origin,
            fault: fault
        )
    }

    /// The state of this host.
    var reader: any HostReading { NamespaceReader(namespace: namespace) }

    private struct NamespaceReader: HostReading {
        let namespace: NetworkNamespace

        func read(routesTo networks: [CIDR]) throws -> HostState {
            try namespace.run { try ThisHost().read(routesTo: networks) }
        }
    }

    /// An agent with a gate of the test's own.
    func agent(
        gate: Gate,
        ledger: Ledger? = nil,
        reader: (any HostReading)? = nil,
        origin: ConfigurationOrigin = .files,
        fault: ConfigurationError? = nil,
        _ start: ConfigurationStart? = nil
    ) async throws -> Agent {
        var ledger = ledger
        if ledger == nil { ledger = try await openLedger() }
        let opened = try #require(ledger)
        return try await Agent(
            configuration: start?.configuration ?? read(),
            origin: origin,
            fault: fault,
            trials: (start?.trial, undone: start?.undone),
            disarmed: start?.disarmed,
            source: self,
            gate: FaultyGate(gate: gate, faults: kernel),
            ledger: opened,
            store: FaultyStore(ledger: opened, faults: store),
            host: reader ?? self.reader,
            clocks: clocks,
            executor: Queue(),
            logger: Logger(label: "agent") { [log] _ in log },
            wake: { end in self.wakeAt.withLock { $0 = end } }
        )
    }

    /// Waits until the table is nobody's.
    func waitUntilAgentIsGone() async throws {
        // A program that another test starts keeps the old gate's socket until it is executed.
        _ = try await eventually {
            try connection.tables().first { $0.name == table.name }?.owner == nil
        }
    }

    /// Opens the ledger when the agent before has let go of it.
    private func openLedger() async throws -> Ledger {
        var ledger: Ledger?
        _ = try await eventually {
            ledger = try? Ledger(directory: folder.path, bootID: clocks.bootID)
            return ledger != nil
        }
        return try ledger ?? Ledger(directory: folder.path, bootID: clocks.bootID)
    }

    /// Takes away what the agent notes beside its ledger.
    func removeReserve() throws { try shell("rm", folder.path + "/ledger.reserve").get() }

    // MARK: What is there

    /// What the agent wants to be woken at.
    var nextEnd: BootTime? { wakeAt.withLock(\.self) }

    /// What the kernel lets in, with the milliseconds left.
    func elements() throws -> [ElementKey: Int64] {
        var left: [ElementKey: Int64] = [:]
        for set in try connection.sets(in: table) {
            guard let prefix = Int(set.name.split(separator: "_").last ?? "") else { continue }
            for element in try connection.elements(of: set) {
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

    /// Checks that the kernel lets in these and no others, with so many minutes left: never more,
    /// and fewer only by what has passed since the test began.
    func expectOpen(
        _ minutes: KeyValuePairs<String, Int64>,
        at place: SourceLocation = #_sourceLocation
    ) throws {
        let left = try elements()
        let age = (ContinuousClock.now - madeAt).wholeMilliseconds
        #expect(try Set(left.keys) == Set(minutes.map { try key($0.key) }), sourceLocation: place)
        for (name, minutes) in minutes {
            guard let left = left[try key(name)] else { continue }
            // The kernel counts in ticks of up to 10 ms.
            #expect(left <= minutes * 60_000 + 10, "\(name)", sourceLocation: place)
            #expect(left >= minutes * 60_000 - age - 10, "\(name)", sourceLocation: place)
        }
    }

    /// The ports the kernel closes unless granted.
    func managedPorts() throws -> Set<UInt16> {
        let set = try #require(connection.sets(in: table).first { $0.name == "managed" })
        let port = { (key: Nftables.Key) in UInt16(key.bytes[4]) << 8 | UInt16(key.bytes[5]) }
        return Set(
            try connection.elements(of: set).flatMap { port($0.key)...port($0.keyEnd ?? $0.key) }
        )
    }

    private var table: Nftables.Table { Nftables.Table(family: .inet, name: "sallyport") }

    /// The table as nft shows it, but for times, counters and handles.
    func listing() throws -> String {
        let text = try namespace.run { try shell("nft", "-s", "list", "ruleset").get() }
        return text.replacing(#/ (timeout|expires) [0-9a-z]+/#, with: "")
    }

    /// Another program's connection to this host's kernel.
    func otherFirewall() throws -> Connection { try namespace.run { try Connection() } }

    /// Whether the kernel has no table of a gate.
    func tableIsGone() throws -> Bool {
        try !connection.tables().contains { $0.name == table.name }
    }

    func nft(_ arguments: String...) throws { try nft(arguments) }

    func nft(_ arguments: [String]) throws {
        try namespace.run { _ = try shell(["nft"] + arguments).get() }
    }

    /// Another program's connection to the ledger.
    func otherConnection() throws -> DatabaseQueue {
        var configuration = GRDB.Configuration()
        configuration.busyMode = .timeout(5)
        return try DatabaseQueue(
            path: folder.path + "/ledger.sqlite",
            configuration: configuration
        )
    }

    /// From now on the ledger can be written but not read.
    func makeUnreadable() async throws {
        try await otherConnection().write {
            try $0.execute(sql: "ALTER TABLE requests RENAME COLUMN name TO nome")
        }
    }

    /// How grants were used, as the ledger has it: id, packets, whether it is thought live.
    func recordedUses() throws -> [String] {
        try otherConnection().read { db in
            try Row.fetchAll(db, sql: "SELECT id, packets, is_live FROM uses ORDER BY id").map {
                let row: Int64 = $0[0]
                return "\(row / 10_000).\(row % 10_000) \($0[1] as Int64) \($0[2] as Int64)"
            }
        }
    }

    /// The grants of a request in the ledger: `active/-`, `revoked/closed-by-requester`.
    func stored(_ request: Int64) throws -> [String] {
        try otherConnection().read { db in
            try Row.fetchAll(
                db,
                sql: "SELECT state, end_reason FROM grants WHERE request = ? ORDER BY id",
                arguments: [request]
            ).map { "\($0[0] as String)/\($0[1] as String? ?? "-")" }
        }
    }

    /// The audit trail from the beginning, or rows of one kind.
    func audit(_ kind: String? = nil) throws -> [AuditRow] {
        try otherConnection().read { db in
            try AuditRow.fetchAll(
                db,
                sql: "SELECT * FROM audit WHERE event = ?1 OR ?1 IS NULL ORDER BY id",
                arguments: [kind]
            )
        }
    }
}

/// Keeps the texts that are logged as errors.
struct ErrorLog: LogHandler {
    private final class Texts: Sendable { let all = Mutex<[String]>([]) }

    private let texts = Texts()
    var logLevel = Logger.Level.error
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    var errors: [String] { texts.all.withLock(\.self) }

    func log(event: LogEvent) { texts.all.withLock { $0.append("\(event.message)") } }
}

/// What the tests look at of a row of the audit trail.
struct AuditRow: Decodable, FetchableRecord {
    var event: String
    var subject: String?
    var via: String?
    var request: Int64?
    var requester: String?
    var policy: String?
    var port: String?
    var host: String?
    var source: String?
    var reason: String?
    var detail: String?
}

/// Runs an actor on a queue of its own.
private final class Queue: SerialExecutor, TaskExecutor {
    private let queue = DispatchQueue(label: "agent")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async {
            job.runSynchronously(
                isolatedTo: self.asUnownedSerialExecutor(),
                taskExecutor: self.asUnownedTaskExecutor()
            )
        }
    }
}

// MARK: People

func local(_ name: String, _ uid: UInt32, _ roles: Set<Role>) -> Caller {
    Caller(
        identity: Identity(
            subject: .local(uid: uid),
            name: name,
            groups: [],
            origin: .process(.init(pid: 4242))
        ),
        roles: roles
    )
}

let alice = local("alice", 1000, [.requester])
let bob = local("bob", 1001, [.requester])
let dora = local("dora", 1002, [.admin])
let vera = local("vera", 1003, [.viewer])
let carol = local("carol", 1004, [.approver])
let erin = local("erin", 1005, [.approver])

// MARK: Asking

func ask(
    _ targets: String...,
    from sources: String...,
    for duration: String = "10m",
    reason: String? = nil
) -> Ask {
    Ask(targets: targets, sources: sources, duration: duration, reason: reason)
}

/// `198.51.100.7` for port 22, or `198.51.100.7 5985`.
func key(_ text: String) throws -> ElementKey {
    let parts = text.split(separator: " ")
    return ElementKey(
        source: try CIDR(parsing: String(parts[0])),
        transport: .tcp,
        port: parts.count > 1 ? try #require(UInt16(parts[1])) : 22
    )
}

func grant(_ request: Int64, _ ordinal: Int = 1) -> Grant.ID {
    Grant.ID(request: request, ordinal: ordinal)
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

extension Agent {
    @discardableResult
    func open(_ ask: Ask, by caller: Caller = alice) async throws -> RequestDocument {
        try await opened(ask, by: caller).request
    }

    func opened(_ ask: Ask, key: String? = nil, by caller: Caller = alice) async throws -> Opened {
        try await open(ask, idempotencyKey: key, by: caller) { $0 }
    }

    @discardableResult
    func reload(by caller: Caller) async throws -> PolicyList {
        try await reload(on: ChangeTerms(), by: caller)
    }

    func revoke(request id: Int64, by caller: Caller) async throws -> RequestDocument {
        try await revoke(request: id, reason: nil, by: caller)
    }

    @discardableResult
    func extend(
        request id: Int64,
        by addition: Duration,
        by caller: Caller
    ) async throws -> RequestDocument {
        try await extend(request: id, by: addition, for: Grounds(), by: caller)
    }

    /// How many grants are live.
    var liveGrants: Int { get async { await committer.plan.count } }

    /// How many changes wait for the commit under way.
    var waiting: Int { get async { await committer.waitingCount } }
}

extension Committer {
    fileprivate var waitingCount: Int { waiting.count }
}

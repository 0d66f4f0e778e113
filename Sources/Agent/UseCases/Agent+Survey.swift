public import API
public import Access
import Gate
import Linux
public import Policy
import Settings
public import Survey
import Synchronization

/// Where the state of the host is read.
public protocol HostReading: Sendable {
    /// Reads it, and the routes to some networks, which blocks; called on a thread of its own.
    func read(routesTo networks: [CIDR]) throws -> HostState
}

/// The host, in the network namespace that the process was started in.
public struct ThisHost: HostReading {
    /// Makes a reader.
    public init() {}

    /// Reads all that the limits of ``HostState`` allow.
    public func read(routesTo networks: [CIDR]) throws -> HostState {
        try HostState.read(besides: Gate.tablePlace, routesTo: networks)
    }
}

extension Agent {
    /// What of the host takes connections, and whether it is managed.
    public func discover(for caller: Caller) async throws -> DiscoverDocument {
        try caller.requireWholeHost(to: .discover)
        return try await discoveries.value(on: committer.executor) { [self] in
            await surveyed { $0.services() }
        }.get()
    }

    /// What on the host would defeat the gate, or leads past it.
    public func examine(for caller: Caller) async throws -> DoctorDocument {
        try caller.requireWholeHost(to: .examine)
        return try await examinations.value(on: committer.executor) { [self] in
            await surveyed { $0.document() }
        }.get()
    }

    /// Reads the host and judges what is there, on a thread of its own: both take as long as the
    /// ruleset is long.
    private func surveyed<Document: Sendable>(
        _ judge: @escaping @Sendable (inout Examination) -> Document
    ) async -> Result<Document, Problem> {
        let configuration = await committer.configuration
        let openings = await committer.openings(atMost: 64)
        let disarmed = await committer.disarmed
        let situation = Situation(
            gate: Gate.tablePlace,
            gatePriority: Gate.priority,
            gateFault: disarmed?.sentence ?? gateFault,
            isDisarmed: disarmed != nil,
            isGateOwned: gate.isOwned,
            policies: configuration.policySet.policies,
            openings: openings,
            hasBreakGlass: !configuration.breakGlass.isEmpty
        )
        let users = configuration.delegates.map { ($0.user, $0.name) }
        let document = await onOwnThread { [host] () -> Result<Document, Problem> in
            do {
                var situation = situation
                for (user, name) in users {
                    if let uid = NameService.uid(ofUser: user) { situation.delegates[uid] = name }
                }
                var examination = Examination(try host.read(routesTo: situation.ways), situation)
                return .success(judge(&examination))
            } catch {
                return .failure(Problem(.kernelRefused, "cannot look at the host: \(error)"))
            }
        }
        return document
            ?? .failure(Problem(.internalError, "cannot look at the host: no thread can be had"))
    }

    private var gateFault: String? {
        do throws(GateError) {
            return try gate.inspect().fault
        } catch {
            return "\(error)"
        }
    }
}

extension Caller {
    /// Throws where the caller is somebody of a delegate that is for some policies alone.
    fileprivate func requireWholeHost(to operation: Operation) throws(Problem) {
        guard let via = identity.via, via.policies != nil else { return }
        throw Problem(
            .notPermitted,
            "cannot \(operation.rawValue): \(via.name) is for some policies alone, and this is about "
                + "the whole host"
        )
    }
}

extension Committer {
    /// What live grants let in, or as much of it as is looked at: each port and source once.
    fileprivate func openings(atMost limit: Int) -> [Situation.Opening] {
        Array(
            Set(
                plan.allGrants.prefix(limit).map {
                    Situation.Opening(port: $0.port, source: $0.source, host: $0.host)
                }
            )
        )
    }
}

/// Something that takes long, done once for all who ask for it while it is being done.
final class Shared<Value: Sendable>: Sendable {
    private let running = Mutex<(number: Int, task: Task<Value, Never>)?>(nil)
    private let count = Atomic<Int>(0)

    /// What `make` makes, or what is being made already.
    func value(
        on executor: any TaskExecutor,
        _ make: @escaping @Sendable () async -> Value
    ) async -> Value {
        let (number, task) = running.withLock { running in
            if let running { return running }
            let number = count.add(1, ordering: .relaxed).newValue
            let made = (number, Task(executorPreference: executor) { await make() })
            running = made
            return made
        }
        let value = await task.value
        running.withLock { if $0?.number == number { $0 = nil } }
        return value
    }
}

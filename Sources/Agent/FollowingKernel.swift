import Gate
import Logging
import Policy
import Settings

/// The kernel's table, and how it stands to what it should be.
struct FollowingKernel {
    private let gate: any GateControl
    private let clocks: any Clocks
    private let logger: Logger
    private var standing = Standing.behind
    /// What break-glass sources had let in when the audit trail was last told, and when that was.
    private var breakGlassTold: [CIDR: (packets: UInt64, at: BootTime)] = [:]

    /// How the table stands to the plan.
    private enum Standing {
        /// It differs in what the commit under way changes, and in nothing else.
        case inStep
        /// It may differ in anything.
        case behind
    }

    /// One that may differ in anything.
    init(_ gate: any GateControl, clocks: any Clocks, logger: Logger) {
        self.gate = gate
        self.clocks = clocks
        self.logger = logger
    }

    var isBehind: Bool { if case .behind = standing { true } else { false } }

    /// Notes that it may differ in anything.
    mutating func fallBehind() { standing = .behind }

    /// Makes changes of elements ready, in case that ``bring(to:or:of:)`` can make just them.
    func prepare(_ changes: [ElementChange]) {
        if !isBehind { gate.prepare(changes, now: clocks.now().boot) }
    }

    /// Makes changes that are ready, on whatever thread.
    func begin(_ changes: [ElementChange]) -> @Sendable () -> Void {
        { [gate, clocks] in gate.begin(changes, now: clocks.now().boot) }
    }

    /// Commits changes of elements; where that fails, reads the kernel back and makes it what the
    /// plan says.
    mutating func bring(
        to changes: [ElementChange],
        or plan: Plan,
        of configuration: AgentConfiguration
    ) throws {
        guard !isBehind else { return try make(configuration, holding: plan) }
        guard !changes.isEmpty else { return }
        do {
            try gate.apply(changes, now: clocks.now().boot)
        } catch {
            logger.warning("\(error); making the table anew")
            try make(configuration, holding: plan)
        }
    }

    /// Makes the table what configuration and plan say it should be.
    mutating func make(_ configuration: AgentConfiguration, holding plan: Plan) throws {
        standing = .behind
        try arm(configuration, holding: .exactly(plan))
        standing = .inStep
    }

    /// Makes all of the table anew but what is open, which stays as it is.
    mutating func adopt(_ configuration: AgentConfiguration) throws {
        if try arm(configuration, holding: .whatIsThere) { standing = .behind }
    }

    @discardableResult
    private mutating func arm(
        _ configuration: AgentConfiguration,
        holding: Holding
    ) throws -> Bool {
        let wasMissing = try gate.arm(
            managed: configuration.policySet.managedPorts,
            breakGlass: configuration.breakGlass,
            holding: holding,
            now: { [clocks] in clocks.now().boot }
        )
        // A gate that was made anew counts from zero.
        breakGlassTold = [:]
        return wasMissing
    }

    /// How many packets of a break-glass source the audit trail has to be told of; nil for none.
    ///
    /// The first use is told at once, what follows within an hour all together.
    mutating func breakGlassPackets(
        of source: CIDR,
        are packets: UInt64,
        isLast: Bool
    ) -> UInt64? {
        let (told, now) = (breakGlassTold[source], clocks.now().boot)
        guard packets > told?.packets ?? 0,
            isLast || told.map({ now - $0.at >= .seconds(3_600) }) ?? true
        else { return nil }
        breakGlassTold[source] = (packets, now)
        return packets - (told?.packets ?? 0)
    }
}

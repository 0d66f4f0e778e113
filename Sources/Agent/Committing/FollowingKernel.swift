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
    /// Whether the table was taken away, and is not to be made.
    var isDisarmed = false
    /// How often the elements were put in anew, all of them: then they count from zero.
    private(set) var remakes = 0
    /// What break-glass sources have let in, in all.
    private var breakGlassUse: [CIDR: BreakGlassUse] = [:]

    /// What a break-glass source has let in.
    ///
    /// A gate that is made anew counts from zero.
    private struct BreakGlassUse {
        /// Before the gate was made anew.
        var before: UInt64 = 0
        /// What the gate had counted when it was looked at.
        var seen: UInt64 = 0
        /// What the audit trail was told of, and when.
        var told: UInt64 = 0
        var toldAt: BootTime?
    }

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
        if !isBehind, !isDisarmed { gate.prepare(changes, now: clocks.now().boot) }
    }

    /// Makes changes that are ready, on whatever thread.
    func begin(_ changes: [ElementChange]) -> @Sendable () -> Void {
        { [gate, clocks, isDisarmed] in
            if !isDisarmed { gate.begin(changes, now: clocks.now().boot) }
        }
    }

    /// Commits changes of elements; where that fails, reads the kernel back and makes it what the
    /// plan says.
    mutating func bring(
        to changes: [ElementChange],
        or plan: Plan,
        of configuration: AgentConfiguration
    ) throws {
        guard !isDisarmed else { return }
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
        guard !isDisarmed else { return }
        try arm(configuration, holding: .exactly(plan))
        standing = .inStep
    }

    /// Makes all of the table anew but what is open, which stays as it is.
    mutating func adopt(_ configuration: AgentConfiguration) throws {
        guard !isDisarmed else { return }
        if try arm(configuration, holding: .whatIsThere) { standing = .behind }
    }

    @discardableResult
    private mutating func arm(
        _ configuration: AgentConfiguration,
        holding: Holding
    ) throws -> Bool {
        // Where it cannot be read any more, what was seen last has to do.
        let used = (try? gate.breakGlass()) ?? []
        for source in Set(breakGlassUse.keys).union(used.map(\.source)) {
            var use = breakGlassUse[source, default: BreakGlassUse()]
            use.before += max(use.seen, used.first { $0.source == source }?.packets ?? 0)
            use.seen = 0
            breakGlassUse[source] = use
        }
        let wasMissing = try gate.arm(
            managed: configuration.policySet.managedPorts,
            breakGlass: configuration.breakGlass,
            holding: holding,
            now: { [clocks] in clocks.now().boot }
        )
        if case .whatIsThere = holding, !wasMissing {} else { remakes += 1 }
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
        let now = clocks.now().boot
        var use = breakGlassUse[source, default: BreakGlassUse()]
        use.seen = packets
        defer { breakGlassUse[source] = use }
        let all = use.before + packets
        guard all > use.told, isLast || use.toldAt.map({ now - $0 >= .seconds(3_600) }) ?? true
        else { return nil }
        defer { (use.told, use.toldAt) = (all, now) }
        return all - use.told
    }

    /// What a break-glass source has let in since the agent started, with what the gate counts now.
    func breakGlassPackets(of source: CIDR, with packets: UInt64) -> UInt64 {
        (breakGlassUse[source]?.before ?? 0) + packets
    }
}

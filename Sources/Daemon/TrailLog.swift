import API
import Agent
import Ledger
import Logging
import Policy
import ServiceLifecycle

/// Tells the log what is recorded, with each event's fields, and now and then the head of the chain:
/// what the journal has is beyond the reach of who writes the ledger.
actor TrailLog {
    /// Events between two heads.
    private static let headInterval: Int64 = 1_000

    private let ledger: Ledger
    private let logger: Logger
    private let isWhole: Bool
    /// What is not even read for the log.
    private let unwanted: Set<AuditKind>
    private var position: Int64

    /// - Parameters:
    ///   - ledger: Its next event is the first that is told.
    ///   - logger: Takes the events.
    ///   - isWhole: Whether it takes all of them; else only refusals and what is worse.
    init(_ ledger: Ledger, logger: Logger, isWhole: Bool) {
        self.ledger = ledger
        self.logger = logger
        self.isWhole = isWhole
        unwanted = isWhole ? [] : Set(AuditKind.allCases.filter { $0.level < .notice })
        position = ledger.newestEvent
    }

    /// Tells what was recorded since it was last called.
    func catchUp() async {
        do {
            let newest = ledger.newestEvent
            let rows = ledger.allAudit(AuditFilter(), without: unwanted, after: position)
            for try await rows in rows {
                for row in rows {
                    tell(row)
                    position = row.sequence
                    if position % Self.headInterval == 0 { tellHead(row.sequence, row.hash) }
                }
            }
            position = max(position, newest)
        } catch {
            logger.error("cannot read what was recorded: \(error)")
        }
    }

    /// Tells the head of the chain.
    func tellHead() {
        let (sequence, hash) = ledger.head
        tellHead(sequence, hash)
    }

    private func tellHead(_ sequence: Int64, _ hash: String) {
        guard isWhole else { return }
        logger.info(
            "head of the audit trail: event \(sequence) has the hash \(hash)",
            metadata: ["head": "\(hash)", "sequence": "\(sequence)"]
        )
    }

    private func tell(_ row: AuditRow) {
        let fields = AuditCSV.fields(of: row).map {
            ($0.name, Logger.MetadataValue.string($0.text))
        }
        logger.log(
            level: AuditKind(rawValue: row.event)?.level ?? .error,
            "\(row.sentence)",
            metadata: isWhole ? Dictionary(uniqueKeysWithValues: fields) : nil
        )
    }
}

/// Follows what is recorded as long as the agent runs.
struct TrailLogService: Service {
    let agent: Agent
    let log: TrailLog

    func run() async throws {
        for await _ in agent.recordings.cancelOnGracefulShutdown() {
            await log.catchUp()
            // Many at once cost less than one by one.
            try? await Task.sleep(for: .milliseconds(100))
        }
    }
}

extension AuditKind {
    /// How much it matters; why a grant failed the agent says itself.
    fileprivate var level: Logger.Level {
        switch self {
        case .refused, .denied, .delegateRefused, .ledgerRepaired, .policyChanged, .policyRemoved:
            .notice
        case .gateTampered, .breakGlassUsed, .configurationRefused, .takenBack: .warning
        case .ledgerRowsLost: .error
        default: .info
        }
    }
}

extension AuditRow {
    /// The event in one line, for people.
    fileprivate var sentence: String {
        let who = name.map { name in "by \(name)" + (via.map { " through \($0)" } ?? "") }
        let what = [policy, port, source.map { "from \($0)" }].compactMap(\.self)
        let parts = [
            grant ?? request, what.isEmpty ? nil : what.joined(separator: " "), who,
            requesterName.map { "requested by \($0)" }, outcome, reason.map { "\"\($0)\"" }, detail,
        ]
        let line = ([event] + parts.compactMap(\.self)).joined(separator: ", ")
        // Whole: each of its parts has a limit, and the log may be all there is to read later.
        return printable(line, most: .max)
    }
}

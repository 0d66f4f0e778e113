internal import Policy

/// One row of the audit trail.
struct AuditRecord {
    /// What happened.
    enum Kind {
        case requested, approved, denied, cancelled, lapsed
        case opened, ended, extended, takenBack, shortened
        case noted(Notice.Kind)

        var word: String {
            switch self {
            case .requested: "requested"
            case .approved: "approved"
            case .denied: "denied"
            case .cancelled: "cancelled"
            case .lapsed: "lapsed"
            case .opened: "opened"
            case .ended: "ended"
            case .extended: "extended"
            case .takenBack: "extension-taken-back"
            case .shortened: "shortened"
            case .noted(let kind): kind.rawValue
            }
        }
    }

    /// The place in the trail, from 1: no number is used twice, and none is left out.
    var sequence: Int64
    /// When it was recorded.
    var at: Timestamp
    var kind = Kind.opened
    /// Who did it; nil for the agent.
    var actor: Person?
    /// The request it is about, where it is about no grant.
    var request: Int64?
    /// The grant it is about.
    var grant: Grant.ID?
    var policy: String?
    var port: String?
    var source: String?
    var reason: String?
    var ticket: String?
    /// Where the grant or request stands now.
    var outcome: GrantState?
    /// What else there is to know: why it ended, until when it goes, or how long it is to be.
    var detail: String?

    /// The row in the one order there is: the table, what is written and what may be hashed some
    /// day all go by it.
    static let columns: [Column<AuditRecord>] =
        [
            Column("id", "INTEGER PRIMARY KEY") { .integer($0.sequence) },
            Column("at", "INTEGER NOT NULL") { Field($0.at) },
            Column("event", "TEXT NOT NULL") { .text($0.kind.word) },
        ] + Person.columns.of { $0.actor } + [
            Column("request", "INTEGER") { Field($0.grant?.request ?? $0.request) },
            Column("ordinal", "INTEGER") { Field($0.grant?.ordinal) },
            Column("policy", "TEXT") { Field($0.policy) },
            Column("port", "TEXT") { Field($0.port) },
            Column("source", "TEXT") { Field($0.source) },
            Column("reason", "TEXT") { Field($0.reason) },
            Column("ticket", "TEXT") { Field($0.ticket) },
            Column("outcome", "TEXT") { Field($0.outcome?.rawValue) },
            Column("detail", "TEXT") { Field($0.detail) },
        ]
}

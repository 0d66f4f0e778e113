import Policy

/// What a command has to say: the document for `--json`, and the same for people.
struct Report {
    /// The API's document, printed alone on standard output with `--json`.
    var document: any Encodable
    /// What people read on standard output instead.
    var lines: [String]
    /// What is told on standard error in both cases.
    var notes: [String] = []
    /// Parts of the work that failed while others were done.
    var failures: [any Error] = []
    /// The exit status where nothing failed.
    var status = ExitStatus.done
}

/// The exit statuses, those of `sysexits.h`; scripts compare them.
enum ExitStatus: Int32 {
    case done = 0
    case usage = 64
    case invalid = 65
    case unreachable = 69
    case internalError = 70
    case notPermitted = 77
}

/// What a command knows of the world around it besides the agent.
struct Surroundings: Sendable {
    var environment: [String: String]
    /// The effective user id, which is what the agent sees.
    var uid: UInt32
    /// Looks up the name of that user, maybe in a directory; nil where it has none.
    var user: @Sendable () -> String?
    var time: TimeTeller
}

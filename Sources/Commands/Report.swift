import Policy

/// What came of a command, besides what it printed on standard output.
struct Report {
    /// What is told on standard error.
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
    /// Others have to agree, or the start lies ahead.
    case pending = 75
    case notPermitted = 77
}

/// What a command knows of the world around it besides the agent.
struct Surroundings: Sendable {
    /// The value of an environment variable; nil where it is not set.
    var environment: @Sendable (String) -> String?
    /// The value of one in the nearest process above this one that has it; nil where none does.
    var environmentAbove: @Sendable (String) -> String? = { _ in nil }
    /// The path of this program; nil where the system does not say.
    var program: String?
    /// Who the agent takes the caller for.
    var subject: Subject
    /// How instants are told as of the start of the command.
    var time: TimeTeller
    /// The instant by the wall clock.
    var now: @Sendable () -> Timestamp
    /// What standard output is.
    var screen: Screen
    /// Puts a program and its arguments in this one's place; throws where it cannot be run.
    var become: @Sendable ([String]) throws -> Void
    /// Asks on the terminal for a yes; nil where there is nobody to ask.
    var confirm: (@Sendable (_ question: String) -> Bool)?
}

import Linux
public import Logging
import SystemPackage

extension Daemon {
    /// The agent's logger: to standard error, in the form of systemd's journal where that leads
    /// there.
    public static func makeLogger() -> Logger {
        leadsToJournal
            ? Logger(label: "sallyportd") { _ in JournalHandler() } : Logger(label: "sallyportd")
    }

    /// Compares standard error with what the journal was given, as systemd.exec(5) says for
    /// `$JOURNAL_STREAM`: the variable alone is inherited by programs whose output goes elsewhere.
    static var leadsToJournal: Bool {
        guard let journal = ThisProcess.environment("JOURNAL_STREAM"),
            let status = try? Stat(FileDescriptor.standardError)
        else { return false }
        return journal == "\(status.deviceID.rawValue):\(status.inode.rawValue)"
    }
}

/// Gives the journal entries with fields of their own, `SALLYPORT_` and the name of what a record
/// says besides its text.
///
/// What the journal does not take goes to standard error, each line with its priority
/// (sd-daemon(3)), as it does where there is no journal to be talked to.
private struct JournalHandler: LogHandler {
    var logLevel = Logger.Level.info
    var metadata = Logger.Metadata()

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
        var entry = JournalEntry("\(event.message)", priority: event.level.priority)
        entry.add("SYSLOG_IDENTIFIER", "sallyportd")
        for (name, value) in fields { entry.add("SALLYPORT_\(name)", "\(value)") }
        do throws(SystemError) {
            return try entry.send()
        } catch {}
        let details = fields.map { " \($0)=\($1)" }.sorted().joined()
        let lines = "\(event.message)\(details)".split(separator: "\n")
            .map { "<\(event.level.priority)>\($0)\n" }.joined()
        // Where the log cannot be written, there is nobody to tell.
        try? writeAll(Array(lines.utf8), to: FileDescriptor.standardError.rawValue)
    }
}

extension Logger.Level {
    /// The priority of syslog(3).
    fileprivate var priority: Int {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}

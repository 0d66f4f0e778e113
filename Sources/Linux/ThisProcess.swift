internal import CLinux
internal import Glibc
internal import SystemPackage

/// What the system keeps of this process.
public enum ThisProcess {
    /// What is done when a signal comes.
    public enum SignalAction: Sendable {
        /// Nothing.
        case ignore
        /// What signal(7) lists as its disposition.
        case standard
    }

    /// The user whose rights the process has.
    public static var userID: UInt32 { geteuid() }

    /// The process' number in its PID namespace.
    public static var id: Int32 { getpid() }

    /// The value of an environment variable; nil where it is not set.
    ///
    /// To be called before threads that set variables run: the C library's list has no lock.
    public static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// The value that an environment variable had when the nearest process above this one that was
    /// given it began; nil where none was, or /proc does not show it.
    ///
    /// `sudo` takes most variables away from what it runs, but not from the shell it is called in.
    public static func environmentAbove(_ name: String) -> String? {
        var process = getppid()
        // Deeper than anything that a person starts.
        for _ in 0..<64 where process > 1 {
            let folder = "/proc/\(process)"
            let variables = try? Descriptor.open(folder + "/environ", .readOnly)
                .readAll(atMost: 1 << 20).split(separator: 0)
            for variable in variables ?? [] where variable.starts(with: "\(name)=".utf8) {
                return String(decoding: variable.dropFirst(name.utf8.count + 1), as: UTF8.self)
            }
            guard
                let stat = try? Descriptor.open(folder + "/stat", .readOnly).readAll(atMost: 4096),
                let parent = PeerProcess.field(4, ofStat: stat)
            else { return nil }
            process = pid_t(clamping: parent)
        }
        return nil
    }

    /// The path of the program that runs; nil where the system does not say (proc(5)).
    public static var program: String? {
        unsafe realpath("/proc/self/exe", nil).map { path in
            defer { unsafe free(path) }
            return unsafe String(cString: path)
        }
    }

    /// Runs another program in the place of this one, with the same files open that are not to be
    /// closed then.
    ///
    /// - Parameter words: The path of the program and its arguments.
    /// - Throws: ``SystemError`` where it cannot be run; else nothing comes after this.
    public static func become(_ words: [String]) throws(SystemError) {
        var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
        defer { unsafe arguments.forEach { unsafe free($0) } }
        try systemCall("execv") { unsafe execv(words[0], &arguments) }
    }

    /// Ends the process; of the status the parent sees the lowest 8 bits.
    public static func end(status: Int32) -> Never { exit(status) }

    /// Says what a reader that has gone away does to those who write to it (SIGPIPE).
    public static func onBrokenPipe(_ action: SignalAction) { set(SIGPIPE, action) }

    /// Says what SIGHUP does while nobody waits for it.
    public static func onHangUp(_ action: SignalAction) { set(SIGHUP, action) }

    /// What the process takes of the machine.
    public struct Use: Hashable, Sendable {
        /// Memory that is not swapped out, shared included.
        public var residentBytes: Int
        /// Time on the processors, of user and system.
        public var cpuMicroseconds: Int64
        /// Open descriptors.
        public var openFiles: Int
    }

    /// What the process takes of the machine now (proc(5), getrusage(2)).
    public static var use: Use {
        get throws(SystemError) {
            // Pages: size, resident, shared and more.
            let pages = try firstLine(of: "/proc/self/statm").split(separator: " ")
            let resident = pages.count > 1 ? Int(pages[1]) ?? 0 : 0
            var used = rusage()
            try systemCall("getrusage") {
                unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &used)
            }
            let times = [used.ru_utime, used.ru_stime]
            return Use(
                residentBytes: resident * Int(sysconf(Int32(_SC_PAGESIZE))),
                cpuMicroseconds: times.reduce(0) {
                    $0 + Int64($1.tv_sec) * 1_000_000 + Int64($1.tv_usec)
                },
                // The folder that is listed is one of them.
                openFiles: try folderNames("/proc/self/fd").count - 1
            )
        }
    }

    /// How many files the process may have open (getrlimit(2)).
    public static var openFileLimit: Int {
        Int(clamping: openFiles.rlim_cur)
    }

    /// Lets the process have as many files open as the administrator allows.
    public static func raiseOpenFileLimit() throws(SystemError) {
        var limit = openFiles
        limit.rlim_cur = limit.rlim_max
        try systemCall("setrlimit") {
            unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
    }

    private static var openFiles: rlimit {
        var limit = rlimit()
        // It fails for a wrong resource only.
        _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return limit
    }

    private static func set(_ number: CInt, _ action: SignalAction) {
        // It fails for a wrong number only.
        _ = signal(number, action == .ignore ? SIG_IGN : SIG_DFL)
    }
}

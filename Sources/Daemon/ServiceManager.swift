import Linux

/// The agent's side of systemd's protocols.
///
/// Both are a few lines and documented as stable: sd_notify(3) "Standalone Implementations",
/// sd_listen_fds(3).
enum ServiceManager {
    /// Tells the service manager about the state of the service; does nothing where none listens.
    static func notify(_ state: String) {
        guard let name = ThisProcess.environment("NOTIFY_SOCKET"), !name.isEmpty else { return }
        // A leading @ stands for the abstract namespace.
        let address =
            name.hasPrefix("@")
            ? UnixAddress(abstract: String(name.dropFirst())) : UnixAddress(path: name)
        guard let address else { return }
        // Who does not listen any more need not know.
        try? Descriptor.unixSocket(.datagram).send(Array(state.utf8), to: address)
    }

    /// How often the watchdog wants to hear from the service; nil where it does not.
    static var watchdogInterval: Duration? {
        let pid = ThisProcess.environment("WATCHDOG_PID")
        guard pid.map({ $0 == "\(ThisProcess.id)" }) ?? true else { return nil }
        return ThisProcess.environment("WATCHDOG_USEC").flatMap(Int64.init)
            .map { .microseconds($0) }
    }

    /// The listening socket that was handed over; nil where none was.
    static var listeningDescriptor: Int32? {
        guard ThisProcess.environment("LISTEN_PID") == "\(ThisProcess.id)",
            ThisProcess.environment("LISTEN_FDS") == "1"
        else { return nil }
        // SD_LISTEN_FDS_START
        return 3
    }
}

import CLinux
import Glibc

/// The agent's side of systemd's protocols.
///
/// Both are a few lines and documented as stable: sd_notify(3) "Standalone Implementations",
/// sd_listen_fds(3).
enum ServiceManager {
    /// Tells the service manager about the state of the service; does nothing where none listens.
    static func notify(_ state: String) {
        guard let path = environment("NOTIFY_SOCKET"), !path.isEmpty else { return }
        let descriptor = socket(
            AF_UNIX,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard name.count < capacity else { return }
        // A leading @ stands for the abstract namespace, whose names begin with a zero byte.
        if name[0] == UInt8(ascii: "@") { name[0] = 0 }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        let length = MemoryLayout<sockaddr_un>.size - capacity + name.count
        let message = Array(state.utf8)
        unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = unsafe sendto(
                    descriptor,
                    message,
                    message.count,
                    Int32(MSG_NOSIGNAL),
                    $0,
                    socklen_t(length)
                )
            }
        }
    }

    /// How often the watchdog wants to hear from the service; nil where it does not.
    static var watchdogInterval: Duration? {
        guard environment("WATCHDOG_PID").map({ $0 == "\(getpid())" }) ?? true else { return nil }
        return environment("WATCHDOG_USEC").flatMap(Int64.init).map { .microseconds($0) }
    }

    /// The listening socket that was handed over; nil where none was.
    static var listeningDescriptor: Int32? {
        guard environment("LISTEN_PID") == "\(getpid())", environment("LISTEN_FDS") == "1" else {
            return nil
        }
        // SD_LISTEN_FDS_START
        return 3
    }

    private static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }
}

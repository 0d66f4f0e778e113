import Glibc
public import Policy

/// The clocks a grant is measured with; injected, so that tests can step them.
public protocol Clocks: Sendable {
    /// One reading of the wall clock and of the time since boot.
    func now() -> Moment
    /// What tells one boot of the machine from the next: only within one boot can two readings of
    /// `Moment.boot` be compared.
    var bootID: String { get }
}

/// The machine's own clocks: `CLOCK_REALTIME` and `CLOCK_BOOTTIME`, which also counts suspend.
public struct SystemClocks: Clocks {
    /// The kernel's `boot_id`.
    public let bootID: String

    /// Reads the boot's identity from `/proc/sys/kernel/random/boot_id`.
    ///
    /// - Throws: `AgentError` where the file cannot be read.
    public init() throws(AgentError) {
        guard let text = readSmallFile("/proc/sys/kernel/random/boot_id") else {
            throw AgentError("cannot read /proc/sys/kernel/random/boot_id: is /proc mounted?")
        }
        bootID = text
    }

    /// Both clocks, one right after the other.
    public func now() -> Moment {
        Moment(
            wall: Timestamp(milliseconds: milliseconds(of: CLOCK_REALTIME)),
            boot: milliseconds(of: CLOCK_BOOTTIME)
        )
    }
}

private func milliseconds(of clock: clockid_t) -> Int64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// Reads the first line of a file of at most 256 bytes, as those under `/proc` are.
func readSmallFile(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = unsafe read(descriptor, &buffer, buffer.count)
    guard count > 0 else { return nil }
    let line = buffer[..<count].prefix { $0 != UInt8(ascii: "\n") }
    return String(decoding: line, as: UTF8.self)
}

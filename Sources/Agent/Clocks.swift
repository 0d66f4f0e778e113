import Linux
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
    /// - Throws: `SystemError` where the file cannot be read: is /proc mounted?
    public init() throws {
        bootID = try firstLine(of: "/proc/sys/kernel/random/boot_id")
    }

    /// Both clocks at the same time.
    public func now() -> Moment {
        let (wall, boot) = SystemClock.both()
        return Moment(wall: Timestamp(milliseconds: wall), boot: BootTime(milliseconds: boot))
    }
}

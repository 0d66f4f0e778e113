internal import CLinux
internal import Glibc
internal import SystemPackage

/// A clock of the machine.
public enum SystemClock: Sendable {
    /// The wall clock (`CLOCK_REALTIME`), which is set and steps.
    case wall
    /// The time since boot, suspend included (`CLOCK_BOOTTIME`); it never steps.
    case boot

    /// What it shows, in milliseconds: since 1970, or since boot.
    public var milliseconds: Int64 { nanoseconds / 1_000_000 }

    /// What both show at the same time, in milliseconds.
    ///
    /// As long as the wall clock is not set they stay as far apart as they were: the fractions of
    /// their milliseconds differ, and cut off from each they would let it seem set by one.
    public static func both() -> (wall: Int64, boot: Int64) {
        var (before, wall, after) = (boot.nanoseconds, Self.wall.nanoseconds, boot.nanoseconds)
        // A thread that was kept from it between the two has read different times.
        for _ in 0..<8 where after - before > 20_000 {
            (before, wall, after) = (boot.nanoseconds, Self.wall.nanoseconds, boot.nanoseconds)
        }
        let apart = (wall - (before + after) / 2 + 500_000) / 1_000_000
        return (before / 1_000_000 + apart, before / 1_000_000)
    }

    private var nanoseconds: Int64 {
        var time = timespec()
        // Fails for an unknown clock only.
        _ = unsafe clock_gettime(number, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    fileprivate var number: clockid_t { self == .wall ? CLOCK_REALTIME : CLOCK_BOOTTIME }

    fileprivate func makeTimer() throws(SystemError) -> Descriptor {
        let number = number
        let flags = CInt(TFD_CLOEXEC) | CInt(TFD_NONBLOCK)
        return Descriptor(
            owning: try systemCall("timerfd_create") { timerfd_create(number, flags) }
        )
    }
}

/// A descriptor that becomes readable at an instant since boot.
public struct DeadlineTimer: ~Copyable, Sendable {
    private let timer: Descriptor

    /// Makes a timer that is not set.
    public static func make() throws(SystemError) -> DeadlineTimer {
        DeadlineTimer(timer: try SystemClock.boot.makeTimer())
    }

    private init(timer: consuming Descriptor) { self.timer = timer }

    /// Readable from the deadline on until ``clear()``; it stays the timer's own.
    public var descriptor: CInt { timer.number }

    /// Sets the deadline, in milliseconds of ``SystemClock/boot``, which may have passed; nil for
    /// none.
    public func set(_ deadline: Int64?) throws(SystemError) {
        // 0 would switch the timer off.
        let at = deadline.map { max($0, 1) } ?? 0
        var setting = itimerspec()
        setting.it_value = timespec(tv_sec: Int(at / 1000), tv_nsec: Int(at % 1000) * 1_000_000)
        try systemCall("timerfd_settime") {
            unsafe timerfd_settime(descriptor, CInt(TFD_TIMER_ABSTIME), &setting, nil)
        }
    }

    /// Takes note that the deadline has passed.
    public func clear() {
        var expirations: UInt64 = 0
        // Fails where it has not passed, or was set anew meanwhile.
        _ = unsafe read(descriptor, &expirations, MemoryLayout<UInt64>.size)
    }
}

/// A descriptor that becomes readable when the wall clock is set and when the machine resumes.
public struct ClockStepAlarm: ~Copyable, Sendable {
    private let timer: Descriptor

    /// Makes an alarm that waits for the next step.
    public static func make() throws(SystemError) -> ClockStepAlarm {
        let alarm = ClockStepAlarm(timer: try SystemClock.wall.makeTimer())
        try alarm.rearm()
        return alarm
    }

    private init(timer: consuming Descriptor) { self.timer = timer }

    /// Readable from a step on until ``rearm()``; it stays the alarm's own.
    public var descriptor: CInt { timer.number }

    /// Forgets the last step and waits for the next.
    public func rearm() throws(SystemError) {
        // It never expires by itself; the kernel cancels it at a step (timerfd_create(2)).
        var setting = itimerspec()
        setting.it_value = timespec(tv_sec: Int(Int32.max) * 1000, tv_nsec: 0)
        let flags = CInt(TFD_TIMER_ABSTIME) | CInt(TFD_TIMER_CANCEL_ON_SET)
        try systemCall("timerfd_settime") {
            unsafe timerfd_settime(descriptor, flags, &setting, nil)
        }
    }
}

/// The fields of an instant in the time zone of the process (`TZ`, /etc/localtime).
public struct LocalTime: Hashable, Sendable {
    /// The year of our era.
    public var year: Int
    /// 1 to 12.
    public var month: Int
    /// 1 to 31.
    public var day: Int
    /// 0 to 23.
    public var hour: Int
    /// 0 to 59.
    public var minute: Int

    /// Takes an instant apart, given in whole seconds since 1970.
    public init(secondsSince1970: Int64) {
        // Foundation's calendar would add its 45 MB of tables; libc reads the same zone files.
        var seconds = time_t(secondsSince1970)
        var fields = unsafe tm()
        unsafe localtime_r(&seconds, &fields)
        year = unsafe Int(fields.tm_year) + 1900
        month = unsafe Int(fields.tm_mon) + 1
        day = unsafe Int(fields.tm_mday)
        hour = unsafe Int(fields.tm_hour)
        minute = unsafe Int(fields.tm_min)
    }
}

extension SystemClock {
    /// Whether a time service keeps the wall clock right (`STA_UNSYNC`, adjtimex(2)); nil where the
    /// system does not say.
    public static var isSynchronized: Bool? {
        var state = timex()
        guard (try? systemCall("adjtimex", { unsafe adjtimex(&state) })) != nil else {
            // systemd's sandbox refuses the call to whom it keeps from the clock; its own service
            // notes here that it has been right once.
            let note = "/run/systemd/timesync/synchronized"
            return (try? fileStatus(note, followsLink: true)) == nil ? nil : true
        }
        return state.status & STA_UNSYNC == 0
    }
}

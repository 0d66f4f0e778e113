import Glibc
import Linux
import SystemPackage
import Synchronization
import TestSupport
import Testing

@Test(.blocking) func aDeadlineMakesItsTimerReadable() throws {
    let timer = try DeadlineTimer.make()
    #expect(try wait(for: [(timer.descriptor, .input)], atMost: 0) == [[]])
    let now = SystemClock.boot.milliseconds
    try timer.set(now + 20)
    #expect(try wait(for: [(timer.descriptor, .input)], atMost: 10_000) == [.input])
    #expect(SystemClock.boot.milliseconds >= now + 20)
    timer.clear()
    #expect(try wait(for: [(timer.descriptor, .input)], atMost: 0) == [[]])
    // One that has passed, even before boot, is due at once.
    try timer.set(-1)
    #expect(try wait(for: [(timer.descriptor, .input)], atMost: 10_000) == [.input])
    try timer.set(nil)
    #expect(try wait(for: [(timer.descriptor, .input)], atMost: 0) == [[]])
}

@Test func anAlarmIsQuietWhileTheClockIs() throws {
    let alarm = try ClockStepAlarm.make()
    #expect(try wait(for: [(alarm.descriptor, .input)], atMost: 0) == [[]])
}

@Test(.blocking) func aSignpostWakesAnotherThread() throws {
    let post = try Signpost.make()
    let descriptor = post.descriptor
    let seen = Mutex<[Readiness]>([])
    let thread = try OwnThread.start {
        let ready = try? wait(for: [(descriptor, .input)], atMost: 10_000)
        seen.withLock { $0 = ready ?? [] }
    }
    post.raise()
    thread.join()
    #expect(seen.withLock { $0 } == [.input])
}

@Test func anInterruptedCallIsMadeAgain() throws {
    var attempts = 0
    let result = try systemCall("read") {
        attempts += 1
        errno = EINTR
        return attempts < 3 ? -1 : attempts
    }
    #expect(result == 3)
    #expect(throws: SystemError(call: "read", errno: .ioError)) {
        try systemCall("read") {
            errno = EIO
            return -1
        }
    }
}

@Test func instantsAreTakenApartInTheProcessTimeZone() {
    // 2026-11-24 12:00 UTC; zones lie up to 14 h ahead and differ by quarters of an hour.
    let time = LocalTime(secondsSince1970: 1_795_521_600)
    #expect(time.year == 2026)
    #expect(time.month == 11)
    #expect([24, 25].contains(time.day))
    #expect(time.minute % 15 == 0)
}

@Test func namesOfRootAreKnown() {
    #expect(NameService.user(0) == "root")
    #expect(NameService.group(0) == "root")
    #expect(NameService.gid(ofGroup: "root") == 0)
    #expect(NameService.user(4_000_000_000) == nil)
}

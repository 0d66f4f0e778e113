import Glibc

/// Waits until something holds; tells whether it did within `limit`, which is long, for a busy
/// machine: only a test that fails waits for all of it.
public func eventually(
    within limit: Duration = .seconds(20),
    _ holds: () async throws -> Bool
) async throws -> Bool {
    let end = ContinuousClock.now + limit
    while try await !holds() {
        guard ContinuousClock.now < end else { return false }
        try await Task.sleep(for: .milliseconds(5))
    }
    return true
}

/// How long the processor has worked for the calling thread, whatever others took of it.
public func processorTime() -> Duration {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}

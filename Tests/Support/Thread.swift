import CLinux
import Glibc

/// Starts `work` on a new thread and does not wait for it.
public func startThread(_ work: @escaping @Sendable () -> Void) throws {
    pthread_detach(try makeThread(work))
}

/// Runs `body` on a thread of its own and waits for it.
///
/// What a thread changes about itself alone (its network namespace, its user id) ends with it.
/// The body must be synchronous: a Swift task may go on another thread.
public func onOwnThread<Value>(_ body: @escaping () throws -> Value) throws -> Value {
    try expectMayBlock()
    var result: Result<Value, any Error>?
    pthread_join(try makeThread { result = Result { try body() } }, nil)
    guard let result else { throw SystemError(call: "pthread_join", number: EINVAL) }
    return try result.get()
}

private func makeThread(_ work: @escaping () -> Void) throws -> pthread_t {
    let box = Unmanaged.passRetained(Box(work))
    var thread = pthread_t()
    let status = pthread_create(
        &thread,
        nil,
        { argument in
            argument.map { Unmanaged<Box>.fromOpaque($0).takeRetainedValue().work() }
            return nil
        },
        box.toOpaque()
    )
    guard status == 0 else {
        box.release()
        throw SystemError(call: "pthread_create", number: status)
    }
    return thread
}

private final class Box {
    let work: () -> Void
    init(_ work: @escaping () -> Void) { self.work = work }
}

/// Runs `body` as nobody, thus without capabilities, on the calling thread alone.
public func withoutPrivileges<Value>(_ body: () throws -> Value) throws -> Value {
    try SystemError.check("give up root", linux_set_thread_euid(65534))
    defer { _ = linux_set_thread_euid(0) }
    return try body()
}

/// A system call of the test's own that failed.
public struct SystemError: Error, CustomStringConvertible {
    let call: String
    let number: Int32

    /// What could not be done, as a verb, and `errno`.
    public init(call: String, number: Int32) {
        self.call = call
        self.number = number
    }

    /// What could not be done and why.
    public var description: String { "cannot \(call): \(String(cString: strerror(number)))" }

    /// Throws what `errno` says when `result` is negative.
    @discardableResult
    public static func check(_ call: String, _ result: Int32) throws -> Int32 {
        guard result < 0 else { return result }
        throw SystemError(call: call, number: errno)
    }
}

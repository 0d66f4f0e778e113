import CLinux
import Glibc

/// Runs `body` on a pthread of its own and waits for it.
///
/// What a thread changes about itself alone (its network namespace, its user id) ends with it.
public func onOwnThread<Value>(_ body: @escaping () throws -> Value) throws -> Value {
    let box = Box(body)
    var thread = pthread_t()
    let status = pthread_create(
        &thread,
        nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run()
            return nil
        },
        Unmanaged<Work>.passRetained(box).toOpaque()
    )
    guard status == 0 else { throw SystemError(call: "pthread_create", number: status) }
    pthread_join(thread, nil)
    guard let result = box.result else { throw SystemError(call: "pthread_join", number: EINVAL) }
    return try result.get()
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

    /// What could not be done and why.
    public var description: String { "cannot \(call): \(String(cString: strerror(number)))" }

    /// Throws what `errno` says when `result` is negative.
    @discardableResult
    static func check(_ call: String, _ result: Int32) throws -> Int32 {
        guard result < 0 else { return result }
        throw SystemError(call: call, number: errno)
    }
}

private class Work {
    func run() {}
}

private final class Box<Value>: Work {
    private let body: () throws -> Value
    private(set) var result: Result<Value, any Error>?

    init(_ body: @escaping () throws -> Value) { self.body = body }

    override func run() { result = Result { try body() } }
}

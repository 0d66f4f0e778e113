import CLinux
import Glibc
import Linux
import SystemPackage

/// Runs `body` on a thread of its own and waits for it.
///
/// What a thread changes about itself alone (its network namespace, its user id) ends with it.
/// The body must be synchronous: a Swift task may go on another thread.
public func onOwnThread<Value>(_ body: @escaping () throws -> Value) throws -> Value {
    try expectMayBlock()
    // The other thread has both to itself while this one waits for it.
    nonisolated(unsafe) let body = body
    nonisolated(unsafe) var outcome: Result<Value, any Error>?
    try OwnThread.start { outcome = Result { try body() } }.join()
    guard let outcome else { throw SystemError(call: "pthread_join", errno: .noSuchProcess) }
    return try outcome.get()
}

/// Runs `body` as nobody, thus without capabilities, on the calling thread alone.
public func withoutPrivileges<Value>(_ body: () throws -> Value) throws -> Value {
    try systemCall("setresuid") { linux_set_thread_euid(65534) }
    defer { _ = linux_set_thread_euid(0) }
    return try body()
}

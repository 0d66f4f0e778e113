import Glibc
import Access
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

@testable import Server

/// A server on a socket in a folder of its own.
struct RunningServer: Sendable {
    let path: String
    let group: ServiceGroup
    let log: LogLines

    /// A connection to it.
    func connect(sendPatience: Duration = RawConnection.patience) throws -> RawConnection {
        try RawConnection(path: path, sendPatience: sendPatience)
    }
}

/// Runs a server around `body`, which is given a thread that may block.
func withServer<Result: Sendable>(
    _ service: some AccessService = RecordingService(),
    limits: Limits = Limits(),
    _ body: @escaping @Sendable (RunningServer) throws -> Result
) async throws -> Result {
    try await withRunningServer(service, limits: limits) { server in
        try await offPool { try body(server) }
    }
}

/// Runs a server around `body`.
func withRunningServer<Result: Sendable>(
    _ service: some AccessService = RecordingService(),
    limits: Limits = Limits(),
    _ body: (RunningServer) async throws -> Result
) async throws -> Result {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let path = folder.path + "/a.sock"
    let log = LogLines()
    let logger = Logger(label: "test") { _ in log }
    let server = SocketServer(
        service: service,
        listener: try ListeningSocket.make(path: path),
        executor: LoopExecutor(MultiThreadedEventLoopGroup.singleton.next()),
        limits: limits,
        logger: logger
    )
    let group = ServiceGroup(services: [server], logger: Logger(label: "test") { _ in LogLines() })
    async let ended: Void = group.run()
    do {
        let result = try await body(RunningServer(path: path, group: group, log: log))
        await group.triggerGracefulShutdown()
        try await ended
        return result
    } catch {
        await group.triggerGracefulShutdown()
        try await ended
        throw error
    }
}

/// Threads that tests may block, so that they do not block each other's.
private let blockingThreads = {
    let pool = NIOThreadPool(numberOfThreads: 64)
    pool.start()
    return pool
}()

/// Runs what blocks on a thread that is there for it.
func offPool<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await blockingThreads.runIfActive(body)
}

/// A folder that is empty at first.
struct TemporaryFolder {
    let path: String

    init() throws {
        var name = Array("/tmp/sallyport-server-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw SystemFailure("mkdtemp") }
        path = String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        // Other users must be able to reach the socket.
        guard chmod(path, 0o755) == 0 else { throw SystemFailure("chmod") }
    }

    func remove() {
        for name in ["a.sock", "b.sock"] { unlink("\(path)/\(name)") }
        rmdir(path)
    }
}

/// A call of the test's own that failed.
struct SystemFailure: Error, CustomStringConvertible {
    let description: String

    init(_ call: String) { description = "cannot \(call): \(String(cString: strerror(errno)))" }
}

/// Keeps what was logged.
final class LogLines: LogHandler {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }

    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .info }
        set {}
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }

    func log(event: LogEvent) {
        kept.withLock { $0.append("\(event.level): \(event.message)") }
    }
}

/// Something that one thread after another uses.
final class Held<Value>: @unchecked Sendable {  // Each user waits for the one before.
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// Something that one thread waits for and another one does.
final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}

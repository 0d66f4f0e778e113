import Glibc
import Access
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import TestSupport

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

/// Runs a server around `body`.
func withServer<Result: Sendable>(
    _ service: some AccessService = RecordingService(),
    limits: Limits = Limits(),
    listener: ListeningSocket? = nil,
    _ body: (RunningServer) async throws -> Result
) async throws -> Result {
    try expectMayBlock()
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = folder.path + "/a.sock"
    let log = LogLines()
    let logger = Logger(label: "test") { _ in log }
    // A loop of its own: a test that floods its server must not hold up another's.
    let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    defer { loops.shutdownGracefully { _ in } }
    let server = SocketServer(
        service: service,
        listener: try listener ?? ListeningSocket.make(path: path),
        executor: LoopExecutor(loops.next()),
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

/// Something that one thread waits for and another one does.
final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}

import Linux
import Glibc
import TestSupport

@testable import Server

/// A listening socket that treats its clients as a test says.
struct FaultyAgent: Sendable {
    fileprivate let listener: CInt

    /// Waits for the next client, lets `serve` treat it, and closes the connection.
    func accept(_ serve: (Peer) -> Void) {
        var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, 60_000) == 1 else { return }
        let connection = Glibc.accept(listener, nil, nil)
        serve(Peer(connection: connection))
        close(connection)
    }

    /// The agent's end of a connection.
    struct Peer {
        fileprivate let connection: CInt

        /// Reads once, whatever comes.
        @discardableResult
        func receive() -> Peer {
            var buffer = [UInt8](repeating: 0, count: 4096)
            recv(connection, &buffer, buffer.count, 0)
            return self
        }

        /// Writes it all; tells whether the client took it.
        @discardableResult
        func say(_ text: some Sequence<UInt8>) -> Bool {
            let bytes = Array(text)
            return send(connection, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count
        }

        /// Waits, for a minute at most, until the client has closed the connection.
        func waitForHangUp() {
            var state = pollfd(fd: connection, events: 0, revents: 0)
            poll(&state, 1, 60_000)
        }
    }
}

/// Runs `serve` and `body` side by side.
func withAgent(
    backlog: CInt = 16,
    serve: @escaping @Sendable (FaultyAgent) -> Void,
    body: @escaping @Sendable (_ path: String) throws -> Void
) async throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = folder.path + "/a.sock"
    let listener = try ListeningSocket.make(path: path).descriptor
    defer { close(listener) }
    try systemCall("listen") { listen(listener, backlog) }
    async let served: Void = serve(FaultyAgent(listener: listener))
    try body(path)
    await served
}

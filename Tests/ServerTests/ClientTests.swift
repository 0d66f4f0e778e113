import API
import CLinux
import Glibc
import NIOCore
import Policy
import ServiceLifecycle
import Testing

@testable import Client
@testable import Server

/// Runs `body` with a client of a server.
private func withClient<Result: Sendable>(
    _ service: RecordingService = RecordingService(),
    _ body: (Client) async throws -> Result
) async throws -> Result {
    try await withRunningServer(service) { server in
        try await withClient(of: server.path, body)
    }
}

private func withClient<Result: Sendable>(
    of path: String,
    timeout: Duration = .seconds(10),
    _ body: (Client) async throws -> Result
) async throws -> Result {
    let client = Client(socket: path, timeout: timeout)
    do {
        let result = try await body(client)
        await client.close()
        return result
    } catch {
        await client.close()
        throw error
    }
}

/// Listens on a path, answers the first connection's first request with `text`, and closes it.
private func withAgent(
    thatSays text: String,
    keepsOpen: Bool = false,
    _ body: @escaping @Sendable (_ path: String) async throws -> Void
) async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let path = folder.path + "/a.sock"
    let listener = try ListeningSocket.make(path: path, group: "adm").descriptor
    defer { close(listener) }
    async let served: Void = offPool {
        var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, 5000) == 1 else { return }
        let connection = accept(listener, nil, nil)
        var buffer = [UInt8](repeating: 0, count: 4096)
        recv(connection, &buffer, buffer.count, 0)
        send(connection, text, text.utf8.count, 0)
        if keepsOpen { recv(connection, &buffer, buffer.count, 0) }
        close(connection)
    }
    try await body(path)
    try await served
}

struct ClientTests {
    @Test func callsEachRoute() async throws {
        let service = RecordingService()
        let ask = Ask(targets: ["ssh"], sources: ["192.0.2.7"], reason: "dürr \u{1F512}")
        let filter = RequestFilter(
            state: .expired,
            policy: "a/b ?&=%",
            requester: "ä",
            before: 9,
            limit: 7
        )
        try await withClient(service) { client async throws in
            #expect(try await client.status() == Samples.status)
            #expect(try await client.policies() == Samples.policies)
            #expect(try await client.policy(named: "../a b%") == Samples.policy)
            #expect(try await client.reload() == Samples.policies)
            #expect(try await client.check(policyText: "policies: []\n") == Samples.policies)
            #expect(try await client.open(ask, idempotencyKey: "k") == Samples.request)
            #expect(try await client.open(ask) == Samples.request)
            #expect(try await client.request(id: "17") == Samples.request)
            #expect(try await client.requests(filter) == Samples.requests)
            #expect(try await client.revoke(request: "17") == Samples.request)
            #expect(try await client.extend(request: "17", by: "30m") == Samples.request)
            #expect(try await client.grants(filter, includeEnded: true) == Samples.grants)
            #expect(try await client.grants(RequestFilter()) == Samples.grants)
            #expect(try await client.close(grant: "17.1") == Samples.grant)
        }
        #expect(
            service.asked == [
                .status, .policies, .policy("../a b%"), .reload, .check("policies: []\n"),
                .open(ask, key: "k"), .open(ask, key: nil), .request(17), .requests(filter),
                .revoke(17), .extend(17, .seconds(1800)),
                .grants(
                    RequestFilter(policy: filter.policy, requester: filter.requester),
                    includeEnded: true
                ),
                .grants(RequestFilter(), includeEnded: false),
                .closeGrant(Grant.ID(request: 17, ordinal: 1)),
            ]
        )
        // One connection for all of it.
        #expect(Set(service.callers.map(\.identity)).count == 1)
    }

    @Test func takesCallsAtOnce() async throws {
        try await withClient { client async throws in
            try await withThrowingTaskGroup { tasks in
                for _ in 0..<50 {
                    tasks.addTask { () async throws in
                        #expect(try await client.status() == Samples.status)
                    }
                }
                try await tasks.waitForAll()
            }
        }
    }

    @Test func throwsTheAgentsProblem() async throws {
        let service = RecordingService(during: { throw Samples.problem })
        try await withClient(service) { client async throws in
            let error = await #expect(throws: ClientError.self) { try await client.status() }
            #expect(error == .problem(Samples.problem))
            #expect(error?.description == "cannot open")
        }
    }

    @Test func throwsTheProblemOfABodyThatIsTooLarge() async throws {
        try await withClient { client async throws in
            let text = String(repeating: "#", count: 8 * 1024 * 1024)
            let error = await #expect(throws: ClientError.self) {
                try await client.check(policyText: text)
            }
            guard case .problem(let problem)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(problem.code == .bodyTooLarge)
            // The agent has closed this connection; the next call makes another.
            #expect(try await client.status() == Samples.status)
        }
    }

    @Test func connectsAgainAfterTheAgentStartedAnew() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let client = Client(socket: folder.path + "/a.sock")
        for _ in 0..<2 {
            try await withRunningServer { server async throws in
                #expect(rename(server.path, folder.path + "/a.sock") == 0)
                #expect(try await client.status() == Samples.status)
            }
        }
        await client.close()
    }

    @Test(arguments: ["missing", "not listening", "a file", "too long"])
    func saysWhyThereIsNoAgent(kind: String) async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        var path = folder.path + "/a.sock"
        let reason: String
        switch kind {
        case "missing": reason = "no such file; is sallyportd running?"
        case "not listening":
            close(try ListeningSocket.make(path: path, group: "adm").descriptor)
            reason = "nobody listens there; is sallyportd running?"
        case "a file":
            close(open(path, O_CREAT | O_WRONLY, 0o600))
            reason = "nobody listens there; is sallyportd running?"
        default:
            path += String(repeating: "x", count: 107)
            reason = "the path is longer than the 107 bytes a socket's may have"
        }
        try await withClient(of: path) { client async throws in
            let error = await #expect(throws: ClientError.self) { try await client.status() }
            #expect(error == .unreachable(socket: path, reason: reason))
            #expect(error?.description == "cannot reach the agent at \(path): \(reason)")
        }
    }

    @Test func saysThatTheUserMayNotConnect() async throws {
        try await withRunningServer { server in
            try await withClient(of: server.path) { client async throws in
                chmod(server.path, 0o600)
                // The user id for file access is a thread's own (setfsuid(2)), and the client's
                // thread ends with it.
                try await client.connection.eventLoop.submit { _ = setfsuid(65534) }.get()
                let error = await #expect(throws: ClientError.self) { try await client.status() }
                #expect(
                    error
                        == .unreachable(
                            socket: server.path,
                            reason: "permission denied; your user is not in group sallyport"
                        )
                )
            }
        }
    }

    @Test(arguments: ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"])
    func saysThatTheAgentDiedMidway(text: String) async throws {
        try await withAgent(thatSays: text) { path in
            try await withClient(of: path) { client async throws in
                let error = await #expect(throws: ClientError.self) { try await client.status() }
                #expect(
                    error?.description == """
                        cannot reach the agent at \(path): it closed the connection before it \
                        answered; what was asked may or may not have been done; is sallyportd running?
                        """
                )
            }
        }
    }

    @Test func doesNotWaitForEver() async throws {
        try await withAgent(thatSays: "HTTP/1.1 200 OK\r\n", keepsOpen: true) { path in
            try await withClient(of: path, timeout: .seconds(1)) { client async throws in
                let error = await #expect(throws: ClientError.self) { try await client.status() }
                #expect(error == .unreachable(socket: path, reason: "no answer within 1 s"))
            }
        }
    }

    @Test(arguments: [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            "cannot read the agent's answer (status 200); are client and agent of the same version?"
        ),
        (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 2\r\n\r\n{}",
            "cannot read the agent's answer (status 400); are client and agent of the same version?"
        ),
        (
            "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
            "cannot read the agent's answer: status 500 and no document"
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "cannot read the agent's answer: it is not HTTP"),
    ])
    func saysThatItDoesNotUnderstandTheAnswer(text: String, detail: String) async throws {
        try await withAgent(thatSays: text) { path in
            try await withClient(of: path) { client async throws in
                let error = await #expect(throws: ClientError.self) { try await client.status() }
                #expect(error == .protocolError(detail))
            }
        }
    }
}

import API
import Glibc
import Testing
import TestSupport

@testable import Client
@testable import Server

/// The client, and agents that are busy, break off, or are no agents at all.
@Suite(.blocking) struct FaultyAgentTests {
    private static let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

    /// The shortest policy list as an answer.
    private static let empty = "\(head)content-length: 15\r\n\r\n{\"policies\":[]}"

    private static let closed = """
        it closed the connection before it answered; what was asked may or may not have been \
        done; is sallyportd running?
        """

    @Test(arguments: [
        "", "HTT", "HTTP/1.1 200 OK\r\n", "\(head)content-length: 15\r\n\r\n",
        "\(head)content-length: 15\r\n\r\n{\"poli",
        "\(head)transfer-encoding: chunked\r\n\r\nf\r\n{",
    ])
    func saysThatTheAgentDiedMidway(text: String) async throws {
        try await withAgent { agent in
            // What only reads is asked once more.
            for _ in 0..<2 { agent.accept { $0.receive().say(text.utf8) } }
        } body: { path throws in
            let error = #expect(throws: ClientError.self) { try Client(socket: path).policies() }
            #expect(error == .unreachable(socket: path, reason: Self.closed))
        }
    }

    @Test func saysThatTheAgentClosedRightAway() async throws {
        let rounds = 100
        try await withAgent { agent in
            for _ in 0..<2 * rounds { agent.accept { _ in } }
        } body: { path throws in
            for _ in 0..<rounds {
                let error = #expect(throws: ClientError.self) {
                    try Client(socket: path).policies()
                }
                #expect(error == .unreachable(socket: path, reason: Self.closed))
            }
        }
    }

    @Test(arguments: [empty, "\(head)\r\n{\"policies\":[]}"])
    func takesAnAnswerInPieces(text: String) async throws {
        try await withAgent { agent in
            agent.accept { peer in
                peer.receive()
                for byte in text.utf8 { peer.say([byte]) }
            }
        } body: { path throws in
            #expect(try Client(socket: path).policies() == PolicyList(policies: []))
        }
    }

    @Test(arguments: ["says nothing", "says a byte at a time", "reads nothing"])
    func doesNotWaitForEver(kind: String) async throws {
        try await withAgent { agent in
            agent.accept { peer in
                if kind != "reads nothing" { peer.receive() }
                if kind == "says a byte at a time" { peer.say("HTTP/1.1 200 OK\r\nx-".utf8) }
                // Until the client has gone; far longer than it may wait.
                for _ in 0..<60_000 where kind == "says a byte at a time" {
                    guard peer.say("x".utf8) else { break }
                    usleep(1000)
                }
                peer.waitForHangUp()
            }
        } body: { path throws in
            let client = Client(socket: path, timeout: .seconds(1))
            let text = JSONValue.text(String(repeating: "#", count: 1 << 20))
            let duration = ContinuousClock().measure {
                let error = #expect(throws: ClientError.self) {
                    try client.set(policy: "ssh", to: text, if: .none)
                }
                #expect(error?.description.contains("gave no answer within 1 s") == true)
            }
            #expect(duration >= .seconds(1))
        }
    }

    @Test func saysThatTheAgentHasNoRoom() async throws {
        try await withAgent(backlog: 0) { _ in
        } body: { path throws in
            let first = try RawConnection(path: path)
            let error = #expect(throws: ClientError.self) {
                try Client(socket: path, timeout: .seconds(1)).policies()
            }
            #expect(
                error?.description == """
                    cannot reach the agent at \(path): the agent is busy, no room to connect \
                    within 1 s
                    """
            )
            withExtendedLifetime(first) {}
        }
    }

    @Test func waitsForRoom() async throws {
        try await withAgent(backlog: 0) { agent in
            // Long enough for the client to find the queue full.
            usleep(100_000)
            agent.accept { _ in }
            agent.accept { $0.receive().say(Self.empty.utf8) }
        } body: { path throws in
            let first = try RawConnection(path: path)
            let client = Client(socket: path, timeout: .seconds(10))
            #expect(try client.policies() == PolicyList(policies: []))
            withExtendedLifetime(first) {}
        }
    }

    @Test(arguments: [true, false])
    func repeatsOnlyASafeCallOnAnEndedConnection(isSafe: Bool) async throws {
        try await withAgent { agent in
            agent.accept { peer in
                peer.receive().say(Self.empty.utf8)
                peer.receive()
            }
            if isSafe { agent.accept { $0.receive().say(Self.empty.utf8) } }
        } body: { path throws in
            let client = Client(socket: path)
            #expect(try client.policies() == PolicyList(policies: []))
            if isSafe {
                #expect(try client.policies() == PolicyList(policies: []))
            } else {
                let error = #expect(throws: ClientError.self) { try client.reload() }
                #expect(error == .unreachable(socket: path, reason: Self.closed))
            }
        }
    }

    @Test func connectsAnewWhereTheAgentSaysSo() async throws {
        try await withAgent { agent in
            for _ in 0..<2 {
                agent.accept { peer in
                    peer.receive()
                    peer.say(
                        Self.empty.replacing("\r\n\r\n", with: "\r\nconnection: close\r\n\r\n").utf8
                    )
                    peer.waitForHangUp()
                }
            }
        } body: { path throws in
            let client = Client(socket: path)
            for _ in 0..<2 { #expect(try client.reload() == PolicyList(policies: [])) }
        }
    }

    @Test func refusesAnAnswerWithoutEnd() async throws {
        try await withAgent { agent in
            agent.accept { peer in
                peer.receive().say("\(Self.head)\r\n".utf8)
                let block = [UInt8](repeating: 0x20, count: 1 << 20)
                while peer.say(block) {}
            }
        } body: { path throws in
            let error = #expect(throws: ClientError.self) { try Client(socket: path).policies() }
            let detail = "cannot read the agent's answer: it is larger than 64 MiB"
            #expect(error == .protocolError(detail))
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
        ("\u{0}\u{1}\u{2}", "cannot read the agent's answer: it is not HTTP"),
        ("\(empty)\(empty)", "cannot read the agent's answer: it is not HTTP"),
        (
            head + String(repeating: "x: y\r\n", count: 300) + "\r\n",
            "cannot read the agent's answer: it is not HTTP"
        ),
    ])
    func saysThatItDoesNotUnderstandTheAnswer(text: String, detail: String) async throws {
        try await withAgent { agent in
            agent.accept { $0.receive().say(text.utf8) }
        } body: { path throws in
            let error = #expect(throws: ClientError.self) { try Client(socket: path).policies() }
            #expect(error == .protocolError(detail))
        }
    }
}

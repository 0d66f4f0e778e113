import API
import Glibc
import Linux
import Policy
import TestSupport
import Testing

@testable import Commands

/// `open --wait`: how a request is followed to its end.
@Suite(.blocking) struct WaitTests {
    /// An event of request 17.
    static let event = "id: 5\nevent: approved\ndata: {\"sequence\":5,\"request\":\"17\"}\n\n"
    /// One of another request, and a sign of life.
    static let otherEvent = ": alive\n\nid: 4\ndata: {\"sequence\":4,\"request\":\"16\"}\n\n"

    static let line = "open ssh --from 198.51.100.7 --wait"

    @Test(
        arguments: [
            (.active, 0, "request 17 is open until 13:42 (in 42m)\n"),
            (.denied, 77, "request 17 was denied by bob: use the replica\n"),
            (.cancelled, 75, "request 17 was taken back by bob\n"),
            (.lapsed, 75, "request 17 lapsed: nobody answered in time\n"),
            (.failed, 70, "request 17 failed: use the replica\n"),
        ] as [(RequestState, Int32, String)]
    )
    func endsAsItIsDecided(state: RequestState, status: Int32, text: String) throws {
        var decided = request("17", [try grant("17.1", state: state)], state: state)
        decided.decidedBy = user(1001, "bob")
        decided.decision = "use the replica"
        let agent = try ScriptedAgent([
            "POST /v1/requests": try waitingRequest("17"),
            "GET /v1/events": Streamed(parts: [Self.otherEvent, Self.event, Self.event]),
            "GET /v1/requests/17": InTurn(
                try waitingRequest("17"),
                try waitingRequest("17", .scheduled),
                decided
            ),
        ])
        let outcome = try carryOut(Self.line, agent: agent)
        #expect(outcome.output.hasPrefix(text), "\(outcome.output)")
        #expect(outcome.errors.hasPrefix("request 17 waits for approval, until 13:12"))
        #expect(outcome.status == status)
    }

    @Test func doesNotWaitForWhatIsOpen() throws {
        let agent = try ScriptedAgent(["POST /v1/requests": request("17", [try grant("17.1")])])
        #expect(try carryOut(Self.line, agent: agent).status == 0)
        #expect(agent.calls.count == 1)
    }

    @Test func asksForTheEventsBeforeTheState() throws {
        let agent = try ScriptedAgent([
            "POST /v1/requests": try waitingRequest("17"),
            "GET /v1/events": Streamed(parts: []),
            "GET /v1/requests/17": request("17", [try grant("17.1")]),
        ])
        #expect(try carryOut(Self.line, agent: agent).status == 0)
        // Otherwise a change between the two would be missed.
        #expect(agent.calls.dropFirst() == ["GET /v1/events", "GET /v1/requests/17"])
    }

    @Test func survivesARestartOfTheAgent() throws {
        let agent = try ScriptedAgent([
            "POST /v1/requests": try waitingRequest("17"),
            "GET /v1/events": InTurn(
                Streamed(parts: [Self.otherEvent], hangsUp: true),
                Problem(.ledgerUnavailable, "cannot read the ledger"),
                Streamed(parts: [])
            ),
            "GET /v1/requests/17": InTurn(
                try waitingRequest("17"),
                request("17", [try grant("17.1")])
            ),
        ])
        let outcome = try carryOut(Self.line, agent: agent)
        #expect(outcome.status == 0)
        let told = outcome.errors.split(separator: "\n").suffix(2)
        #expect(told == ["the agent is away; waiting for it", "the agent is back"])
        // It was asked for once.
        #expect(agent.calls.count { $0.hasPrefix("POST") } == 1)
    }

    /// Otherwise its patience would never end.
    @Test func anAgentIsBackOnceItAnswers() throws {
        let fault = Problem(.ledgerUnavailable, "cannot read the ledger")
        let outcome = try carryOut(
            Self.line,
            [
                "POST /v1/requests": try waitingRequest("17"),
                "GET /v1/events": Streamed(parts: []),
                "GET /v1/requests/17": InTurn(fault, fault, request("17", [try grant("17.1")])),
            ]
        )
        let told = outcome.errors.split(separator: "\n").filter {
            $0.contains("again") || $0.hasSuffix("is back")
        }
        #expect(told == ["cannot read the ledger; trying again", "the agent is back"])
        #expect(outcome.status == 0)
    }

    @Test func whatDoesNotPassEndsTheWait() throws {
        let agent = try ScriptedAgent([
            "POST /v1/requests": try waitingRequest("17"),
            "GET /v1/events": Problem(.notPermitted, "cannot follow"),
        ])
        let outcome = try carryOut(Self.line, agent: agent)
        #expect(outcome.errors.hasSuffix("sallyport: cannot follow\n"))
        #expect(outcome.status == 77)
    }

    @Test func controlCLeavesTheRequestAndSaysHowToTakeItBack() throws {
        let agent = try ScriptedAgent([
            "POST /v1/requests": try waitingRequest("17"),
            "GET /v1/events": Streamed(parts: [Self.otherEvent]) { connection in
                if let peer = try? PeerCredentials(ofPeerOf: connection) { kill(peer.pid, SIGINT) }
            },
            "GET /v1/requests/17": try waitingRequest("17"),
        ])
        let words = Self.line.split(separator: " ").map(String.init)
        let run = try sallyport(words, ["SALLYPORT_SOCKET": agent.socket])
        #expect(run.status == 75)
        #expect(run.output.isEmpty)
        #expect(
            run.errors.hasSuffix("request 17 still waits; to take it back: sallyport cancel 17\n")
        )
        #expect(!agent.calls.contains { $0.hasSuffix("/cancel") })
    }
}

import API
import Access
import Glibc
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Client
@testable import Server

@Suite(.blocking) struct ClientTests {
    @Test func callsEachRoute() async throws {
        let service = RecordingService()
        let ask = Ask(targets: ["ssh"], sources: ["192.0.2.7"], reason: "dürr \u{1F512}")
        let definition = JSONValue.object([.init("description", .text("dürr \u{1F512} \"\u{7}"))])
        let filter = RequestFilter(
            state: .expired,
            policy: "a/b ?&=%",
            requester: "ä",
            before: 9,
            limit: 7
        )
        try await withServer(service) { server throws in
            let client = Client(socket: server.path)
            #expect(try client.status() == Samples.status)
            #expect(try client.policies() == Samples.policies)
            #expect(try client.policy(named: "../a b%") == Samples.policy)
            #expect(try client.reload() == Samples.policies)
            #expect(try client.taggedPolicy(named: "ssh").tag == Samples.tag)
            for (condition, keeping) in [
                (Client.Condition.none, false), (.isAbsent, true),
                (.isStill(tag: Samples.tag), false),
            ] {
                #expect(
                    try client.set(
                        policy: "a/b",
                        to: definition,
                        if: condition,
                        keepingGrants: keeping
                    ) == Samples.policyChange
                )
            }
            #expect(
                try client.remove(policy: "a/b", keepingGrants: true) == Samples.policyChange
            )
            #expect(try client.open(ask, idempotencyKey: "k") == Samples.request)
            #expect(try client.open(ask) == Samples.request)
            #expect(try client.request(id: "17") == Samples.request)
            #expect(try client.requests(filter) == Samples.requests)
            #expect(try client.revoke(request: "17") == Samples.request)
            #expect(
                try client.extend(request: "17", ExtendBody(duration: "30m")) == Samples.request
            )
            #expect(try client.grants(filter) == Samples.grants)
            #expect(try client.grants(RequestFilter()) == Samples.grants)
            #expect(try client.close(grant: "17.1") == Samples.grant)
        }
        #expect(
            service.asked == [
                .status, .policies, .policy("../a b%"), .reload, .policy("ssh"),
                .change("a/b", definition, .none, keepingGrants: false),
                .change("a/b", definition, .isAbsent, keepingGrants: true),
                .change("a/b", definition, .matches(tags: [Samples.tag]), keepingGrants: false),
                .change("a/b", nil, .none, keepingGrants: true),
                .open(ask, key: "k"), .open(ask, key: nil), .request(17), .requests(filter),
                .revoke(17), .extend(17, .seconds(1800), Grounds()),
                .grants(
                    RequestFilter(
                        policy: filter.policy,
                        requester: filter.requester,
                        before: filter.before
                    ),
                    includeEnded: false
                ),
                .grants(RequestFilter(), includeEnded: false),
                .closeGrant(Grant.ID(request: 17, ordinal: 1)),
            ]
        )
        // One connection for all of it.
        #expect(Set(service.callers.map(\.identity)).count == 1)
    }

    @Test func throwsTheAgentsProblem() async throws {
        let service = RecordingService(during: { throw Samples.problem })
        try await withServer(service) { server throws in
            let client = Client(socket: server.path)
            let error = #expect(throws: ClientError.self) { try client.status() }
            #expect(error == .problem(Samples.problem))
            #expect(error?.description == "cannot open")
        }
    }

    @Test func throwsTheProblemOfABodyThatIsTooLarge() async throws {
        try await withServer { server throws in
            let client = Client(socket: server.path)
            let text = JSONValue.text(String(repeating: "#", count: 8 * 1024 * 1024))
            let error = #expect(throws: ClientError.self) {
                try client.set(policy: "ssh", to: text, if: .none, keepingGrants: false)
            }
            guard case .problem(let problem)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(problem.code == .bodyTooLarge)
            // The agent has closed this connection; the next call makes another.
            #expect(try client.status() == Samples.status)
        }
    }

    @Test func connectsAgainAfterTheAgentStartedAnew() async throws {
        let folder = try TemporaryFolder()
        let client = Mutex(Client(socket: folder.path + "/a.sock"))
        for _ in 0..<2 {
            try await withServer { server throws in
                #expect(rename(server.path, folder.path + "/a.sock") == 0)
                #expect(try client.withLock { try $0.status() } == Samples.status)
            }
        }
    }

    @Test(arguments: ["missing", "not listening", "a file", "too long"])
    func saysWhyThereIsNoAgent(kind: String) async throws {
        let folder = try TemporaryFolder()
        var path = folder.path + "/a.sock"
        let reason: String
        switch kind {
        case "missing": reason = "no such file; is sallyportd running?"
        case "not listening":
            close(try ListeningSocket.make(path: path).descriptor)
            reason = "nobody listens there; is sallyportd running?"
        case "a file":
            close(open(path, O_CREAT | O_WRONLY, 0o600))
            reason = "nobody listens there; is sallyportd running?"
        default:
            path += String(repeating: "x", count: 107)
            reason = "the path of a socket has 1...107 bytes"
        }
        // A child of another test, forked meanwhile, keeps the socket open until it runs its program.
        let isSaid = try await eventually {
            let error = #expect(throws: ClientError.self) { try Client(socket: path).status() }
            return error == .unreachable(socket: path, reason: reason)
                && error?.description == "cannot reach the agent at \(path): \(reason)"
        }
        #expect(isSaid)
    }

    @Test func saysThatTheUserMayNotConnect() async throws {
        try await withServer { server throws in
            chmod(server.path, 0o600)
            let error = #expect(throws: ClientError.self) {
                try withoutPrivileges { try Client(socket: server.path).status() }
            }
            #expect(error == .forbidden(socket: server.path))
        }
    }
}

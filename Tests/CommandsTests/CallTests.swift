import API
import FoundationEssentials
import Glibc
import Policy
import TestSupport
import Testing

@testable import Commands

/// What each command line asks of the agent.
@Suite(.blocking) struct CallTests {
    struct Line: CustomTestStringConvertible, Sendable {
        var arguments: String
        var calls: [String]
        var testDescription: String { arguments }
    }

    static let lines = [
        Line(arguments: "status", calls: ["GET /v1/status"]),
        Line(arguments: "--json status", calls: ["GET /v1/status"]),
        Line(
            arguments: "open ssh --from 192.0.2.1",
            calls: [#"POST /v1/requests {"sources":["192.0.2.1"],"targets":["ssh"]}"#]
        ),
        Line(
            arguments: "open ssh 5986/tcp --from 192.0.2.1 10.0.0.0/24 --for 45m --ticket OPS-1",
            calls: [
                #"POST /v1/requests {"duration":"45m","sources":["192.0.2.1","10.0.0.0/24"],"#
                    + #""targets":["ssh","5986/tcp"],"ticket":"OPS-1"}"#
            ]
        ),
        Line(
            arguments: "open ssh --from a --from b --reason why --until 2026-12-01T17:00:00Z",
            calls: [
                #"POST /v1/requests {"reason":"why","sources":["a","b"],"targets":["ssh"],"#
                    + #""until":"2026-12-01T17:00:00Z"}"#
            ]
        ),
        // The option takes all that looks like a source, and leaves the rest.
        Line(
            arguments: "open --from me 192.0.2.1 ssh 22/tcp",
            calls: [
                #"POST /v1/requests {"sources":["198.51.100.9","192.0.2.1"],"#
                    + #""targets":["ssh","22/tcp"]}"#
            ]
        ),
        // The clock on the wall shows 13:00.
        Line(
            arguments: "open ssh --from a --at 22:00 --until 12:30",
            calls: [
                #"POST /v1/requests {"at":"2026-12-01T21:00:00Z","sources":["a"],"#
                    + #""targets":["ssh"],"until":"2026-12-02T11:30:00Z"}"#
            ]
        ),
        Line(arguments: "open ssh --from a --until 5pm", calls: []),
        Line(
            arguments: "open ssh --from a --dry-run",
            calls: [#"POST /v1/requests?dry_run=true {"sources":["a"],"targets":["ssh"]}"#]
        ),
        Line(
            arguments: "can-i open ssh --from a --for 2h",
            calls: [
                #"POST /v1/requests?dry_run=true "#
                    + #"{"duration":"2h","sources":["a"],"targets":["ssh"]}"#
            ]
        ),
        Line(
            arguments: "extend 17 --for 30m --reason slow --ticket OPS-1",
            calls: [
                #"POST /v1/requests/17/extend "#
                    + #"{"duration":"30m","reason":"slow","ticket":"OPS-1"}"#
            ]
        ),
        Line(arguments: "pending", calls: ["GET /v1/requests?state=pending&limit=100"]),
        Line(
            arguments: "deny 17 --reason no",
            calls: [#"POST /v1/requests/17/deny {"reason":"no"}"#]
        ),
        Line(arguments: "cancel 17", calls: ["POST /v1/requests/17/cancel"]),
        Line(
            arguments: "extend 17 --for 30m",
            calls: [#"POST /v1/requests/17/extend {"duration":"30m"}"#]
        ),
        Line(arguments: "close 17", calls: ["POST /v1/requests/17/revoke"]),
        Line(
            arguments: "close 17.1 18 17.2",
            calls: [
                "DELETE /v1/grants/17.1", "POST /v1/requests/18/revoke", "DELETE /v1/grants/17.2",
            ]
        ),
        Line(arguments: "close --mine", calls: ["GET /v1/grants"]),
        Line(arguments: "close --policy ssh", calls: ["GET /v1/grants?policy=ssh"]),
        Line(arguments: "close --all", calls: ["GET /v1/grants"]),
        Line(arguments: "list", calls: ["GET /v1/grants"]),
        Line(arguments: "list --all", calls: ["GET /v1/requests?limit=100"]),
        Line(
            arguments: "list --user böb --policy a&b=c",
            calls: ["GET /v1/grants?policy=a%26b%3Dc&requester=b%C3%B6b"]
        ),
        Line(arguments: "policy list", calls: ["GET /v1/policies"]),
        Line(arguments: "policy show ../x", calls: ["GET /v1/policies/..%2Fx"]),
        Line(arguments: "policy reload", calls: ["POST /v1/policies/reload"]),
        Line(arguments: "policy check /nonexistent", calls: []),
        Line(
            arguments: "policy set db --ports 5432/tcp,1-2/udp --approvals 1 --enabled false",
            calls: [
                "GET /v1/policies/db",
                #"PUT /v1/policies/db {"ports": ["5432/tcp", "1-2/udp"], "approvals": 1, "enabled": false}"#,
            ]
        ),
        Line(
            arguments: "policy remove a/b --keep-grants",
            calls: ["DELETE /v1/policies/a%2Fb?keep_grants=true"]
        ),
    ]

    @Test(arguments: lines)
    func makesTheCall(_ line: Line) throws {
        let agent = try ScriptedAgent()
        let session = ["SSH_CONNECTION": "198.51.100.9 50022 192.0.2.1 22"]
        _ = try carryOut(line.arguments, agent: agent, in: session)
        #expect(agent.calls == line.calls)
    }

    @Test func closesOnesOwnGrantsByWhoOneIsNotByName() throws {
        let agent = try ScriptedAgent([
            "GET /v1/grants": GrantList(
                grants: [try grant("17.1"), try grant("18.1", requester: user(2000, "alice"))],
                next: "17"
            ),
            "GET /v1/grants?before=17": GrantList(grants: [
                try grant("19.2", requester: user(1000, "alice-before-she-married"))
            ]),
        ])
        _ = try carryOut("close --mine", agent: agent)
        #expect(agent.calls.dropFirst(2) == ["DELETE /v1/grants/17.1", "DELETE /v1/grants/19.2"])
    }

    @Test(
        arguments: [
            (nil, [:], "/run/sallyport/sallyport.sock"),
            (nil, ["SALLYPORT_SOCKET": ""], "/run/sallyport/sallyport.sock"),
            (nil, ["SALLYPORT_SOCKET": "/e"], "/e"),
            ("/o", ["SALLYPORT_SOCKET": "/e"], "/o"),
        ] as [(String?, [String: String], String)]
    )
    func choosesTheSocket(option: String?, environment: [String: String], socket: String) {
        #expect(SharedOptions.socketPath(option: option) { environment[$0] } == socket)
    }

    @Test(arguments: [
        "--socket SOCKET policy list", "policy --socket SOCKET list",
        "policy list --socket SOCKET",
    ])
    func takesTheSocketBeforeAndAfterTheCommand(line: String) throws {
        let (named, other) = (try ScriptedAgent(), try ScriptedAgent())
        _ = try carryOut(
            String(line.replacing("SOCKET", with: named.socket)),
            agent: other
        )
        #expect(named.calls == ["GET /v1/policies"])
        #expect(other.calls.isEmpty)
    }

    @Test(arguments: [
        (["SSH_CONNECTION": "198.51.100.7 50022 192.0.2.1 22"], "198.51.100.7"),
        (["SSH_CONNECTION": "2001:db8::7 50022 2001:db8::1 22"], "2001:db8::7"),
        (["SSH_CONNECTION": "::ffff:198.51.100.7 1 ::ffff:192.0.2.1 22"], "198.51.100.7"),
        (["SSH_CLIENT": "198.51.100.8 50022 22"], "198.51.100.8"),
        (
            ["SSH_CONNECTION": "198.51.100.7 1 192.0.2.1 22", "SSH_CLIENT": "192.0.2.9 1 22"],
            "198.51.100.7"
        ),
    ])
    func letsInWhereTheSessionComesFrom(environment: [String: String], origin: String) throws {
        let agent = try ScriptedAgent()
        _ = try carryOut("open ssh", agent: agent, in: environment)
        #expect(agent.calls == [#"POST /v1/requests {"sources":["\#(origin)"],"targets":["ssh"]}"#])
    }

    @Test(arguments: ["--until", "--at"])
    func aTimeThatIsNoneIsAUsageError(option: String) throws {
        let agent = try ScriptedAgent()
        let outcome = try carryOut("open ssh --from 192.0.2.1 \(option) banana", agent: agent)
        #expect(outcome.errors.hasPrefix("sallyport: cannot read \(option) banana: write a time"))
        #expect(outcome.status == 64)
        #expect(agent.calls.isEmpty)
    }

    @Test(
        arguments: [
            ([:], "this is no SSH session"),
            (["SUDO_USER": "alice"], "sudo drops SSH_CONNECTION"),
            (["SSH_CONNECTION": "UNKNOWN 65535 UNKNOWN 65535"], "SSH_CONNECTION is unusable"),
            (["SSH_CONNECTION": "fe80::1%eth0 1 fe80::2%eth0 22"], "SSH_CONNECTION is unusable"),
        ] as [([String: String], String)]
    )
    func refusesMeWithoutASession(environment: [String: String], reason: String) throws {
        let agent = try ScriptedAgent()
        let outcome = try carryOut("open ssh --from me", agent: agent, in: environment)
        #expect(outcome.errors.hasPrefix(#"sallyport: cannot tell what "me" is: \#(reason)"#))
        #expect(outcome.errors.contains("--from ADDRESS"))
        #expect(outcome.status == 65)
        #expect(agent.calls.isEmpty)
    }
}

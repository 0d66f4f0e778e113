import API
import FoundationEssentials
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Commands

/// What is told when the agent refuses, and the status that follows.
@Suite(.blocking) struct FailureTests {
    static let statuses: [Problem.Code: Int32] = [
        .badRequest: 65, .outsidePolicy: 65, .notPermitted: 77, .notFound: 65,
        .notAuthenticated: 77, .rateLimited: 65, .methodNotAllowed: 70, .wrongState: 65,
        .changeUnconfirmed: 65, .wouldLockOut: 65, .gateDisarmed: 65,
        .idempotencyConflict: 65, .bodyTooLarge: 65, .unsupportedMediaType: 70,
        .configurationInvalid: 65, .changedMeanwhile: 65, .configurationNotWritten: 70,
        .ledgerUnavailable: 70, .kernelRefused: 70, .internalError: 70,
    ]

    @Test(arguments: Problem.Code.allCases)
    func eachKindHasItsStatus(_ code: Problem.Code) throws {
        let status = try #require(Self.statuses[code])
        let agent = try ScriptedAgent(["GET /v1/policies": Problem(code, "cannot do it")])
        #expect(
            try carryOut("policy list", agent: agent)
                == Printed(errors: "sallyport: cannot do it\n", status: status)
        )
    }

    @Test func aRefusalNamesEveryLimitAndWhatWouldBeAllowed() throws {
        let agent = try ScriptedAgent(["POST /v1/requests": refusal])
        #expect(
            try carryOut("open ssh --from 10.0.0.0/8 --for 9h", agent: agent)
                == Printed(
                    errors: """
                        sallyport: cannot open: 4 limits are exceeded
                          target 23/tcp: no policy manages it (allowed: ssh)
                          --from 10.0.0.0/8: wider than ssh allows (allowed: 10.0.0.0/24)
                          --for 9h: at most 3h
                          --reason: a reason is required (allowed: 10 characters or more)

                        """,
                    status: 65
                )
        )
    }

    @Test func withJSONTheProblemIsOnStandardErrorAlone() throws {
        let agent = try ScriptedAgent(["POST /v1/requests": refusal])
        let outcome = try carryOut("open ssh --from me.example --json", agent: agent)
        #expect(outcome.output.isEmpty)
        #expect(outcome.status == 65)
        #expect(
            try JSONDecoder().decode(Problem.self, from: Data(outcome.errors.utf8)) == refusal
        )
    }

    @Test func aFileIsRefusedByPlace() throws {
        let problem = Problem(
            .configurationInvalid,
            "cannot use the policies",
            violations: [
                Violation(
                    field: "sources[1]",
                    value: "",
                    allowed: "",
                    message: "no option of open"
                )
            ]
        )
        let agent = try ScriptedAgent(["POST /v1/policies/reload": problem])
        #expect(
            try carryOut("policy reload", agent: agent).errors == """
                sallyport: sources[1]: no option of open

                """
        )
    }

    @Test func closesTheRestWhenOneCannotBeClosed() throws {
        let agent = try ScriptedAgent([
            "DELETE /v1/grants/17.1": Problem(.notPermitted, "cannot close 17.1: it is bob's"),
            "DELETE /v1/grants/17.2": Problem(.wrongState, "cannot close 17.2: it has ended"),
            "DELETE /v1/grants/18.1": try grant("18.1", state: .revoked),
        ])
        #expect(
            try carryOut("close 17.1 17.2 18.1", agent: agent)
                == Printed(
                    output: "closed 18.1: ssh 22/tcp from 198.51.100.7/32, alice\n",
                    errors: """
                        sallyport: cannot close 17.1: it is bob's
                        sallyport: cannot close 17.2: it has ended

                        """,
                    status: 77
                )
        )
    }

    @Test func stopsClosingWhenTheAgentIsGone() {
        let outcome = carryOut(["close", "17", "18", "--socket", "/nonexistent/s"], in: .fixed())
        #expect(outcome.status == 69)
        #expect(outcome.errors.split(separator: "\n").count == 1)
    }

    @Test func closingAllPassesOverWhatEndedMeanwhile() throws {
        let agent = try ScriptedAgent([
            "GET /v1/grants": GrantList(grants: [try grant("17.1"), try grant("17.2")]),
            "DELETE /v1/grants/17.1": Problem(.wrongState, "cannot close 17.1: it has ended"),
            "DELETE /v1/grants/17.2": try grant("17.2", state: .revoked),
        ])
        #expect(
            try carryOut("close --all", agent: agent)
                == Printed(output: "closed 17.2: ssh 22/tcp from 198.51.100.7/32, alice\n")
        )
    }

    @Test(arguments: ["extend 17 --for 30m", "close 17", "open ssh --from 192.0.2.1"])
    func whatWasDoneIsNoFailureWhereItsAnswerCannotBeRead(line: String) throws {
        let nonsense = ["nothing": "of the kind"]
        let outcome = try carryOut(
            line,
            [
                "POST /v1/requests": nonsense, "POST /v1/requests/17/extend": nonsense,
                "POST /v1/requests/17/revoke": nonsense,
            ]
        )
        #expect(outcome.errors.hasPrefix("sallyport: done, but the agent's answer cannot be read"))
        #expect(outcome.status == 0)
    }

    @Test func whatFailedBesideItSetsTheStatus() throws {
        let outcome = try carryOut(
            "close 17 18",
            [
                "POST /v1/requests/17/revoke": ["nothing": "of the kind"],
                "POST /v1/requests/18/revoke": Problem(.notPermitted, "cannot close 18"),
            ]
        )
        #expect(outcome.errors.contains("done, but"))
        #expect(outcome.errors.hasSuffix("sallyport: cannot close 18\n"))
        #expect(outcome.status == 77)
    }

    @Test(arguments: [("open ssh --from 192.0.2.1", 2, 0), ("extend 17 --for 30m", 1, 69)])
    func whereTheConnectionIsLostRepeatsWhatMayBeRepeated(
        line: String,
        calls: Int,
        status: Int32
    ) throws {
        let heard = Mutex<[HeardCall]>([])
        let agent = try ScriptedAgent(
            ["POST /v1/requests": request("17", [try grant("17.1")])],
            greet: { connection in
                guard heard.withLock(\.isEmpty) else { return true }
                if let call = HeardCall(from: connection) { heard.withLock { $0.append(call) } }
                return false
            }
        )
        let outcome = try carryOut(line, agent: agent)
        #expect(outcome.status == status)
        let all = heard.withLock { $0 } + agent.heard
        #expect(all.count == calls)
        // Under one key, and not one that anybody else would use.
        #expect(Set(all.map(\.key)).count == 1)
        #expect(calls == 1 || (all.first?.key?.count ?? 0) > 16)
    }

    @Test func aFileThatCannotBeReadIsNamed() throws {
        #expect(
            try carryOut("policy set db --file /nonexistent/p.json")
                == Printed(
                    errors:
                        "sallyport: cannot read /nonexistent/p.json: no such file or directory\n",
                    status: 65
                )
        )
    }

    private let refusal = Problem(
        .outsidePolicy,
        "cannot open: 4 limits are exceeded",
        violations: [
            Violation(
                field: "targets[0]",
                value: "23/tcp",
                allowed: "ssh",
                message: "no policy manages it"
            ),
            Violation(
                field: "sources[0]",
                value: "10.0.0.0/8",
                allowed: "10.0.0.0/24",
                message: "wider than ssh allows"
            ),
            // What is allowed is not said twice.
            Violation(field: "duration", value: "9h", allowed: "at most 3h", message: "at most 3h"),
            Violation(
                field: "reason",
                value: "",
                allowed: "10 characters or more",
                message: "a reason is required"
            ),
        ]
    )
}

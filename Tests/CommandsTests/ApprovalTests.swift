import API
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Commands

/// Requests that wait for others: how they are shown, answered and taken back.
@Suite(.blocking) struct ApprovalTests {
    @Test func pendingListsWhatWaits() throws {
        let list = RequestList(requests: [try waitingRequest("17")], next: nil)
        let outcome = try carryOut("pending", ["GET /v1/requests?state=pending&limit=100": list])
        #expect(
            outcome
                == Printed(
                    output: """
                        ID  USER   POLICY  PORT    SOURCE           FOR  AGREED  LAPSES          REASON
                        17  alice  ssh     22/tcp  198.51.100.7/32  45m  1/2     13:12 (in 12m)  disk full on db3

                        """
                )
        )
    }

    @Test func pendingSaysSoWhereNothingWaits() throws {
        let none = RequestList(requests: [], next: nil)
        let answers = ["GET /v1/requests?state=pending&limit=100": none]
        #expect(
            try carryOut("pending", answers) == Printed(errors: "no request waits for approval\n")
        )
        #expect(try carryOut("pending --json", answers).output == "{\n  \"requests\" : [\n  ]\n}\n")
    }

    @Test func openSaysWhatItWaitsFor() throws {
        let outcome = try carryOut(
            "open ssh --from 198.51.100.7",
            ["POST /v1/requests": try waitingRequest("17")]
        )
        #expect(
            outcome
                == Printed(
                    output: """
                        request 17 waits for approval, until 13:12 (in 12m)
                        policy ssh asks for 1 more approval of group:leads

                        ID    POLICY  PORT    SOURCE
                        17.1  ssh     22/tcp  198.51.100.7/32

                        take it back  sallyport cancel 17

                        """,
                    status: 75
                )
        )
    }

    @Test func anExtensionMayHaveToWait() throws {
        var request = try waitingRequest("21")
        request.extends = "17"
        let outcome = try carryOut(
            "extend 17 --for 30m",
            ["POST /v1/requests/17/extend": request]
        )
        #expect(
            outcome.output.hasPrefix("request 21, the extension of request 17, waits for approval")
        )
        #expect(outcome.status == 75)
    }

    @Test func approvingAnExtensionIsAboutWhatItLengthens() throws {
        var asked = try waitingRequest("21")
        (asked.extends, asked.grants) = ("17", [try grant("17.1")])
        var done = asked
        (done.state, done.needs) = (.active, nil)
        let outcome = try carryOut(
            "approve 21 --yes",
            ["GET /v1/requests/21": asked, "POST /v1/requests/21/approve": done]
        )
        #expect(outcome.errors.contains("\nmore time    45m, for what is open of request 17\n"))
        #expect(outcome.output.hasPrefix("request 17 is open until 13:42 (in 42m)\n"))
        #expect(outcome.output.contains("sallyport close 17\n"))
    }

    @Test(arguments: [
        (9, "at 22:00 (in 9h)"), (13, "tomorrow at 02:00 (in 13h)"),
        (49, "2026-12-03 at 14:00 (in 2d1h)"),
    ])
    func openSaysWhenItStarts(hours: Int, start: String) throws {
        var request = try waitingRequest("17", .scheduled)
        request.startsAt = noon + .seconds(hours * 3600)
        let outcome = try carryOut(
            "open ssh --from 198.51.100.7 --at 22:00",
            ["POST /v1/requests": request]
        )
        #expect(outcome.output.hasPrefix("request 17 opens \(start)\n"))
        #expect(outcome.status == 75)
    }

    @Test func pendingSaysWhatIsToBeLengthened() throws {
        var extending = try waitingRequest("21")
        extending.extends = "17"
        let list = RequestList(requests: [extending], next: nil)
        let agent = try ScriptedAgent(["GET /v1/requests?state=pending&limit=100": list])
        #expect(try carryOut("pending", agent: agent).output.contains("  45m more of 17  "))
        let narrow = try carryOut(
            "pending",
            agent: agent,
            on: Screen(columns: 80, isColoured: false)
        )
        #expect(narrow.output.contains("  +45m of 17  "), "\(narrow.output)")
    }

    @Test(
        arguments: [
            (.denied, 77, "request 17 was denied: policy ssh allows it no longer\n"),
            (.failed, 70, "request 17 failed: policy ssh allows it no longer\n"),
        ] as [(RequestState, Int32, String)]
    )
    func anApprovalThatTheAgentDeniesIsNotDone(
        state: RequestState,
        status: Int32,
        text: String
    ) throws {
        var denied = try waitingRequest("17", state)
        denied.decision = "policy ssh allows it no longer"
        let outcome = try carryOut(
            "approve 17 --yes",
            [
                "GET /v1/requests/17": try waitingRequest("17"),
                "POST /v1/requests/17/approve": denied,
            ]
        )
        #expect(outcome.output == text)
        #expect(outcome.status == status)
    }

    @Test(arguments: [RequestState.active, .pending, .scheduled])
    func whoApprovesIsNotToldWhatOnlyTheRequesterMayDo(state: RequestState) throws {
        var asked = try waitingRequest("17")
        asked.requester = user(1001, "bob")
        var answer = asked
        (answer.state, answer.grants) = (state, [try grant("17.1", requester: asked.requester)])
        let outcome = try carryOut(
            "approve 17 --yes",
            ["GET /v1/requests/17": asked, "POST /v1/requests/17/approve": answer]
        )
        #expect(outcome.output.hasSuffix("\n17.1  ssh     22/tcp  198.51.100.7/32\n"))
    }

    @Test func approveShowsTheWholeRequestAndAsks() throws {
        let agent = try ScriptedAgent([
            "GET /v1/requests/17": try waitingRequest("17"),
            "POST /v1/requests/17/approve": request("17", [try grant("17.1")]),
        ])
        let questions = Mutex<[String]>([])
        let outcome = try carryOut("approve 17 --for 30m", agent: agent) { question in
            questions.withLock { $0.append(question) }
            return true
        }
        #expect(questions.withLock(\.self) == ["Approve request 17?"])
        #expect(
            outcome.errors == """
                request 17 is pending
                requester    alice (unix:1000), 3m ago
                reason       disk full on db3
                ticket       OPS-1
                for          30m (asked for: 45m), from when it opens
                approved by  bob, 1m ago
                lapses       13:12 (in 12m)
                policy ssh asks for 1 more approval of group:leads

                ID    POLICY  PORT    SOURCE
                17.1  ssh     22/tcp  198.51.100.7/32


                """
        )
        #expect(outcome.output.hasPrefix("request 17 is open until 13:42 (in 42m)\n"))
        #expect(outcome.status == 0)
        // What is agreed to is what was shown.
        #expect(
            agent.calls.last
                == #"POST /v1/requests/17/approve {"duration":"30m","revision":2}"#
        )
    }

    @Test func approvingWithoutAYesChangesNothing() throws {
        let agent = try ScriptedAgent(["GET /v1/requests/17": try waitingRequest("17")])
        let outcome = try carryOut("approve 17", agent: agent) { _ in false }
        #expect(outcome.errors.hasSuffix("not approved: request 17 waits on\n"))
        #expect(outcome.status == 75)
        #expect(agent.calls == ["GET /v1/requests/17"])
    }

    @Test func approveAsksNobodyWhereThereIsNoTerminal() throws {
        let agent = try ScriptedAgent(["GET /v1/requests/17": try waitingRequest("17")])
        let outcome = try carryOut("approve 17", agent: agent)
        #expect(outcome.errors.contains("this is no terminal; say --yes"))
        #expect(outcome.status == 64)
        #expect(agent.calls == ["GET /v1/requests/17"])
    }

    @Test func approveWithYesNeedsNoTerminal() throws {
        let agent = try ScriptedAgent([
            "GET /v1/requests/17": try waitingRequest("17"),
            "POST /v1/requests/17/approve": try waitingRequest("17"),
        ])
        let outcome = try carryOut("approve 17 --yes", agent: agent)
        #expect(outcome.errors.contains("\nreason       disk full on db3\n"))
        #expect(outcome.output.hasPrefix("request 17 waits for approval"))
        // Approving is done, although others have to follow.
        #expect(outcome.status == 0)
        #expect(agent.calls.last == #"POST /v1/requests/17/approve {"revision":2}"#)
        let json = try carryOut("approve 17 --yes --json", agent: agent)
        #expect(json == Printed(output: try jsonText(try waitingRequest("17")) + "\n"))
    }

    @Test func aRequestThatWasChangedMeanwhileIsNotApproved() throws {
        let problem = Problem(.wrongState, "cannot approve request 17: it was changed: now for 20m")
        let outcome = try carryOut(
            "approve 17 --yes",
            [
                "GET /v1/requests/17": try waitingRequest("17"),
                "POST /v1/requests/17/approve": problem,
            ]
        )
        #expect(outcome.errors.hasSuffix("sallyport: \(problem.detail)\n"))
        #expect(outcome.status == 65)
    }

    @Test func denyAndCancelSayWhatTheyDid() throws {
        let answers = [
            "POST /v1/requests/17/deny": try waitingRequest("17", .denied),
            "POST /v1/requests/17/cancel": try waitingRequest("17", .cancelled),
        ]
        #expect(
            try carryOut("deny 17 --reason no", answers)
                == Printed(output: "denied request 17 of alice\n")
        )
        #expect(
            try carryOut("cancel 17", answers) == Printed(output: "took back request 17\n")
        )
    }

    @Test func canISaysYesAndWhatItWouldTake() throws {
        let opening = Opening(
            policy: "ssh",
            port: try PortRange(parsing: "22/tcp"),
            source: try CIDR(parsing: "198.51.100.7")
        )
        func preview(_ needs: [NeedDocument]?) -> PreviewDocument {
            PreviewDocument(
                duration: .seconds(2700),
                needs: needs,
                grants: [opening],
                superseded: nil
            )
        }
        let path = "POST /v1/requests?dry_run=true"
        let ask = "open ssh --from 198.51.100.7"
        for line in ["can-i \(ask)", "\(ask) --dry-run"] {
            #expect(
                try carryOut(line, [path: preview(nil)])
                    == Printed(output: "yes\n  ssh 22/tcp from 198.51.100.7/32 for 45m\n")
            )
        }
        let need = NeedDocument(policy: "ssh", approvals: 2, given: 0)
        #expect(
            try carryOut("can-i \(ask)", [path: preview([need])]).output == """
                yes, once others agree
                  ssh 22/tcp from 198.51.100.7/32 for 45m
                  policy ssh asks for 2 approvals

                """
        )
    }

    @Test func canISaysNoWithEveryLimit() throws {
        let limits = ["9h: at most 3h", "a reason is required"].map {
            Violation(field: "duration", value: "9h", allowed: "", message: $0)
        }
        let path = "POST /v1/requests?dry_run=true"
        let outside = Problem(.outsidePolicy, "cannot open", violations: limits)
        let line = "can-i open ssh --from 198.51.100.7"
        #expect(
            try carryOut(line, [path: outside])
                == Printed(
                    output: "no\n  --for: 9h: at most 3h\n  --for 9h: a reason is required\n",
                    status: 65
                )
        )
        #expect(
            try carryOut(line, [path: Problem(.notPermitted, "cannot open ssh: not for you")])
                == Printed(output: "no\n  cannot open ssh: not for you\n", status: 77)
        )
        let json = try carryOut(line + " --json", [path: outside])
        #expect(json == Printed(output: try jsonText(outside) + "\n", status: 65))
        // This is no answer.
        let fault = try carryOut(line, [path: Problem(.ledgerUnavailable, "cannot tell")])
        #expect(fault == Printed(errors: "sallyport: cannot tell\n", status: 70))
    }
}

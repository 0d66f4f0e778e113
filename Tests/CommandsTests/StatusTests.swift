import API
import Policy
import TestSupport
import Testing

@testable import Commands

/// What `status` says, to the character.
@Suite(.blocking) struct StatusTests {
    @Test func statusShowsTheGateAndEachPolicy() throws {
        let outcome = try carryOut(
            "status",
            ["GET /v1/status": try status()]
        )
        #expect(
            outcome
                == Printed(
                    output: """
                        you          alice (unix:1000): requester, viewer
                        you may      read the status, ask for access
                        ask under    ssh
                        gate         armed, owned by the agent (table inet sallyport, Linux 6.18.0)
                                     1204 packets dropped
                        agent        0.1.0, process 812, started 3d2h ago, 2 live grants
                        policies     loaded 2h5m ago
                        break glass  192.0.2.10/32: 1 connection let in
                                     2001:db8::/64: 0 connections let in

                        POLICY  PORTS                   SESSIONS  LIVE  7 DAYS  LAST ACCESS
                        ssh     22/tcp                  keep         2      31  alice, 12m ago, from 198.51.100.7 to 22/tcp
                        winrm   5985-5986/tcp, 443/udp  disabled     0       0  -

                        """
                )
        )
    }

    @Test func armSaysWhereThereIsNothingToTry() throws {
        let outcome = try carryOut(
            "arm --confirm-within 2m",
            ["POST /v1/gate/arm?confirm_within=2m": try status()]
        )
        #expect(outcome.output == "the gate is armed\n")
        #expect(outcome.errors.contains("it was armed before"))
        #expect(outcome.status == 0)
    }

    @Test func statusIsLoudWhenTheGateIsNotArmed() throws {
        var document = try status()
        document.gate.armed = false
        document.gate.fault = "the table is gone"
        document.gate.breakGlass = []
        document.agent.configurationError = "ssh.yaml:3:5: one\nssh.yaml:4:5: two"
        document.policies = []
        let outcome = try carryOut("status", ["GET /v1/status": document])
        #expect(
            outcome
                == Printed(
                    output: """
                        THE GATE IS NOT ARMED: managed ports may be open to everybody
                        you        alice (unix:1000): requester, viewer
                        you may    read the status, ask for access
                        ask under  ssh
                        gate       NOT ARMED: the table is gone
                        agent      0.1.0, process 812, started 3d2h ago, 2 live grants
                        policies   loaded 2h5m ago
                                   THE FILES ARE REFUSED, these stay:
                                   ssh.yaml:3:5: one
                                   ssh.yaml:4:5: two

                        no policies: no port is managed

                        """,
                    errors:
                        "sallyport: THE GATE IS NOT ARMED: managed ports may be open to everybody\n",
                    status: 70
                )
        )
    }

    @Test func statusIsLoudWhenTheFilesAreNotInForceOrNothingCanBeRecorded() throws {
        var document = try status()
        document.agent.configuration = .lastKnownGood
        document.agent.configurationError = "ssh.yaml:3:5: one"
        document.ledgerFault = "cannot write the ledger: no space left on device"
        document.auditFault = "rows 3 to 4 are missing"
        let kept = try carryOut("status", ["GET /v1/status": document])
        let alarms = """
            THE FILES ARE NOT IN FORCE: what was in force before them is
            NOTHING CAN BE OPENED: cannot write the ledger: no space left on device
            THE AUDIT TRAIL WAS DAMAGED: rows 3 to 4 are missing

            """
        #expect(kept.output.hasPrefix(alarms + "you          alice "))
        #expect(
            kept.output.contains(
                """
                policies     last known good, loaded 2h5m ago
                             THE FILES ARE REFUSED, these stay:
                             ssh.yaml:3:5: one

                """
            )
        )
        #expect(
            kept.errors
                == alarms.split(separator: "\n").map { "sallyport: \($0)\n" }.joined()
        )
        #expect(kept.status == 70)

        document.agent.configuration = .defaults
        document.ledgerFault = nil
        document.auditFault = nil
        let defaults = try carryOut("status --json", ["GET /v1/status": document])
        #expect(
            defaults.errors == """
                sallyport: THE FILES ARE NOT IN FORCE: the default ports are closed, and nobody \
                but root may ask

                """
        )
        #expect(defaults.status == 70)
        #expect(defaults.output.hasPrefix("{"))
    }

    @Test func whatAnAdminMayDoTakesSeveralLines() throws {
        var document = try status()
        document.you.may = (1...9).map { "do the thing number \($0)" }
        document.you.approves = ["rdp", "winrm"]
        document.agent.warnings = ["a.yaml:1:2: no such group", "a.yaml:2:2: no such user"]
        let outcome = try carryOut("status", ["GET /v1/status": document])
        #expect(
            outcome.output.contains(
                """
                you may      do the thing number 1, do the thing number 2,
                             do the thing number 3, do the thing number 4,
                             do the thing number 5, do the thing number 6,
                             do the thing number 7, do the thing number 8,
                             do the thing number 9
                ask under    ssh
                answer for   rdp, winrm
                gate         armed
                """
            )
        )
        #expect(
            outcome.output.contains(
                """
                policies     loaded 2h5m ago
                warnings     a.yaml:1:2: no such group
                             a.yaml:2:2: no such user

                """
            )
        )
    }

    @Test func longFactsContinueBelowOnANarrowTerminal() throws {
        var document = try status()
        document.gate.owned = false
        document.agent.warnings = ["a.yaml:1:2: " + String(repeating: "no such group ", count: 6)]
        let outcome = try carryOut(
            "status",
            agent: ScriptedAgent(["GET /v1/status": document]),
            on: Screen(columns: 80, isColoured: false)
        )
        #expect(
            outcome.output.contains(
                """
                gate         armed, other programs may change it (table inet sallyport, Linux
                             6.18.0)
                             1204 packets dropped

                """
            )
        )
        #expect(outcome.output.contains("\n             no such group no such group\n"))
        #expect(outcome.output.contains("\n    alice, 12m ago, from 198.51.100.7 to 22/tcp\n"))
        #expect(outcome.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test func theLastAccessNamesAFewSources() throws {
        var document = try status()
        document.policies[0].lastAccess?.sources = try ["::1", "::2", "::3", "10.0.0.0/8"].map {
            try CIDR(parsing: $0)
        }
        let outcome = try carryOut("status", ["GET /v1/status": document])
        #expect(outcome.output.contains("  alice, 12m ago, from ::1, ::2 and 2 more to 22/tcp\n"))
    }
}

import API
import FoundationEssentials
import Policy
import Testing

@testable import Commands

/// What people read, to the character.
struct RenderingTests {
    @Test func openSaysWhichGrantsItEnded() throws {
        let answer = request(
            "17",
            [try grant("17.1")],
            superseded: [SupersededDocument(id: "16.1", expiresAt: noon + .seconds(7200))]
        )
        let outcome = try carryOut(
            "open ssh --from 198.51.100.7 --for 42m",
            ["POST /v1/requests": answer]
        )
        #expect(
            outcome.output.hasPrefix(
                """
                request 17 is open until 13:42 (in 42m)
                it ends 16.1, which was open until 15:00 (in 2h)

                ID
                """
            )
        )
    }

    @Test func anAnswerThatComesAfterTheEndSaysSo() throws {
        let ended = try grant("17.1", state: .expired, ended: noon, endReason: .expired)
        let outcome = try carryOut(
            "open ssh --from 198.51.100.7",
            ["POST /v1/requests": request("17", [ended], state: .expired)]
        )
        #expect(
            outcome == Printed(output: "request 17 is over (expired): nothing is open\n")
        )
    }

    @Test func openSaysWhatIsOpenUntilWhenAndHowToGoOn() throws {
        let answer = request(
            "17",
            [try grant("17.1"), try grant("17.2", policy: "winrm", port: "5985-5986/tcp")]
        )
        let agent = try ScriptedAgent(["POST /v1/requests": answer])
        let outcome = try carryOut("open ssh winrm --from 198.51.100.7", agent: agent)
        #expect(
            outcome
                == Printed(
                    output: """
                        request 17 is open until 13:42 (in 42m)

                        ID    POLICY  PORT           SOURCE
                        17.1  ssh     22/tcp         198.51.100.7/32
                        17.2  winrm   5985-5986/tcp  198.51.100.7/32

                        more time  sallyport extend 17 --for 30m
                        close now  sallyport close 17

                        """
                )
        )
    }

    @Test func extendShowsWhatIsStillOpen() throws {
        let answer = request(
            "17",
            [
                try grant("17.1", ends: .seconds(3600 * 12)),
                try grant("17.2", state: .revoked, ended: noon, endReason: .closedByRequester),
            ]
        )
        let agent = try ScriptedAgent(["POST /v1/requests/17/extend": answer])
        let outcome = try carryOut("extend 17 --for 30m", agent: agent)
        #expect(
            outcome.output.hasPrefix(
                """
                request 17 is now open until tomorrow 01:00 (in 12h)

                ID    POLICY  PORT    SOURCE
                17.1  ssh     22/tcp  198.51.100.7/32


                """
            )
        )
    }

    @Test func listShowsLiveGrants() throws {
        let list = GrantList(grants: [
            try grant("9.1", packets: 3),
            try grant("17.12", requester: user(1001, "bob"), ends: .seconds(30)),
        ])
        let outcome = try carryOut("list", ["GET /v1/grants": list])
        #expect(
            outcome
                == Printed(
                    output: """
                        ID     POLICY  PORT    SOURCE           USER   ENDS            PACKETS
                        9.1    ssh     22/tcp  198.51.100.7/32  alice  13:42 (in 42m)        3
                        17.12  ssh     22/tcp  198.51.100.7/32  bob    13:00 (in 30s)        -

                        """
                )
        )
    }

    @Test func namesWhoCalledSudoAndWhoSpeaks() throws {
        let remote = Person(
            subject: try Subject(issuer: "corp", id: "248289"),
            name: "carol@example.com",
            via: "portal",
            origin: .client(address: try IPAddress(parsing: "198.51.100.7"), session: "k3J9")
        )
        let root = user(0, "root", login: Origin.Login(uid: 1000, name: "alice"))
        let list = GrantList(grants: [
            try grant("9.1", requester: WhoDocument(remote)), try grant("8.1", requester: root),
        ])
        let outcome = try carryOut("list", ["GET /v1/grants": list])
        #expect(outcome.output.contains("  carol@example.com via portal  13:42"))
        #expect(outcome.output.contains("  root (login alice)            13:42"))
    }

    @Test func listReadsAllPages() throws {
        let pages = [[try grant("9.1"), try grant("8.1")], [try grant("7777.1")]]
        let answers = [
            "GET /v1/requests?limit=100": all(pages[0], next: "8"),
            "GET /v1/requests?before=8&limit=100": all(pages[1]),
        ]
        #expect(
            try carryOut("list --all", answers).output == """
                ID   POLICY  PORT    SOURCE           USER   STATE   ENDS            PACKETS  LAST USE  REASON
                9.1  ssh     22/tcp  198.51.100.7/32  alice  active  13:42 (in 42m)        -  -         -
                8.1  ssh     22/tcp  198.51.100.7/32  alice  active  13:42 (in 42m)        -  -         -
                7777.1  ssh     22/tcp  198.51.100.7/32  alice  active  13:42 (in 42m)        -  -         -

                """
        )
        let whole = GrantList(grants: pages[0] + pages[1])
        let outcome = try carryOut("list --all --json", answers)
        #expect(outcome == Printed(output: try jsonText(whole) + "\n"))
    }

    @Test func listAllShowsAGrantOnceThoughItIsLengthened() throws {
        var extending = request("18", [try grant("17.1")], state: .pending)
        extending.extends = "17"
        let list = RequestList(
            requests: [extending, request("17", [try grant("17.1")])],
            next: nil
        )
        let outcome = try carryOut("list --all", ["GET /v1/requests?limit=100": list])
        #expect(outcome.output.split(separator: "\n").count == 2)
    }

    @Test func aListThatCannotBeReadToItsEndIsNoDocument() throws {
        let first = GrantList(grants: [try grant("9.1")], next: "9")
        let outcome = try carryOut("list --json", ["GET /v1/grants": first])
        #expect(outcome.status == 65)
        #expect(outcome.output.contains("9.1"))
        #expect(throws: (any Error).self) {
            try JSONDecoder().decode(GrantList.self, from: Data(outcome.output.utf8))
        }
    }

    @Test func listAllShowsWhatWaitsAndHowGrantsEnded() throws {
        let list = GrantList(grants: [
            try grant(
                "9.1",
                reason: "disk full",
                packets: 12,
                lastUsed: noon + .seconds(-300)
            ),
            try grant(
                "8.1",
                state: .revoked,
                ended: noon + .seconds(-60),
                endReason: .closedByAdmin,
                reason: String(repeating: "x", count: 90)
            ),
            try grant(
                "7.1",
                state: .expired,
                ends: .seconds(-86_400),
                ended: noon + .seconds(-86_400),
                endReason: .expired,
                packets: 0
            ),
            try grant("6.1", state: .pending, ends: nil),
        ])
        let outcome = try carryOut(
            "list --all",
            ["GET /v1/requests?limit=100": all(list.grants)]
        )
        #expect(
            outcome.output == """
                ID   POLICY  PORT    SOURCE           USER   STATE                      ENDS                       PACKETS  LAST USE    REASON
                9.1  ssh     22/tcp  198.51.100.7/32  alice  active                     13:42 (in 42m)                  12  5m ago      disk full
                8.1  ssh     22/tcp  198.51.100.7/32  alice  revoked (closed-by-admin)  12:59 (1m ago)                   -  -           \(String(repeating: "x", count: 90))
                7.1  ssh     22/tcp  198.51.100.7/32  alice  expired                    yesterday 13:00 (24h ago)        0  never used  -
                6.1  ssh     22/tcp  198.51.100.7/32  alice  pending                    -                                -  -           -

                """
        )
    }

    @Test(arguments: [
        ("list", "no live grants\n"), ("list --all", "no grants\n"),
        ("close --all", "nothing to close\n"),
    ])
    func saysSoWhenThereIsNothing(line: String, note: String) throws {
        let none = GrantList(grants: [])
        let agent = try ScriptedAgent([
            "GET /v1/grants": none, "GET /v1/requests?limit=100": all([]),
        ])
        let outcome = try carryOut(line, agent: agent)
        #expect(outcome == Printed(errors: note))
    }

    @Test func closeNamesWhatItClosed() throws {
        let agent = try ScriptedAgent([
            "POST /v1/requests/17/revoke": request(
                "17",
                [try grant("17.1", state: .revoked), try grant("17.2", state: .expired)]
            ),
            "DELETE /v1/grants/18.1": try grant(
                "18.1",
                requester: user(1001, "bob"),
                state: .revoked
            ),
        ])
        let outcome = try carryOut("close 17 18.1", agent: agent)
        #expect(
            outcome
                == Printed(
                    output: """
                        closed 17.1: ssh 22/tcp from 198.51.100.7/32, alice
                        closed 18.1: ssh 22/tcp from 198.51.100.7/32, bob

                        """
                )
        )
    }

    @Test func policyListAndShow() throws {
        let agent = try ScriptedAgent([
            "GET /v1/policies": PolicyList(policies: [sshPolicy]),
            "GET /v1/policies/ssh": sshPolicy,
        ])
        #expect(
            try carryOut("policy list", agent: agent)
                == Printed(
                    output: """
                        POLICY  PORTS   LONGEST  REASON    TICKET  DESCRIPTION
                        ssh     22/tcp  3h       optional  -       SSH for operators

                        """
                )
        )
        #expect(
            try carryOut("policy show ssh", agent: agent)
                == Printed(
                    output: """
                        name                      ssh
                        description               SSH for operators
                        enabled                   yes
                        ports                     22/tcp
                        hosts                     this machine
                        allowed_sources           0.0.0.0/0, ::/0
                        widest_source             IPv4 /24, IPv6 /64
                        max_duration              3h
                        default_duration          3h
                        requesters                all requesters
                        approvals                 0
                        approvers                 all approvers
                        pending_for               15m
                        max_active_per_requester  10
                        reason                    optional
                        reason_min_length         0
                        ticket_pattern            -
                        sessions                  keep
                        udp_sessions              cut

                        """
                )
        )
    }
}

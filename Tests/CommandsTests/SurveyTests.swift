import API
import TestSupport
import Testing

@testable import Commands

/// What `discover` and `doctor` say, to the character.
@Suite(.blocking) struct SurveyTests {
    private let drop = Finding(
        .error,
        .dropsGranted,
        "the policy of chain ip filter INPUT drops 22/tcp from 0.0.0.0/0, behind the gate",
        advice: "ufw allow 22/tcp: the gate closes what is not granted",
        table: "ip filter",
        chain: "INPUT",
        ports: ["22/tcp"]
    )
    private let accept = Finding(
        .note,
        .acceptedBefore,
        "rule 7 of chain ip t pre accepts 22/tcp",
        advice: "nothing",
        table: "ip t",
        chain: "pre",
        handle: 7
    )

    @Test func doctorNamesEachFindingAndFailsWithAnError() throws {
        let outcome = try carryOut(
            "doctor",
            ["GET /v1/doctor": DoctorDocument(findings: [accept, drop], rules: 31)]
        )
        #expect(
            outcome
                == Printed(
                    output: """
                        error drops-granted: ip filter INPUT
                            the policy of chain ip filter INPUT drops 22/tcp from 0.0.0.0/0, behind the gate
                            -> ufw allow 22/tcp: the gate closes what is not granted
                        note accepted-before: ip t pre handle 7
                            rule 7 of chain ip t pre accepts 22/tcp
                            -> nothing
                        1 error, 1 note (31 rules read)

                        """,
                    status: 70
                )
        )
    }

    @Test func doctorIsContentWithNotesAndWithNothing() throws {
        let noted = try carryOut(
            "doctor",
            ["GET /v1/doctor": DoctorDocument(findings: [accept], rules: 1)]
        )
        #expect(noted.status == 0)
        let healthy = try carryOut(
            "doctor",
            ["GET /v1/doctor": DoctorDocument(findings: [], rules: 1)]
        )
        #expect(
            healthy == Printed(output: "nothing stands in the gate's way (1 rule read)\n")
        )
    }

    @Test func doctorPrintsTheDocumentAndFailsAlike() throws {
        let document = DoctorDocument(findings: [drop], rules: 31)
        let outcome = try carryOut("doctor --json", ["GET /v1/doctor": document])
        #expect(outcome.status == 70)
        #expect(outcome.output.contains("\"code\" : \"drops-granted\""))
        #expect(outcome.output.contains("\"healthy\" : false"))
    }

    @Test func discoverListsPortsAndWhatWouldManageThem() throws {
        let lines = "policies:\n  - name: port-8080-tcp\n    ports: [8080/tcp]\n"
        let document = DiscoverDocument(
            services: [
                ServiceDocument(
                    port: "22/tcp",
                    state: .configured,
                    reason: "closed unless granted",
                    addresses: ["0.0.0.0", "::"],
                    uid: 0,
                    process: "sshd",
                    policy: "ssh"
                ),
                ServiceDocument(
                    port: "5432/tcp",
                    state: .unsupported,
                    reason: "it listens on loopback only",
                    addresses: ["127.0.0.1"],
                    uid: 4_000_000_000
                ),
                ServiceDocument(
                    port: "8080/tcp",
                    state: .notConfigured,
                    reason: "open to the network: no policy names it",
                    target: "172.17.0.2:80",
                    rule: "ip nat DOCKER 4",
                    lines: lines
                ),
            ],
            gaps: ["interfaces: no"]
        )
        let outcome = try carryOut("discover", ["GET /v1/discover": document])
        #expect(
            outcome
                == Printed(
                    output: """
                        PORT      STATE           POLICY  OF               AT             WHY
                        22/tcp    Configured      ssh     sshd             0.0.0.0, ::    closed unless granted
                        5432/tcp  Unsupported     -       4000000000       127.0.0.1      it listens on loopback only
                        8080/tcp  Not configured  -       ip nat DOCKER 4  172.17.0.2:80  open to the network: no policy names it

                        To manage what is not, put what you want closed into a file of policy.d:
                            policies:
                              - name: port-8080-tcp
                                ports: [8080/tcp]

                        """,
                    errors: "sallyport: could not look at everything: interfaces: no\n"
                )
        )
        let nothing = try carryOut(
            "discover",
            ["GET /v1/discover": DiscoverDocument(services: [], gaps: [])]
        )
        #expect(nothing == Printed(output: "nothing listens here\n"))
    }
}

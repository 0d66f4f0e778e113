import API
import FoundationEssentials
import Glibc
import Policy
import TestSupport
import Testing

@testable import Commands

/// The audit trail as it is shown, filtered, followed and verified.
@Suite(.blocking) struct LogTests {
    static let opened = row(41, .opened) { row in
        (row.request, row.grant) = ("17", "17.1")
        (row.policy, row.port, row.source) = ("ssh", "22/tcp", "198.51.100.7/32")
        (row.reason, row.ticket, row.outcome) = ("disk full", "OPS-1", "active")
    }
    static let ended = row(42, .ended, by: nil) { row in
        (row.request, row.grant, row.requesterName) = ("17", "17.1", "alice")
        (row.policy, row.port, row.source) = ("ssh", "22/tcp", "198.51.100.7/32")
        (row.outcome, row.detail) = ("expired", "expired")
    }

    static func row(
        _ sequence: Int64,
        _ kind: AuditKind,
        by name: String? = "alice",
        _ fill: (inout AuditRow) -> Void = { _ in }
    ) -> AuditRow {
        let person = name.map {
            Person(subject: .local(uid: 1000), name: $0, origin: .process(.init(pid: 7)))
        }
        var row = AuditRow(
            sequence: sequence,
            at: noon + .seconds(7),
            event: kind.rawValue,
            by: person
        )
        row.hash = "f00d"
        fill(&row)
        return row
    }

    /// The trail in the agent's JSON Lines, in parts that break in the middle of lines.
    static func lines(_ rows: AuditRow...) throws -> Streamed {
        let text = try rows.map { try json($0) + "\n" }.joined()
        let half = text.index(text.startIndex, offsetBy: text.count / 2)
        let parts = text.isEmpty ? [] : [String(text[..<half]), String(text[half...])]
        return Streamed(parts: parts, type: "application/jsonl", isFinished: true)
    }

    /// Some events, and a hint of what lies ahead, which is none.
    static func events(_ rows: AuditRow..., hangsUp: Bool = false) throws -> Streamed {
        let hint = "event: ending-soon\ndata: {\"grant\":\"17.1\"}\n\n"
        let texts = try rows.map {
            "id: \($0.sequence)\nevent: \($0.event)\ndata: \(try json($0))\n\n"
        }
        return Streamed(parts: [hint] + texts, hangsUp: hangsUp)
    }

    @Test func showsWhatHappenedOldestFirst() throws {
        let agent = try ScriptedAgent(["GET /v1/audit": Self.lines(Self.opened, Self.ended)])
        #expect(
            try carryOut("log", agent: agent)
                == Printed(
                    output: """
                        TIME                 EVENT   BY     ID    WHAT                                      DETAIL
                        2026-12-01 13:00:07  opened  alice  17.1  ssh 22/tcp from 198.51.100.7/32           active; disk full; OPS-1
                        2026-12-01 13:00:07  ended   agent  17.1  ssh 22/tcp from 198.51.100.7/32 of alice  expired; expired

                        """
                )
        )
        #expect(agent.heard.map(\.accepted) == ["application/jsonl"])
    }

    @Test(
        arguments: [
            ("log --since 7d", "?since=2026-11-24T12%3A00%3A00Z"),
            ("log --since 12:30", "?since=2026-12-01T11%3A30%3A00Z"),
            ("log --since 13:30", "?since=2026-11-30T12%3A30%3A00Z"),
            (
                "log --since 2026-11-01T00:00:00+01:00 --until 1h",
                "?since=2026-10-31T23%3A00%3A00Z&until=2026-12-01T11%3A00%3A00Z"
            ),
            (
                "log --policy ssh --user alice --event opened --source ::1 --request 17",
                "?policy=ssh&user=alice&event=opened&source=%3A%3A1&request=17"
            ),
        ]
    )
    func asksForWhatIsWanted(line: String, query: String) throws {
        let agent = try ScriptedAgent(["GET /v1/audit\(query)": Self.lines(Self.opened)])
        #expect(try carryOut(line, agent: agent).status == 0)
        #expect(agent.calls == ["GET /v1/audit\(query)"])
    }

    @Test func saysSoWhenThereIsNothingOrANameIsWrong() throws {
        let none = AuditPage(events: [], next: nil)
        let answers: [String: any Encodable & Sendable] = [
            "GET /v1/audit?policy=ssh": try Self.lines(),
            "GET /v1/audit?policy=ssh&limit=1": none,
            "GET /v1/audit?policy=shh&user=bob": try Self.lines(),
            "GET /v1/audit?policy=shh&user=bob&limit=1": none,
            "GET /v1/audit?request=17": try Self.lines(),
            "GET /v1/audit?request=17&limit=1": none,
            "GET /v1/audit?limit=1": AuditPage(events: [Self.opened], next: nil),
            "GET /v1/grants?policy=ssh": GrantList(grants: []),
            "GET /v1/grants?policy=shh&requester=bob": Problem(.notFound, "there is no policy shh"),
            "GET /v1/grants": GrantList(grants: []),
            "GET /v1/requests/17": Problem(.notFound, "there is no request 17"),
        ]
        #expect(try carryOut("log --policy ssh", answers) == Printed(errors: "no events\n"))
        for option in ["", " --format jsonl", " --follow"] {
            #expect(
                try carryOut("log --policy shh --user bob\(option)", answers)
                    == Printed(errors: "sallyport: there is no policy shh\n", status: 65)
            )
        }
        let asJSON = try carryOut("log --policy shh --user bob --json", answers)
        #expect(asJSON.output.isEmpty)
        #expect(asJSON.status == 65)
        #expect(
            try carryOut("log --request 17", answers)
                == Printed(errors: "sallyport: there is no request 17\n", status: 65)
        )
    }

    /// Such as an approver who never asked for anything: there is no request to know them by.
    @Test func whoHasEventsAtAnotherTimeIsKnown() throws {
        let outcome = try carryOut(
            "log --since 1h --user carol",
            [
                "GET /v1/audit?since=2026-12-01T11%3A00%3A00Z&user=carol": try Self.lines(),
                "GET /v1/audit?user=carol&limit=1": AuditPage(events: [Self.opened], next: nil),
            ]
        )
        #expect(outcome == Printed(errors: "no events\n"))
    }

    @Test func aKindThatIsNoneNamesThemAll() throws {
        let outcome = try carryOut("log --event opend")
        #expect(outcome.status == 64)
        #expect(outcome.errors.contains("did you mean opened? there are agent-started, "))
    }

    @Test(arguments: [
        "log --json --format csv", "log --follow --until 1h", "log --follow --format csv",
        "log --format xml", "log --request x", "log verify 17", "log --since",
        "log verify --head xyz", "log verify --head beef", "log --since banana",
        "log verify --head \(String(repeating: "g", count: 64))", "log --until banana",
        "log --source junk", "log --source 10.0.0.1/8", "log --since 1h --until 2h",
    ])
    func isAUsageError(_ line: String) throws {
        let agent = try ScriptedAgent()
        #expect(try carryOut(line, agent: agent).status == 64)
        #expect(agent.calls.isEmpty)
    }

    @Test func jsonIsOneDocumentAndLinesAreTheAgents() throws {
        let evil = Self.row(43, .refused, by: "\u{9b}2J")
        let agent = try ScriptedAgent(["GET /v1/audit": Self.lines(Self.opened, evil)])
        for line in ["log --json", "log --format json"] {
            let page = try carryOut(line, agent: agent)
            #expect(
                page
                    == Printed(
                        output: try jsonText(AuditPage(events: [Self.opened, evil], next: nil))
                            + "\n"
                    )
            )
        }
        let lines = try carryOut("log --format jsonl", agent: agent)
        let text = try json(Self.opened) + "\n" + json(evil) + "\n"
        #expect(lines == Printed(output: text.replacing("\u{9b}", with: "\\u009b")))
    }

    @Test func csvIsTheAgentsToTheByteUnlessATerminalReadsIt() throws {
        let text = "sequence,at\r\n41,\"a \u{1b}[31m\"\r\n"
        let agent = try ScriptedAgent([
            "GET /v1/audit": Streamed(parts: [text], type: "text/csv", isFinished: true)
        ])
        #expect(try carryOut("log --format csv", agent: agent) == Printed(output: text))
        #expect(agent.heard.map(\.accepted) == ["text/csv"])
        let screen = Screen(columns: 80, isColoured: true)
        #expect(
            try carryOut("log --format csv", agent: agent, on: screen).output
                == "sequence,at\n41,\"a \\u{1b}[31m\"\n"
        )
    }

    @Test func aWrongNameIsAnErrorInCSVToo() throws {
        let heading = Streamed(parts: ["sequence,at\r\n"], type: "text/csv", isFinished: true)
        let outcome = try carryOut(
            "log --format csv --policy shh",
            [
                "GET /v1/audit?policy=shh": heading,
                "GET /v1/audit?policy=shh&limit=1": AuditPage(events: [], next: nil),
                "GET /v1/grants?policy=shh": Problem(.notFound, "there is no policy shh"),
            ]
        )
        #expect(outcome.errors == "sallyport: there is no policy shh\n")
        #expect(outcome.status == 65)
    }

    @Test func aTrailThatIsCutOffIsAnError() throws {
        var stream = try Self.lines(Self.opened)
        stream.isFinished = false
        stream.hangsUp = true
        let outcome = try carryOut("log", ["GET /v1/audit": stream])
        #expect(outcome.status == 69)
        #expect(outcome.output.contains("17.1"))
    }

    @Test func anAgentThatHangsIsNotWaitedForLong() throws {
        let hanging = try ScriptedAgent { connection in
            // Nothing is answered until the client goes.
            var byte: UInt8 = 0
            while read(connection, &byte, 1) > 0 {}
            return false
        }
        let outcome = try carryOut("log", agent: hanging)
        #expect(outcome.errors.contains("no answer within 5 s"))
        #expect(outcome.status == 69)
    }

    @Test func theSourceIsWholeAndTheDetailBelowOnANarrowTerminal() throws {
        let remote = Person(
            subject: try Subject(issuer: "corp", id: "248289"),
            name: "alice@example.com",
            via: "portal",
            origin: .client(address: try IPAddress(parsing: "192.0.2.9"), session: "k3J9")
        )
        var row = AuditRow(sequence: 41, at: noon, event: "configuration-refused", by: remote)
        (row.request, row.grant, row.hash) = ("12345", "12345.12", "f00d")
        (row.policy, row.port) = ("management", "5985-5986/tcp")
        row.source = "203.113.113.128/25 2001:db8::/64"
        (row.reason, row.outcome) = (String(repeating: "disk full ", count: 9), "active")
        let outcome = try carryOut(
            "log",
            agent: ScriptedAgent(["GET /v1/audit": Self.lines(row)]),
            on: Screen(columns: 80, isColoured: false)
        )
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.allSatisfy { $0.count <= 80 }, "\(outcome.output)")
        try #require(lines.count == 5)
        #expect(lines[2].contains("  portal:"))
        #expect(lines[2].contains("  203.113.113.128/25 +"))
        #expect(lines[3].hasPrefix("    active; disk full "))
        #expect(lines[4].hasSuffix("disk full"))
    }

    @Test func aRefusalIsTold() throws {
        let outcome = try carryOut("log", ["GET /v1/audit": Problem(.notPermitted, "cannot read")])
        #expect(outcome == Printed(errors: "sallyport: cannot read\n", status: 77))
    }

    @Test func followsFromTheNewestOnAndThroughARestart() throws {
        let other = Self.row(43, .opened) { $0.policy = "rdp winrm" }
        let agent = try ScriptedAgent([
            "GET /v1/audit?limit=1": AuditPage(events: [Self.row(40, .started)], next: nil),
            "GET /v1/audit?policy=ssh&limit=1": AuditPage(events: [Self.opened], next: nil),
            "GET /v1/events": InTurn(
                try Self.events(Self.opened, other, hangsUp: true),
                try Self.events(Self.row(44, .stopped), hangsUp: true),
                Problem(.notPermitted, "cannot follow any more")
            ),
        ])
        let outcome = try carryOut("log --follow --policy ssh --format jsonl", agent: agent)
        #expect(outcome.output == "\(try json(Self.opened))\n")
        #expect(outcome.errors.hasSuffix("sallyport: cannot follow any more\n"))
        #expect(outcome.status == 77)
        // Nothing that happened in between is left out, and nothing comes twice.
        #expect(agent.heard.compactMap(\.lastEvent) == ["40", "43", "44"])
    }

    @Test func followsWhatWasAskedForFirst() throws {
        let agent = try ScriptedAgent([
            "GET /v1/audit?limit=1": AuditPage(events: [Self.opened], next: nil),
            "GET /v1/audit?since=2026-11-24T12%3A00%3A00Z": try Self.lines(Self.opened, Self.ended),
            "GET /v1/events": Problem(.notPermitted, "cannot follow"),
        ])
        let outcome = try carryOut("log --follow --since 7d", agent: agent)
        #expect(outcome.output.split(separator: "\n").count == 3)
        #expect(agent.heard.last?.lastEvent == "42")
    }

    @Test(
        arguments: [
            ("--user alice", true), ("--user unix:1000", true), ("--user bob", false),
            ("--policy rdp", true), ("--policy rd", false), ("--event opened", true),
            ("--event ended", false), ("--source 198.51.100.7", true),
            ("--source 2001:DB8::/64", true), ("--source 198.51.100.8", false),
            ("--request 17", true), ("--request 1", false),
        ]
    )
    func followsOnlyWhatIsWanted(option: String, isShown: Bool) throws {
        let row = Self.row(41, .opened) { row in
            (row.request, row.policy) = ("17", "ssh rdp")
            row.source = "198.51.100.7/32 2001:db8::/64"
        }
        let pairs = option.dropFirst(2).split(separator: " ")
        let value = pairs[1].replacing(":", with: "%3A").replacing("/", with: "%2F")
        let agent = try ScriptedAgent([
            "GET /v1/audit?limit=1": AuditPage(events: [], next: nil),
            "GET /v1/audit?\(pairs[0])=\(value)&limit=1": AuditPage(events: [row], next: nil),
            "GET /v1/events": InTurn(
                try Self.events(row, hangsUp: true),
                Problem(.notPermitted, "cannot follow")
            ),
        ])
        let outcome = try carryOut("log --follow \(option)", agent: agent)
        #expect(!outcome.output.isEmpty == isShown)
        #expect(agent.heard.compactMap(\.lastEvent).first == "0")
    }

    @Test func verifySaysWhatIsWrong() throws {
        func found(_ faults: [AuditVerification.Fault], given: Int64? = nil) -> AuditVerification {
            AuditVerification(
                events: 42,
                last: 52,
                head: "f00d",
                prunedThrough: 10,
                given: given,
                faultCount: faults.count * 2,
                faults: faults
            )
        }
        let facts = """
            events  42, pruned through 10
            newest  52
            head    f00d

            """
        #expect(
            try carryOut(
                "log verify --head \(String(repeating: "BEEF", count: 16))",
                [
                    "GET /v1/audit/verify?head=\(String(repeating: "beef", count: 16))":
                        found([], given: 40)
                ]
            )
                == Printed(
                    output: "the audit trail is intact\n\(facts)the given hash is of event 40\n"
                )
        )
        let fault = AuditVerification.Fault(
            sequence: 41,
            code: .changed,
            message: "event 41 is not what was recorded"
        )
        #expect(
            try carryOut("log verify", ["GET /v1/audit/verify": found([fault])])
                == Printed(
                    output: """
                        THE AUDIT TRAIL IS NOT AS IT WAS RECORDED
                        \(facts)41: changed: event 41 is not what was recorded
                        and 1 more

                        """,
                    status: 70
                )
        )
    }
}

import API
import Linux
import Policy
import TestSupport
import Testing

@testable import Commands

/// What a terminal makes of it: width and colour.
@Suite(.blocking) struct ScreenTests {
    @Test func alignsNumbersRightAndPadsNoLineEnd() {
        var table = Table(columns: [
            .init(title: "A"), .init(title: "N", isNumeric: true), .init(title: "LAST"),
        ])
        let rows: [[Table.Cell]] = [
            ["long", "1", "x"], ["é", "100", ""], ["\u{1b}", "7", "end"],
        ]
        #expect(
            text(table.lines(adding: rows)) == [
                "A         N  LAST", "long      1  x", "é       100  ", "\\u{1b}    7  end",
            ]
        )
    }

    @Test(
        arguments: [
            ("", 0), ("abc", 3), ("é", 1), ("e\u{301}", 1), ("日本", 4), ("ｗ", 2), ("👩🏽‍🚒", 2), ("🇩🇪", 2),
            ("❤️", 2), ("naïve", 5),
        ] as [(String, Int)]
    )
    func countsTheColumnsOfACharacter(text: String, columns: Int) {
        #expect(Terminal.width(of: text) == columns)
    }

    @Test func wideCharactersShiftNothing() {
        var table = Table(columns: [.init(title: "USER"), .init(title: "X")])
        #expect(
            text(table.lines(adding: [["日本語", "1"], ["alice", "2"]])) == [
                "USER    X", "日本語  1", "alice   2",
            ]
        )
    }

    @Test func whatIsTooWideIsBriefAndThenCut() {
        func table(_ columns: Int?) -> [String] {
            var table = Table(
                columns: [
                    .init(title: "ID", isWhole: true), .init(title: "SOURCE"),
                    .init(title: "ENDS"), .init(title: "REASON"),
                ],
                on: Screen(columns: columns, isColoured: false)
            )
            let row: [Table.Cell] = [
                Table.Cell("17.1"), Table.Cell("198.51.100.7/32", brief: "198.51.100.7"),
                Table.Cell("yesterday 13:00 (24h ago)", brief: "24h ago"),
                Table.Cell("the disk of db3 is full, 日本 and so on"),
            ]
            return text(table.lines(adding: [row])).dropFirst().map { $0 }
        }
        let long = "17.1  198.51.100.7/32  yesterday 13:00 (24h ago)  the disk of db3 is full, 日本"
        #expect(table(nil) == [long + " and so on"])
        #expect(table(89) == [long + " and so on"])
        let brief = "17.1  198.51.100.7/32  24h ago  the disk of db3 is full, 日本 and so on"
        #expect(table(88) == [brief])
        // Nobody's terminal is narrower than that.
        #expect(table(40) == [brief])
    }

    @Test func theWidestColumnIsCutFirstAndIdsNever() {
        var table = Table(
            columns: [
                .init(title: "ID", isWhole: true), .init(title: "USER"), .init(title: "REASON"),
            ],
            on: Screen(columns: 80, isColoured: false)
        )
        let id = String(repeating: "9", count: 20)
        func long(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }
        let lines = text(
            table.lines(adding: [
                [Table.Cell(id), Table.Cell(long("日", 20)), Table.Cell(long("x", 90))]
            ])
        )
        // Half a wide character is none.
        #expect(lines.last == "\(id)  \(long("日", 13))…   \(long("x", 27))…")
        #expect(lines.allSatisfy { Terminal.width(of: $0) <= 80 })
    }

    @Test(
        arguments: [
            ("list --all", 80), ("list", 80), ("pending", 80), ("status", 80), ("list --all", 100),
        ] as [(String, Int)]
    )
    func linesFitTheTerminal(line: String, columns: Int) throws {
        let source = "2001:db8:1234:5678:9abc:def0:1234:5678"
        let long = "a reason that is rather long, and goes on for more than a line of any terminal"
        let grants = GrantList(grants: [
            try grant(
                "12345.12",
                policy: "management",
                port: "5985-5986/tcp",
                source: source,
                requester: user(0, "root", login: Origin.Login(uid: 1000, name: "alice.example")),
                state: .revoked,
                ended: noon + .seconds(-86_400),
                endReason: .closedByRequester,
                reason: long,
                packets: 12_345,
                lastUsed: noon + .seconds(-86_460)
            )
        ])
        var pending = try waitingRequest("12345")
        pending.reason = long
        pending.grants = grants.grants
        let outcome = try carryOut(
            line,
            agent: ScriptedAgent([
                "GET /v1/status": status(), "GET /v1/grants": grants,
                "GET /v1/requests?limit=100": all(grants.grants),
                "GET /v1/requests?state=pending&limit=100": RequestList(
                    requests: [pending],
                    next: nil
                ),
            ]),
            on: Screen(columns: columns, isColoured: false)
        )
        let lines = outcome.output.split(separator: "\n").map(String.init)
        #expect(lines.allSatisfy { Terminal.width(of: $0) <= columns }, "\(outcome.output)")
        #expect(outcome.output.contains(line == "status" ? "winrm" : "12345"))
    }

    @Test(arguments: ["list", "list --all", "pending"])
    func whoIsRemoteAndFromWhereIsToldOnANarrowTerminal(line: String) throws {
        let remote = Person(
            subject: try Subject(issuer: "corp", id: "248289"),
            name: "alice@example.com",
            via: "portal",
            origin: .client(address: try IPAddress(parsing: "192.0.2.9"), session: "k3J9")
        )
        let open = try grant(
            "12345.12",
            policy: "management",
            port: "5985-5986/tcp",
            source: "203.113.113.128/25",
            requester: WhoDocument(remote),
            reason: String(repeating: "disk full ", count: 9)
        )
        var pending = try waitingRequest("12345")
        (pending.requester, pending.grants) = (open.requester, [open])
        let outcome = try carryOut(
            line,
            agent: ScriptedAgent([
                "GET /v1/grants": GrantList(grants: [open]),
                "GET /v1/requests?limit=100": all([open]),
                "GET /v1/requests?state=pending&limit=100": RequestList(
                    requests: [pending],
                    next: nil
                ),
            ]),
            on: Screen(columns: 80, isColoured: false)
        )
        #expect(outcome.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
        #expect(outcome.output.contains("  203.113.113.128/25  "), "\(outcome.output)")
        #expect(outcome.output.contains("  portal"), "\(outcome.output)")
    }

    @Test func aStateHasAColourWhereTheTerminalHas() throws {
        let list = GrantList(grants: [try grant("9.1", requester: user(1, "\u{1b}[31m"))])
        let coloured = try carryOut(
            "list --all",
            agent: ScriptedAgent(["GET /v1/requests?limit=100": all(list.grants)]),
            on: Screen(columns: 120, isColoured: true)
        )
        #expect(coloured.output.contains("  \u{1b}[32mactive\u{1b}[0m  "))
        #expect(coloured.output.contains("\\u{1b}[31m"))
        let plain = try carryOut(
            "list --all",
            agent: ScriptedAgent(["GET /v1/requests?limit=100": all(list.grants)]),
            on: Screen(columns: 120, isColoured: false)
        )
        #expect(!plain.output.contains("\u{1b}"))
    }

    @Test(
        arguments: [
            (true, 100, [:], 100, true), (true, nil, [:], 80, true), (false, nil, [:], nil, false),
            (true, 100, ["COLUMNS": "132"], 132, true), (true, 100, ["COLUMNS": ""], 100, true),
            (true, 100, ["COLUMNS": "-1"], 100, true), (true, 100, ["NO_COLOR": "1"], 100, false),
            (true, 100, ["NO_COLOR": ""], 100, true), (true, 100, ["TERM": "dumb"], 100, false),
            (true, 100, ["TERM": "xterm"], 100, true), (false, nil, ["COLUMNS": "90"], nil, false),
        ] as [(Bool, Int?, [String: String], Int?, Bool)]
    )
    func theEnvironmentSaysWhatTheScreenIs(
        isTerminal: Bool,
        columns: Int?,
        environment: [String: String],
        width: Int?,
        isColoured: Bool
    ) {
        let screen = Screen(isTerminal: isTerminal, columns: columns) { environment[$0] }
        #expect(screen.columns == width)
        #expect(screen.isColoured == isColoured)
    }

    private func text(_ lines: [Line]) -> [String] { lines.map { $0.printed(inColour: false) } }
}

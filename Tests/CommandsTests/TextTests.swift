import API
import FoundationEssentials
import Policy
import Testing

@testable import Commands

/// Text for terminals: times, columns, and characters that must not reach one.
struct TextTests {
    @Test(
        arguments: [
            (0, "now"), (499, "now"), (-499, "now"), (1_000, "in 1s"), (59_400, "in 59s"),
            (59_600, "in 1m"), (44 * 60_000 + 59_900, "in 45m"), (42 * 60_000 + 59_000, "in 42m"),
            (3_600_000, "in 1h"), (5_400_000, "in 1h30m"), (-11_100_000, "3h5m ago"),
            (97_200_000, "in 27h"), (-864_000_000, "10d ago"),
        ] as [(Int64, String)]
    )
    func tellsHowFarOff(milliseconds: Int64, text: String) {
        let time = TimeTeller(now: noon, local: oneHourAhead)
        #expect(time.relative(Timestamp(milliseconds: noon.milliseconds + milliseconds)) == text)
    }

    @Test(
        arguments: [
            (0, "13:00"), (10 * 3600 + 59 * 60 + 59, "23:59"), (11 * 3600, "2026-12-02 00:00"),
            (-13 * 3600, "00:00"), (-13 * 3600 - 1, "2026-11-30 23:59"),
        ] as [(Int, String)]
    )
    func namesTheDayOnlyWhereItIsNotToday(seconds: Int, text: String) {
        let time = TimeTeller(now: noon, local: oneHourAhead)
        #expect(time.clock(noon + .seconds(seconds)) == text)
    }

    @Test func alignsNumbersRightAndPadsNoLineEnd() {
        var table = Table(columns: [
            .init(title: "A"), .init(title: "N", isNumeric: true), .init(title: "LAST"),
        ])
        let rows = [["long", "1", "x"], ["é", "100", ""], ["\u{1b}", "7", "end"]]
        #expect(
            table.lines(adding: rows) == [
                "A         N  LAST", "long      1  x", "é       100  ", "\\u{1b}    7  end",
            ]
        )
    }

    @Test(arguments: [
        ("plain, ünïcode 日本 👩🏽", "plain, ünïcode 日本 👩🏽"),
        ("\u{1b}[2J\u{1b}]0;x\u{7}", "\\u{1b}[2J\\u{1b}]0;x\\u{7}"),
        ("a\r\nb\tc", "a\\u{d}\\nb\\tc"), ("\u{9b}31m", "\\u{9b}31m"), ("\u{7f}", "\\u{7f}"),
        ("\u{202e}gpj", "\\u{202e}gpj"), ("\u{2028}", "\\u{2028}"), ("\u{0}", "\\u{0}"),
    ])
    func makesControlCharactersVisible(raw: String, shown: String) {
        #expect(visible(raw) == shown)
    }

    @Test func whatOthersWroteNeverSteersTheTerminal() throws {
        let evil = "\u{1b}[31m\u{9b}2J\u{202e}x\r\nsallyport: all is well"
        let grants = [try grant("1.1", requester: user(1000, evil), reason: evil)]
        let problem = Problem(
            .outsidePolicy,
            evil,
            violations: [Violation(field: "reason", value: evil, allowed: evil, message: evil)]
        )
        for (arguments, answer) in [
            ("list --all", GrantList(grants: grants)),
            ("list --all --json", GrantList(grants: grants)),
            ("list --all", problem), ("list --all --json", problem),
        ] as [(String, any Encodable & Sendable)] {
            let agent = try ScriptedAgent(["GET /v1/grants?all=true": answer])
            let outcome = try carryOut(arguments, agent: agent)
            let printed = outcome.output + outcome.errors
            #expect(!printed.isEmpty)
            #expect(!printed.unicodeScalars.contains { $0.steersOutput && $0 != "\n" })
            #expect(!printed.contains("\nsallyport: all is well"))
        }
    }

    @Test func jsonIsTheAgentsDocumentInUTC() throws {
        let list = GrantList(grants: [
            try grant("1.1", requester: user(1000, "a\u{9b}\u{202e}"), packets: 3)
        ])
        let agent = try ScriptedAgent(["GET /v1/grants": list])
        let outcome = try carryOut("list --json", agent: agent)
        #expect(outcome.output.contains(#""expiresAt" : "2026-12-01T12:42:00Z""#))
        #expect(outcome.output.contains(#"\u009b\u202e"#))
        #expect(
            try JSONDecoder().decode(GrantList.self, from: Data(outcome.output.utf8)) == list
        )
        #expect(outcome.errors.isEmpty)
    }
}

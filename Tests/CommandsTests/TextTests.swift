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
            (0, "13:00"), (10 * 3600 + 59 * 60 + 59, "23:59"), (11 * 3600, "tomorrow 00:00"),
            (-13 * 3600, "00:00"), (-13 * 3600 - 1, "yesterday 23:59"),
            (35 * 3600 - 1, "tomorrow 23:59"), (35 * 3600, "2026-12-03 00:00"),
            (-37 * 3600 - 1, "2026-11-29 23:59"),
        ] as [(Int, String)]
    )
    func namesTheDayOnlyWhereItIsNotToday(seconds: Int, text: String) {
        let time = TimeTeller(now: noon, local: oneHourAhead)
        #expect(time.clock(noon + .seconds(seconds)) == text)
    }

    @Test(
        arguments: [
            ("13:01", 1), ("13:00", 24 * 60), ("12:59", 24 * 60 - 1), ("00:00", 11 * 60),
            ("9:05", 20 * 60 + 5),
        ] as [(String, Int)]
    )
    func aTimeOfDayIsTheNextOne(text: String, minutes: Int) {
        let time = TimeTeller(now: noon + .seconds(59), local: oneHourAhead)
        #expect(time.next(text) == noon + .seconds(minutes * 60))
    }

    @Test(
        arguments: [
            ("13:01", 1 - 24 * 60), ("13:00", 0), ("12:59", -1), ("00:00", -13 * 60),
            ("14:00", 60 - 24 * 60),
        ] as [(String, Int)]
    )
    func ofATrailItIsTheLastOne(text: String, minutes: Int) {
        let time = TimeTeller(now: noon + .seconds(59), local: oneHourAhead)
        #expect(time.last(text) == noon + .seconds(minutes * 60))
    }

    @Test(arguments: [
        "", ":", "17", "24:00", "17:60", "17:0", "17:000", "117:00", "+7:00", "17:-1", "17:00:00",
        "5pm", "１７:00", "2026-12-01T17:00:00Z",
    ])
    func everythingElseIsNoTimeOfDay(text: String) {
        #expect(TimeTeller(now: noon, local: oneHourAhead).next(text) == nil)
    }

    @Test func aTimeOfDayIsRightAcrossAChangeOfTheClock() {
        // At 14:00 UTC the zone goes from one hour ahead to two, or back to none.
        for hours in [1, -1] {
            let time = TimeTeller(now: noon) { instant in
                let isAfter = instant >= noon + .seconds(2 * 3600)
                return oneHourAhead(isAfter ? instant + .seconds(hours * 3600) : instant)
            }
            #expect(time.next("20:30") == noon + .seconds((7 * 60 + 30 - hours * 60) * 60))
            // And looking back, from a day that began before it did.
            var later = time
            later.now = noon + .seconds(6 * 3600)
            #expect(later.last("12:30") == noon + .seconds(-1800))
        }
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
            ("list --all", all(grants)),
            ("list --all --json", all(grants)),
            ("list --all", problem), ("list --all --json", problem),
        ] as [(String, any Encodable & Sendable)] {
            let agent = try ScriptedAgent(["GET /v1/requests?limit=100": answer])
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

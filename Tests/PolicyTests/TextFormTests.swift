import FoundationEssentials
import Policy
import Testing
import TestSupport

@Suite struct PortRangeTests {
    @Test(
        arguments: [
            ("22/tcp", 22, 22, PortProtocol.tcp), ("5985-5986/tcp", 5985, 5986, .tcp),
            ("1-65535/any", 1, 65_535, .any), ("53/udp", 53, 53, .udp),
        ] as [(String, UInt16, UInt16, PortProtocol)]
    )
    func readsPorts(text: String, lower: UInt16, upper: UInt16, portProtocol: PortProtocol) throws {
        let range = try port(text)
        #expect(range == PortRange(lower, upper, portProtocol))
        #expect(range.description == text)
    }

    @Test(
        arguments: [
            ("22", "22/tcp"), ("22/TCP", "22/tcp"), ("23-22/tcp", "22-23/tcp"), ("22/tpc", nil),
            ("", nil), ("/", nil), ("/tcp", nil), ("0/tcp", nil), ("65536/tcp", nil),
            ("022/tcp", nil),
            ("22-/tcp", nil), ("-22/tcp", nil), ("1-2-3/tcp", nil), ("22/tcp/", nil),
            (" 22/tcp", nil),
            ("ssh/tcp", nil), ("+22/tcp", nil), ("99999999999999999999/tcp", nil),
        ] as [(String, String?)]
    )
    func refusesWhatAreNoPorts(text: String, suggestion: String?) throws {
        let error = try #require(refusal(PortRange.self, text))
        #expect(error.suggestion == suggestion)
    }

    @Test func collapsesARangeOfOne() throws {
        #expect(try port("22-22/tcp").description == "22/tcp")
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func containmentAgreesWithThePorts(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        let members = { (range: PortRange) in
            Set(
                range.portProtocol.transports.flatMap { transport in
                    (range.lower...range.upper).map { [UInt16(transport.rawValue), $0] }
                }
            )
        }
        for _ in 0..<200 {
            let (a, b) = (generator.ports(), generator.ports())
            #expect(a.contains(b) == members(a).isSuperset(of: members(b)), "\(a) \(b)")
            #expect(a.overlaps(b) == !members(a).isDisjoint(with: members(b)), "\(a) \(b)")
            #expect(a.intersection(b).map(members) ?? [] == members(a).intersection(members(b)))
            #expect(try port(a.description) == a)
        }
    }
}

@Suite struct DurationTests {
    @Test(arguments: [
        ("45m", 2_700), ("1h30m", 5_400), ("90s", 90), ("2d", 172_800), ("1d2h3m4s", 93_784),
        ("PT1H30M", 5_400), ("P1D", 86_400), ("P1DT1S", 86_401), ("PT90M", 5_400), ("PT5M", 300),
        ("3650d", 315_360_000), ("007s", 7),
    ])
    func readsBothForms(text: String, seconds: Int) throws {
        #expect(try Duration(parsing: text) == .seconds(seconds))
    }

    @Test(
        arguments: [
            ("", nil), ("90", "90m"), ("1H", "1h"), ("1H30M", "1h30m"), ("0s", nil), ("PT0S", nil),
            ("-1h", nil), ("+1h", nil), ("1h 30m", nil), ("30m1h", nil), ("1h1h", nil), ("h", nil),
            ("1.5h", nil), ("1w", nil), ("P", nil), ("PT", nil), ("P1DT", nil), ("P1W", nil),
            ("P1Y", nil), ("P1M", nil), ("PT1D", nil), ("P1H", nil), ("pt1h", nil),
            ("3651d", "3650d"),
            ("999999999d", "3650d"), ("99999999999999999999s", nil), ("1h\u{301}", nil),
            ("1h\u{0}", nil),
        ] as [(String, String?)]
    )
    func refusesWhatIsNoDuration(text: String, suggestion: String?) {
        let error = #expect(throws: ParseError.self) { try Duration(parsing: text) }
        #expect(error?.suggestion == suggestion)
    }

    @Test func refusesTextsOfAnyLength() {
        #expect(throws: ParseError.self) {
            try Duration(parsing: String(repeating: "1h", count: 1_000_000))
        }
    }

    @Test(
        arguments: [
            (.seconds(5_400), "1h30m"), (.seconds(86_400), "24h"), (.seconds(172_800), "2d"),
            (.milliseconds(1_999), "1s"),
            (.zero, "0s"), (.milliseconds(-5), "0s"), (.seconds(-90), "-1m30s"),
            (.seconds(Int64.max), "106751991167300d15h30m7s"),
            (.seconds(Int64.min), "-106751991167300d15h30m8s"),
        ] as [(Duration, String)]
    )
    func writesTheShortForm(duration: Duration, expected: String) {
        #expect(duration.compactDescription == expected)
    }

    @Test(
        arguments: [
            (.seconds(1), 1_000), (.nanoseconds(1_999_999), 1), (.nanoseconds(-1), -1),
            (.seconds(Int64.max), Int64.max), (.seconds(Int64.min), Int64.min),
        ] as [(Duration, Int64)]
    )
    func roundsMillisecondsDown(duration: Duration, expected: Int64) {
        #expect(duration.wholeMilliseconds == expected)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func textsRoundTrip(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        for _ in 0..<200 {
            let longest = generator.pick([60, 86_400, 315_360_000])
            let duration = Duration.seconds(generator.int(1...longest))
            #expect(try Duration(parsing: duration.compactDescription) == duration)
        }
    }
}

@Suite struct TimestampTests {
    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2026-12-01T17:00:00Z", 1_796_144_400_000),
            ("2026-12-01T17:00:00.123Z", 1_796_144_400_123),
            ("2026-12-01T17:00:00.1Z", 1_796_144_400_100),
            ("2026-12-01T17:00:00.123999999999999999999Z", 1_796_144_400_123),
            ("2026-12-01t18:30:00+01:30", 1_796_144_400_000),
            ("2026-12-01T12:00:00-05:00", 1_796_144_400_000),
            ("1969-12-31T23:59:59.999z", -1), ("2000-02-29T00:00:00-00:00", 951_782_400_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("1600-12-31T00:00:00Z", -11_644_560_000_000),
        ] as [(String, Int64)]
    )
    func readsRFC3339(text: String, milliseconds: Int64) throws {
        #expect(try instant(text).milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "2026-12-01", "2026-12-01T17:00:00", "2026-12-01 17:00:00Z", "2026-12-01T17:00Z",
        "2026-13-01T17:00:00Z", "2026-00-01T17:00:00Z", "2026-02-29T17:00:00Z",
        "1900-02-29T00:00:00Z", "2026-04-31T17:00:00Z", "2026-12-00T17:00:00Z",
        "2026-12-01T24:00:00Z", "2026-12-01T17:60:00Z", "2026-12-31T23:59:60Z",
        "2026-12-01T17:00:00.Z", "2026-12-01T17:00:00,5Z", "2026-12-01T17:00:00+24:00",
        "2026-12-01T17:00:00+0100", "2026-12-01T17:00:00+01", "2026-12-01T17:00:00+01:60",
        "2026-12-01T17:00:00ZZ", "2026-12-01T17:00:00.5", "+2026-12-01T17:00:00Z",
        "0000-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2026-12-01T17:00:0\u{661}Z",
    ])
    func refusesWhatIsNoInstant(text: String) {
        #expect(refusal(Timestamp.self, text) != nil)
    }

    @Test func calculatesWithoutOverflow() throws {
        let start = Timestamp(milliseconds: .max)
        #expect(start + .seconds(1) == start)
        #expect(
            Timestamp(milliseconds: .min) + .seconds(Int64.min) == Timestamp(milliseconds: .min)
        )
        #expect(Timestamp(milliseconds: .min) - start == .milliseconds(Int64.min))
        #expect(
            try instant("2026-12-01T17:00:00Z") - instant("2026-12-01T16:59:59.5Z")
                == .milliseconds(500)
        )
        #expect(Timestamp(milliseconds: .max).description == "292278994-08-17T07:12:55.807Z")
        #expect(Timestamp(milliseconds: .min).description == "-292275055-05-16T16:47:04.192Z")
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func textsRoundTrip(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        for _ in 0..<500 {
            let milliseconds = Int64.random(
                in: -62_167_219_200_000...253_402_300_799_999,
                using: &generator
            )
            let stamp = Timestamp(
                milliseconds: generator.chance(50) ? milliseconds : milliseconds / 1_000 * 1_000
            )
            #expect(try instant(stamp.description) == stamp)
        }
    }

    @Test func daysFollowEachOther() throws {
        // 2000 is a leap year and 2100 is none; the day before is told from the digits alone.
        var last = try instant("1999-12-31T00:00:00Z")
        for year in 2000...2101 {
            for month in 1...12 {
                let leap = year % 4 == 0 && (year % 100 != 0 || year == 2000)
                let days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
                for day in 1...days {
                    let two = { (number: Int) in number < 10 ? "0\(number)" : "\(number)" }
                    let text = "\(year)-\(two(month))-\(two(day))T00:00:00Z"
                    let stamp = try instant(text)
                    #expect(stamp - last == .seconds(86_400))
                    #expect(stamp.description == text)
                    last = stamp
                }
            }
        }
    }
}

@Suite struct HostileTextTests {
    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func noTextTraps(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        for _ in 0..<500 {
            let text = generator.noise()
            if let value = try? CIDR(parsing: text) {
                #expect(try cidr(value.description) == value)
            }
            if let value = try? PortRange(parsing: text) {
                #expect(try port(value.description) == value)
            }
            if let value = try? Duration(parsing: text) {
                #expect(try Duration(parsing: value.compactDescription) == value)
            }
            if let value = try? Timestamp(parsing: text) {
                #expect(try instant(value.description) == value)
            }
            if let value = try? Principal(parsing: text) {
                #expect(try Principal(parsing: value.description) == value)
            }
            if let value = Grant.ID(text) { #expect(value.description == text) }
        }
    }

    @Test(arguments: [0, 7, 10, 1_234_567_890, .max, -1, .min] as [Int64])
    func digitsAreThoseOfTheNumber(number: Int64) {
        var bytes: [UInt8] = []
        bytes.append(decimal: number)
        #expect(String(decoding: bytes, as: UTF8.self) == String(number))
    }

    @Test func onlyWhatMustBeIsEscaped() {
        var bytes: [UInt8] = []
        bytes.append(json: "a\"b\\c\u{0}\u{8}\u{1F}\n/é\u{7F}🌍")
        let expected = #""a\"b\\c\u0000\b\u001f\n/é"# + "\u{7F}🌍\""
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
    }

    @Test func oneRuleSaysWhatSteersATerminal() {
        let steering: [Unicode.Scalar] = [
            "\0", "\t", "\n", "\r", "\u{1B}", "\u{7F}", "\u{85}", "\u{9B}", "\u{AD}", "\u{61C}",
            "\u{200B}", "\u{200E}", "\u{202E}", "\u{2028}", "\u{2029}", "\u{2066}", "\u{FEFF}",
            "\u{E0041}",
        ]
        let shown: [Unicode.Scalar] = [
            " ", "a", "~", "\u{A0}", "é", "\u{301}", "م", "\u{200C}", "\u{200D}", "\u{FE0F}", "👩",
        ]
        for scalar in steering { #expect(scalar.steersOutput, "\(scalar.value)") }
        for scalar in shown { #expect(!scalar.steersOutput, "\(scalar.value)") }
    }

    @Test(arguments: ["17.1", "1.1024", "9223372036854775807.1"])
    func readsGrantIDs(text: String) {
        #expect(Grant.ID(text)?.description == text)
    }

    @Test(arguments: [
        "", "17", "17.", ".1", "0.1", "17.0", "017.1", "17.01", "+1.1", "1.+1", "-1.1", "17.1.1",
        "17,1",
        "9223372036854775808.1", "99999999999999999999.1", "1.99999999999999999999", " 17.1", "١.١",
    ])
    func refusesWhatIsNoGrantID(text: String) {
        #expect(Grant.ID(text) == nil)
    }

    @Test func valuesAreEncodedAsTheirText() throws {
        let range = try cidr("10.0.0.0/8")
        #expect(
            String(decoding: try JSONEncoder().encode([range]), as: UTF8.self)
                == #"["10.0.0.0\/8"]"#
        )
        #expect(
            try JSONDecoder().decode([CIDR].self, from: Data(#"["10.0.0.0/8"]"#.utf8)) == [range]
        )
        let error = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([PortRange].self, from: Data(#"["22"]"#.utf8))
        }
        guard case .dataCorrupted(let context) = error else { throw try #require(error) }
        #expect(context.debugDescription.hasPrefix("cannot read \"22\": the protocol must be tcp"))
        #expect(context.codingPath.first?.intValue == 0)
    }
}

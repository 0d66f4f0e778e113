import API
import FoundationEssentials
import TestSupport
import Testing
import Yams

@Suite struct JSONValueTests {
    private func value(_ text: String) throws -> JSONValue {
        try JSONValue(json: Array(text.utf8))
    }

    @Test func readsEveryKindAndKeepsItAsItIs() throws {
        let text = #" { "b" : [ null, true, false, -0.5e+3, 0, "x\u00e9\n" ], "a":{}, "":[] } "#
        #expect(
            try value(text)
                == .object([
                    .init(
                        "b",
                        .list([
                            .null, .bool(true), .bool(false), .number("-0.5e+3"), .number("0"),
                            .text("xé\n"),
                        ])
                    ), .init("a", .object([])), .init("", .list([])),
                ])
        )
        #expect(try value("7") == .number("7"))
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\" 1}", "{\"a\":1,}", "01", "1.", ".5", "+1", "1e", "-", "nul", "tru",
        "'a'", "[1] 2", "{a: 1}", "NaN", "\"\u{1}\"", "\u{FEFF}1", "\"\\ud800\"",
        "{\"a\":1,\"a\":2}",
        String(repeating: "[", count: 33) + String(repeating: "]", count: 33),
        String(repeating: "[", count: 60_000),
    ])
    func refusesWhatIsNoJSON(text: String) {
        #expect(throws: JSONError.self) { try value(text) }
    }

    @Test func fieldsAreReadSetAndTakenAway() throws {
        var object = try value(#"{"a":1,"b":"x"}"#)
        #expect(object["b"]?.text == "x")
        #expect(object["c"] == nil)
        object["a"] = nil
        object["b"] = .bool(true)
        object["c"] = .list([.text("y")])
        #expect(object.description == #"{"b": true, "c": ["y"]}"#)
        #expect(object["c"]?.list?.first?.text == "y")
        var list = JSONValue.list([])
        list["a"] = .null
        #expect(list == .list([]))
    }

    /// Whatever it holds: read as JSON it is the same, and a reader of YAML takes it for the same.
    @Test(arguments: 0..<200) func itsTextIsJSONAndYAMLAlike(seed: UInt64) throws {
        var random = Generator(seed: seed)
        let value = Self.random(&random, depth: 0)
        #expect(try self.value(value.description) == value, "\(value)")
        let data = Data("[\(value)]".utf8)
        #expect(throws: Never.self) { try JSONDecoder().decode([Anything].self, from: data) }
        let node = try #require(try compose(yaml: value.description))
        try compare(node, value)
    }

    private func compare(_ node: Node, _ value: JSONValue) throws {
        switch value {
        case .null: #expect(node.scalar?.string == "null")
        case .bool(let flag): #expect(node.bool == flag)
        case .number(let digits): #expect(node.scalar?.string == digits)
        case .text(let text):
            // Yams drops a byte order mark at the start of any scalar.
            let isMarked = text.unicodeScalars.first == "\u{FEFF}"
            #expect(node.scalar?.string == String(text.unicodeScalars.dropFirst(isMarked ? 1 : 0)))
            #expect(node.scalar?.style == .doubleQuoted)
        case .list(let items):
            let nodes = try #require(node.sequence)
            #expect(nodes.count == items.count)
            for (node, item) in zip(nodes, items) { try compare(node, item) }
        case .object(let fields):
            let nodes = try #require(node.mapping)
            #expect(nodes.count == fields.count)
            for (pair, field) in zip(nodes, fields) {
                #expect(pair.key.scalar?.string == field.name)
                try compare(pair.value, field.value)
            }
        }
    }

    private static func random(_ random: inout Generator, depth: Int) -> JSONValue {
        switch random.int(0...(depth > 3 ? 4 : 6)) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &random))
        case 2: return .number(["0", "-7", "1.5", "2e9"].randomElement(using: &random) ?? "0")
        case 3, 4: return .text(text(&random))
        case 5:
            return .list(
                (0..<random.int(0...4)).map { _ in Self.random(&random, depth: depth + 1) }
            )
        default:
            return .object(
                (0..<random.int(0...4)).map {
                    .init("\($0)" + text(&random), Self.random(&random, depth: depth + 1))
                }
            )
        }
    }

    private static func text(_ random: inout Generator) -> String {
        let pieces = [
            "a", " ", "\"", "\\", "/", "\n", "\r\n", "\t", "\u{0}", "\u{1F}", "\u{7F}", "\u{85}",
            "\u{2028}", "\u{FEFF}", "\u{202E}", "é", "\u{1F512}", "#", ": ", "- ", "{", "'", "%",
            "null", "~", "\u{300}",
        ]
        return (0..<random.int(0...6)).map { _ in pieces.randomElement(using: &random) ?? "" }
            .joined()
    }

    /// Any JSON for JSONDecoder.
    private struct Anything: Decodable {
        init(from decoder: any Decoder) throws { _ = try? decoder.singleValueContainer() }
    }
}

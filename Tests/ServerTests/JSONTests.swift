import FoundationEssentials
import Policy
import TestSupport
import Testing

@testable import API

/// Any JSON value, as the decoder of Foundation understands it.
private enum JSONValue: Decodable, Hashable {
    case null
    case bool(Bool)
    case number(Int64)
    case text(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let number = try? value.decode(Int64.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let list = try? value.decode([JSONValue].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JSONValue].self))
        }
    }
}

/// The body of `POST /v1/requests`, by the decoder of Foundation.
private struct LaxAsk: Decodable {
    var targets: [String]
    var sources: [String]
    var duration: String?
    var until: String?
    var at: String?
    var reason: String?
    var ticket: String?

    var ask: Ask {
        Ask(
            targets: targets,
            sources: sources,
            duration: duration,
            until: until,
            at: at,
            reason: reason,
            ticket: ticket
        )
    }
}

private func lax(_ text: [UInt8]) -> Ask? {
    try? JSONDecoder().decode(LaxAsk.self, from: Data(text)).ask
}

extension Generator {
    fileprivate mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[int(0...elements.count - 1)]
    }

    /// Text of characters that are written in several ways.
    fileprivate mutating func text() -> String {
        let characters = [
            "a", "\"", "\\", "/", "\n", "\u{8}", "\u{1F}", "\u{7F}", "é", "€", "🔒", "e\u{301}",
        ]
        return (0..<int(0...6)).map { _ in pick(characters) }.joined()
    }

    /// A string of JSON, each character of which is written in one of the ways that it can be.
    fileprivate mutating func json(_ text: String) -> String {
        let short = ["\n": "\\n", "\"": "\\\"", "\\": "\\\\", "/": "\\/", "\u{8}": "\\b"]
        var result = "\""
        for scalar in text.unicodeScalars {
            let units = String(scalar).utf16.map { unit in
                let digits = String(unit, radix: 16, uppercase: int(0...1) == 0)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }.joined()
            let raw =
                scalar.value < 0x20 || "\"\\".unicodeScalars.contains(scalar)
                ? units : String(scalar)
            result += pick([units, raw, short[String(scalar)] ?? raw])
        }
        return result + "\""
    }

    private mutating func space() -> String { pick(["", "", " ", "\n\t", "\r\n"]) }

    private mutating func joined(_ items: [String], _ brackets: (String, String)) -> String {
        let inner = items.map { space() + $0 + space() }.joined(separator: ",")
        return brackets.0 + (items.isEmpty ? space() : inner) + brackets.1
    }

    /// An ask, and a text that says it.
    fileprivate mutating func ask() -> (Ask, String) {
        var ask = Ask(
            targets: (0..<int(0...3)).map { _ in text() },
            sources: (0..<int(0...3)).map { _ in text() }
        )
        var fields = [
            ("targets", joined(ask.targets.map { json($0) }, ("[", "]"))),
            ("sources", joined(ask.sources.map { json($0) }, ("[", "]"))),
        ]
        for (name, path) in [
            ("duration", \Ask.duration), ("until", \.until), ("reason", \.reason),
            ("ticket", \.ticket),
        ] {
            switch int(0...2) {
            case 0:
                let value = text()
                ask[keyPath: path] = value
                fields.append((name, json(value)))
            case 1: fields.append((name, "null"))
            default: break
            }
        }
        let object = joined(
            fields.shuffled(using: &self).map { json($0) + space() + ":" + space() + $1 },
            ("{", "}")
        )
        return (ask, space() + object + space())
    }
}

struct JSONTests {
    /// Compares what is written by hand with what the encoder of Foundation writes.
    private func check<Document: JSONDocument & Codable & Hashable>(_ document: Document) throws {
        let decoder = JSONDecoder()
        let written = Data(JSONWriter.text(of: document))
        let encoded = try JSONEncoder().encode(document)
        #expect(
            try decoder.decode(JSONValue.self, from: written)
                == decoder.decode(JSONValue.self, from: encoded)
        )
        #expect(try decoder.decode(Document.self, from: written) == document)
    }

    @Test func writesDocumentsAsTheEncoderDoes() throws {
        try check(Samples.request)
        try check(Samples.requests)
        try check(Samples.grants)
        try check(Samples.problem)
        try check(Problem(.notFound, "x"))
        var request = Samples.request
        request.requester = Samples.anybody
        request.reason = nil
        request.ticket = nil
        request.superseded = nil
        request.grants = []
        try check(request)
        try check(RequestList(requests: [], next: nil))
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func writesAnyText(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        for _ in 0..<25 {
            var request = Samples.request
            request.reason = generator.text()
            try check(request)
        }
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func readsWhatTheDecoderReads(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        for _ in 0..<25 {
            let (ask, text) = generator.ask()
            #expect(try Ask(json: Array(text.utf8)) == ask, "\(text)")
            #expect(lax(Array(text.utf8)) == ask, "\(text)")
        }
    }

    /// What is broken may be refused by one and not by the other, but never means two things.
    @Test(arguments: 0..<8 as Range<UInt64>)
    func understandsNothingOtherwiseThanTheDecoder(seed: UInt64) {
        var generator = Generator(seed: seed)
        var read = 0
        for _ in 0..<200 {
            var text = Array(generator.ask().1.utf8)
            for _ in 0..<generator.int(1...2) {
                let place = generator.int(0...text.count - 1)
                let byte = generator.pick(Array("{}[]\",:\\u0n é\u{0}".utf8))
                switch generator.int(0...2) {
                case 0: text[place] = byte
                case 1: text.insert(byte, at: place)
                default: text.remove(at: place)
                }
            }
            guard let ask = try? Ask(json: text) else { continue }
            read += 1
            #expect(lax(text) == ask, "\(String(decoding: text, as: UTF8.self))")
        }
        // Otherwise nothing was compared.
        #expect(read > 5)
    }

    @Test(arguments: [
        (#"{"targets":["a"],"targets":["b"],"sources":[]}"#, "targets: this field is there twice"),
        (
            #"{"targets":["a"],"\u0074argets":["b"],"sources":[]}"#,
            "targets: this field is there twice"
        ),
        (#"{"targets":["a",],"sources":[]}"#, "targets[1]: it is not a JSON document"),
        (#"{"targets":[],"sources":[],}"#, "it is not a JSON document"),
        (#"{"targets":[],"sources":[]} {}"#, "it is not a JSON document"),
        (#"{"targets":[],"sources":[]}]"#, "it is not a JSON document"),
        (#"{"targets":[]/**/,"sources":[]}"#, "targets: it is not a JSON document"),
        ("{\"targets\":[],//\n\"sources\":[]}", "it is not a JSON document"),
        (#"{'targets':[],"sources":[]}"#, "it is not a JSON document"),
        (#"{targets:[],"sources":[]}"#, "it is not a JSON document"),
        (#"{"targets":["\ud800"],"sources":[]}"#, "targets[0]: an escape is half a character"),
        (#"{"targets":["\udc00x"],"sources":[]}"#, "targets[0]: an escape is half a character"),
        (
            #"{"targets":["\ud800\u0041"],"sources":[]}"#,
            "targets[0]: an escape is half a character"
        ),
        (#"{"targets":["\x41"],"sources":[]}"#, "targets[0]: it is not a JSON document"),
        (#"{"targets":["\u00g0"],"sources":[]}"#, "targets[0]: it is not a JSON document"),
        (#"{"targets":["a"],"sources":[],"reason":7}"#, "reason: this is not text"),
        (#"{"targets":["a"],"sources":[],"reason":["x"]}"#, "reason: this is not text"),
        (#"{"targets":["a"],"sources":[],"reason":True}"#, "reason: it is not a JSON document"),
        (#"{"targets":[[["a"]]],"sources":[]}"#, "targets[0]: this is not text"),
        ("\u{FEFF}{\"targets\":[],\"sources\":[]}", "it begins with a byte order mark"),
        (
            "{\"targets\":[],\"sources\":[\"a\tb\"]}",
            "sources[0]: a control character in text must be escaped"
        ),
    ])
    func refuses(text: String, reason: String) {
        #expect(
            #expect(throws: JSONError.self) { try Ask(json: Array(text.utf8)) }?.description
                == reason
        )
    }

    @Test func refusesOtherEncodings() {
        let text = #"{"targets":[],"sources":[]}"#
        let little = text.utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
        let big = text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
        for bytes in [little, big, [0xFF, 0xFE] + little, [0xFE, 0xFF] + big] {
            let error = #expect(throws: JSONError.self) { try Ask(json: bytes) }
            #expect(error?.description == "it is not a JSON document")
        }
        let bytes = Array(#"{"targets":[""#.utf8) + [0xC3, 0x28] + Array(#""],"sources":[]}"#.utf8)
        let error = #expect(throws: JSONError.self) { try Ask(json: bytes) }
        #expect(error?.description == "targets[0]: it is not UTF-8")
    }

    @Test(arguments: [
        ("{}", "duration: this field is missing"),
        (#"{"duration":null}"#, "duration: this field is null"),
        (#"{"duration":"1h","duration":"2h"}"#, "duration: this field is there twice"),
        (#"{"duration":"1h","x":1}"#, "x: unknown field \"x\"; known are duration, reason, ticket"),
    ])
    func refusesAnExtension(text: String, reason: String) {
        let error = #expect(throws: JSONError.self) { try ExtendBody(json: Array(text.utf8)) }
        #expect(error?.description == reason)
    }
}

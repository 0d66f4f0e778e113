import FoundationEssentials
import Policy
import Testing
import TestSupport

@testable import Ledger

/// The page that tells strangers of the audit trail.
@Suite(.blocking) struct AuditPageTests {
    private let page: String
    let folder: TemporaryFolder

    init() throws {
        let source = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        page = try String(contentsOfFile: "/\(source)/docs/audit.md", encoding: .utf8)
        folder = try TemporaryFolder()
    }

    @Test func namesEachKindAndEachField() throws {
        let rows = page.split(separator: "\n").filter { $0.hasPrefix("| `") }
        let words = rows.flatMap { row in
            row.split(separator: "|")[0].split(separator: "`").enumerated()
                .filter { $0.offset % 2 == 1 }.map { String($0.element) }
        }
        let row = AuditRow(sequence: 1, at: noon, event: "opened")
        let fields = Set(Mirror(reflecting: row).children.compactMap(\.label))
        #expect(Set(words) == fields.union(AuditKind.allCases.map(\.rawValue)))
        #expect(words.count == Set(words).count)
    }

    /// The verifier on the page, run on an export and on such as somebody has changed.
    @Test(arguments: [false, true]) func itsVerifierFindsWhatWasDone(isPruned: Bool) async throws {
        let ledger = try folder.open()
        let people = try people()
        let count: Int64 = isPruned ? 1_030 : 8
        try ledger.commitBlocking(
            (1...count).map { number in
                .noted(
                    Notice(
                        .refused,
                        by: people[Int(number) % people.count],
                        policy: "ssh",
                        reason: "\u{1}\u{8}\t\n\u{C}\r\"\\/\u{7F}é\u{2028}\u{1F6AA}"
                    )
                )
            },
            at: noon
        )
        try ledger.commitBlocking([.opened(request(1)), expired(id("1.1"))], at: minutes(60))
        if isPruned {
            #expect(try await ledger.prune(before: minutes(1), at: minutes(60)))
        }
        var lines: [String] = []
        for try await rows in ledger.allAudit(AuditFilter()) {
            lines += try rows.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }
        }
        #expect(lines.count == (isPruned ? 9 : 10))
        let head = try await ledger.verify().head
        #expect(try verify(lines, head)?.hasPrefix("intact: \(lines.count) events, head ") == true)
        #expect(try verify(lines)?.contains(head) == true)

        let changed = lines[2].replacing("\"ssh\"", with: "\"rdp\"")
        let faults: [(String, [String], String?)] = [
            ("changed", Array(lines[..<2] + [changed] + lines[3...]), nil),
            ("removed", Array(lines[..<2] + lines[3...]), nil),
            ("removed at the start", Array(lines[1...]), nil),
            ("put in", Array(lines[...2] + lines[2...]), nil),
            ("moved", Array(lines[..<2] + [lines[3], lines[2]] + lines[4...]), nil),
            ("cut off", lines.dropLast(), head),
        ]
        for (name, lines, head) in faults {
            #expect(try verify(Array(lines), head) == nil, "\(name)")
        }
    }

    /// What the verifier says; nil where it finds a fault.
    private func verify(_ lines: [String], _ head: String? = nil) throws -> String? {
        let program = try #require(
            page.split(separator: "```python\n").last?.split(separator: "```").first
        )
        let (file, script) = (folder.path + "/trail.jsonl", folder.path + "/verify.py")
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(filePath: file))
        try Data(program.utf8).write(to: URL(filePath: script))
        let result = try shell(["python3", script, file] + (head.map { [$0] } ?? []))
        return try? result.get()
    }
}

import API
import FoundationEssentials
import Policy

/// One event as the agent wrote it.
struct AuditLine {
    /// The JSON it was.
    let text: String

    /// Reads it: not before it is needed, for that costs more than copying it.
    func row() throws -> AuditRow {
        try JSONDecoder().decode(AuditRow.self, from: Data(text.utf8))
    }
}

/// Prints events in one form, some at a time.
protocol EventPrinter {
    /// Whether there was no event yet.
    var isEmpty: Bool { get }

    mutating func print(_ lines: [AuditLine]) throws

    mutating func end() throws
}

/// One JSON document.
struct JSONPrinter: EventPrinter {
    private var list: ListOutput

    init(to output: Output) {
        var output = output
        output.json = true
        list = ListOutput("events", to: output)
    }

    var isEmpty: Bool { list.isEmpty }

    mutating func print(_ lines: [AuditLine]) throws {
        try list.show(lines.map { try $0.row() }, as: [])
    }

    mutating func end() throws { try list.end() }
}

/// JSON Lines: the agent's, an event each.
struct LinesPrinter: EventPrinter {
    private let output: Output
    private(set) var isEmpty = true

    init(to output: Output) { self.output = output }

    mutating func print(_ lines: [AuditLine]) throws {
        guard !lines.isEmpty else { return }
        isEmpty = false
        try output.write(lines.map { harmless(json: $0.text) + "\n" }.joined())
    }

    func end() {}
}

/// A table for people.
struct TablePrinter: EventPrinter {
    private let output: Output
    private let time: TimeTeller
    private var table: Table
    private(set) var isEmpty = true

    init(to output: Output, _ time: TimeTeller) {
        self.output = output
        self.time = time
        table = Table(
            columns: [
                .init(title: "TIME", isWhole: true), .init(title: "EVENT"), .init(title: "BY"),
                .init(title: "ID", isWhole: true),
                .init(title: "WHAT", least: Table.leastSource),
                .init(title: "DETAIL", isLong: true),
            ],
            on: output.screen
        )
    }

    mutating func print(_ lines: [AuditLine]) throws {
        guard !lines.isEmpty else { return }
        isEmpty = false
        try output.show(table.lines(adding: lines.map { cells(try $0.row()) }))
    }

    func end() {}

    private func cells(_ row: AuditRow) -> [Table.Cell] {
        let source = row.source.map { "from \($0)" }
        let requester = row.requesterName.map { "of \($0)" }
        let host = row.host.map { "at \($0)" }
        let what = [row.policy, row.port, host, source, requester].compactMap(\.self)
        let origins = row.source.map { sources in
            brief(
                sources.split(separator: " ").map {
                    (try? CIDR(parsing: String($0)))?.brief ?? String($0)
                }
            )
        }
        // The source first, where nothing is cut.
        let short = [origins, row.policy, row.port, host, requester].compactMap(\.self)
        let detail = [row.outcome, row.reason, row.ticket, row.detail].compactMap(\.self)
        return [
            Table.Cell(time.exact(row.at), brief: time.exactBrief(row.at)),
            Table.Cell(row.event, mark: mark(row.event)),
            Table.Cell(who(row), brief: row.name.map { briefName($0, via: row.via) } ?? "agent"),
            Table.Cell(row.grant ?? row.request ?? "-"),
            Table.Cell(
                what.isEmpty ? "-" : what.joined(separator: " "),
                brief: short.isEmpty ? "-" : short.joined(separator: " ")
            ),
            Table.Cell(detail.isEmpty ? "-" : detail.joined(separator: "; ")),
        ]
    }
}

private func who(_ row: AuditRow) -> String {
    guard let name = row.name else { return "agent" }
    return [name, row.login.map { "(login \($0))" }, row.via.map { "via \($0)" }]
        .compactMap(\.self).joined(separator: " ")
}

private func mark(_ event: String) -> Mark? {
    switch AuditKind(rawValue: event) {
    case .opened, .approved, .extended: .good
    case .requested: .waiting
    case .refused, .denied, .gateTampered, .configurationRefused, .ledgerRowsLost,
        .delegateRefused, .breakGlassUsed:
        .bad
    default: nil
    }
}

/// Makes lines of bytes that come in parts.
struct LineSplitter {
    private var rest: [UInt8] = []

    /// The lines that are whole with these bytes, without their ends.
    mutating func split(_ bytes: [UInt8]) -> [String] {
        rest += bytes
        guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
        defer { rest = Array(rest[(end + 1)...]) }
        return rest[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
    }
}

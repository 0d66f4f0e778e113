package import Policy

/// Events of the audit trail as a table for spreadsheets: RFC 4180, in UTF-8.
package enum AuditCSV {
    /// The names of the columns.
    package static let header = line(columns.map(\.name))

    /// What an event says, by the names of its fields.
    package static func fields(of row: AuditRow) -> [(name: String, text: String)] {
        columns.compactMap { column in column.text(row).map { (column.name, $0) } }
    }

    /// A line with an event.
    package static func line(of row: AuditRow) -> [UInt8] {
        line(columns.map { $0.text(row) ?? "" })
    }

    private static let columns: [(name: String, text: @Sendable (AuditRow) -> String?)] = [
        ("sequence", { "\($0.sequence)" }), ("at", { $0.at.description }), ("event", \.event),
        ("subject", \.subject), ("name", \.name), ("uid", { $0.uid.map { "\($0)" } }),
        ("pid", { $0.pid.map { "\($0)" } }), ("login", \.login), ("via", \.via),
        ("address", \.address), ("session", \.session), ("request", \.request),
        ("grant", \.grant), ("requester", \.requester), ("requesterName", \.requesterName),
        ("policy", \.policy), ("port", \.port), ("host", \.host), ("source", \.source),
        ("reason", \.reason),
        ("ticket", \.ticket), ("outcome", \.outcome), ("detail", \.detail), ("hash", \.hash),
    ]

    private static func line(_ cells: [String]) -> [UInt8] {
        var line: [UInt8] = []
        for (index, cell) in cells.enumerated() {
            if index > 0 { line.append(UInt8(ascii: ",")) }
            append(cell, to: &line)
        }
        return line + Array("\r\n".utf8)
    }

    /// What begins a formula, in the wide forms of East Asia, too.
    private static let formulas: Set<Unicode.Scalar> = [
        "=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠",
    ]

    private static func append(_ cell: String, to line: inout [UInt8]) {
        let quote = UInt8(ascii: "\"")
        let needsQuotes = cell.utf8.contains {
            $0 == quote || $0 == UInt8(ascii: ",") || $0 == 0x0A || $0 == 0x0D
        }
        if needsQuotes { line.append(quote) }
        // What a spreadsheet would take for a formula, some behind spaces, it must take for text.
        if let first = cell.unicodeScalars.first(where: { $0 != " " }), formulas.contains(first) {
            line.append(UInt8(ascii: "'"))
        }
        for byte in cell.utf8 {
            if byte == quote { line.append(quote) }
            line.append(byte)
        }
        if needsQuotes { line.append(quote) }
    }
}

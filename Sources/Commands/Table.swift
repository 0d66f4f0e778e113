/// Rows in aligned columns, two spaces apart; never wrapped, never padded at the end of a line.
///
/// Widths are counted in characters, so a wide (East Asian) glyph shifts what follows it by one.
struct Table {
    /// One column: its heading, and whether its cells are numbers, which end at the same place.
    struct Column {
        var title: String
        var isNumeric = false
    }

    private let columns: [Column]
    /// What each column took so far; nil before the heading.
    private var widths: [Int]?

    init(columns: [Column]) { self.columns = columns }

    /// The next rows, a line each, with control characters made visible; the heading comes first.
    ///
    /// Columns grow with the rows but never shrink, so that a table may be printed in parts.
    mutating func lines(adding rows: [[String]]) -> [String] {
        let heading = widths == nil ? [columns.map(\.title)] : []
        let cells = heading + rows.map { $0.map(visible) }
        let widths = columns.indices.map { column in
            max(self.widths?[column] ?? 0, cells.map { $0[column].count }.max() ?? 0)
        }
        self.widths = widths
        return cells.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                if column > 0 { line += "  " }
                if columns[column].isNumeric {
                    line += padding + cell
                } else {
                    line += column == row.count - 1 ? cell : cell + padding
                }
            }
            return line
        }
    }
}

/// Names and their values, the values aligned; a value of several lines continues under itself.
func keyed(_ pairs: [(name: String, value: String)]) -> [String] {
    let width = pairs.map(\.name.count).max() ?? 0
    return pairs.flatMap { name, value in
        value.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map {
            let start = $0 == 0 ? name : ""
            return start + String(repeating: " ", count: width - start.count + 2)
                + visible(String($1))
        }
    }
}

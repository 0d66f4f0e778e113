import Linux

/// Rows in aligned columns, two spaces apart, never padded at the end of a line.
///
/// Where they are wider than the terminal, cells take their brief form, the last columns first; then
/// a long column at the end goes to lines of its own below, and the widest are cut, down to a
/// terminal of 80 columns.
struct Table {
    /// One column: its heading, and how its cells are shown.
    struct Column {
        var title: String
        /// Whether the cells are numbers, which end at the same place.
        var isNumeric = false
        /// Whether the cells must be whole: ids, which are typed again.
        var isWhole = false
        /// How many columns of the terminal it is left, where it needs them.
        var least = 5
        /// Whether it is left out where there is no room for it.
        var isSpare = false
        /// Whether, as the last one, it goes below its row where there is no room beside it.
        var isLong = false
    }

    /// What stands in one place.
    struct Cell: ExpressibleByStringInterpolation {
        var full: String
        /// The same in fewer words, for a narrow terminal.
        var brief: String
        var mark: Mark?

        init(_ full: String, brief: String? = nil, mark: Mark? = nil) {
            self.full = visible(full)
            self.brief = brief.map(visible) ?? self.full
            self.mark = mark
        }

        init(stringLiteral text: String) { self.init(text) }
    }

    /// An IPv4 range and how many sources more there are: `203.0.113.128/25 +12`.
    static let leastSource = 21
    private static let gap = 2
    private static let indent = 4

    private let columns: [Column]
    /// What there is room for beside the gaps; nil for everything.
    private var room: Int?
    /// Whether the last column is below the others.
    private var isLastBelow = false
    /// What each column took so far; nil before the heading.
    private var widths: [Int]?
    /// Which columns show the brief form.
    private var isBrief: [Bool]
    /// Which columns are left out.
    private var isLeftOut: [Bool]

    /// Makes a table; `screen` is what it has to fit.
    init(columns: [Column], on screen: Screen = .none) {
        self.columns = columns
        room = screen.columns.map { max($0, 80) - Self.gap * (columns.count - 1) }
        isBrief = columns.map { _ in false }
        isLeftOut = isBrief
    }

    /// The next rows, a line each, with control characters made visible; the heading comes first.
    ///
    /// Columns grow with the rows but shrink only for the terminal, so that a table may be printed
    /// in parts.
    mutating func lines(adding rows: [[Cell]]) -> [Line] {
        let heading = widths == nil ? [columns.map { Cell($0.title, mark: .heading) }] : []
        let cells = heading + rows
        let widths = fit(cells)
        self.widths = widths
        return cells.flatMap { row in
            [line(isLastBelow ? row.dropLast() : row[...], widths)]
                + (isLastBelow ? below(row.last) : [])
        }
    }

    private func line(_ row: ArraySlice<Cell>, _ widths: [Int]) -> Line {
        let shown = row.enumerated().filter { !isLeftOut[$0.offset] }
        return Line(
            parts: shown.flatMap { column, cell -> [Line.Part] in
                let whole = isBrief[column] ? cell.brief : cell.full
                let text = clipped(whole, to: widths[column])
                let blank = widths[column] - Terminal.width(of: text)
                let padding = String(repeating: " ", count: blank)
                let gap = String(repeating: " ", count: column > 0 ? Self.gap : 0)
                let isLast = column == shown.last?.offset
                return columns[column].isNumeric
                    ? [.init(text: gap + padding), .init(text: text, mark: cell.mark)]
                    : [
                        .init(text: gap), .init(text: text, mark: cell.mark),
                        .init(text: isLast ? "" : padding),
                    ]
            }
        )
    }

    /// The last cell of a row in lines of its own; none where it says nothing.
    private func below(_ cell: Cell?) -> [Line] {
        guard let cell, cell.full != "-", let room else { return [] }
        let gaps = columns.count - 2 - isLeftOut.count { $0 }
        let width = room + Self.gap * gaps - Self.indent
        let indent = String(repeating: " ", count: Self.indent)
        return wrapped(cell.full, to: width).map {
            Line(parts: [.init(text: indent), .init(text: $0, mark: cell.mark)])
        }
    }

    /// How wide each column gets, and which of them have to be brief.
    private mutating func fit(_ cells: [[Cell]]) -> [Int] {
        func widest(_ column: Int, _ form: KeyPath<Cell, String>) -> Int {
            cells.map { Terminal.width(of: $0[column][keyPath: form]) }.max() ?? 0
        }
        var widths = columns.indices.map { column in
            max(self.widths?[column] ?? 0, widest(column, isBrief[column] ? \.brief : \.full))
        }
        if isLastBelow { widths[columns.count - 1] = 0 }
        for column in columns.indices where isLeftOut[column] { widths[column] = 0 }
        guard var room else { return widths }
        for column in columns.indices.reversed() where widths.reduce(0, +) > room {
            guard !isBrief[column], widths[column] > 0 else { continue }
            isBrief[column] = true
            widths[column] = widest(column, \.brief)
        }
        if widths.reduce(0, +) > room, !isLastBelow, columns.last?.isLong ?? false {
            isLastBelow = true
            widths[columns.count - 1] = 0
            room += Self.gap
            self.room = room
        }
        for column in columns.indices where columns[column].isSpare && !isLeftOut[column] {
            guard widths.reduce(0, +) > room else { break }
            isLeftOut[column] = true
            widths[column] = 0
            room += Self.gap
            self.room = room
        }
        while widths.reduce(0, +) > room {
            let cut = columns.indices
                .filter { column in
                    !columns[column].isWhole && !columns[column].isNumeric
                        && widths[column] > max(columns[column].title.count, columns[column].least)
                }
                .max { widths[$0] < widths[$1] }
            guard let cut else { break }
            widths[cut] -= 1
        }
        return widths
    }
}

/// A text, or its beginning and an ellipsis where it takes more than `limit` columns.
func clipped(_ text: String, to limit: Int) -> String {
    guard Terminal.width(of: text) > limit else { return text }
    var start = String(text.prefix(limit))
    while Terminal.width(of: start) > limit - 1, start.popLast() != nil {}
    return start + "…"
}

/// A text in lines of up to `limit` columns, broken between words; a longer word is cut.
func wrapped(_ text: some StringProtocol, to limit: Int) -> [String] {
    guard Terminal.width(of: String(text)) > limit else { return [String(text)] }
    var lines: [String] = []
    for word in text.split(separator: " ") {
        if let line = lines.last, Terminal.width(of: "\(line) \(word)") <= limit {
            lines[lines.count - 1] = "\(line) \(word)"
        } else {
            lines.append(clipped(String(word), to: limit))
        }
    }
    return lines
}

/// Names and their values, the values aligned; a value of several lines continues under itself.
///
/// Where there is a `screen`, so does what is wider than that, down to 80 columns.
func keyed(_ pairs: [(name: String, value: String)], on screen: Screen = .none) -> [Line] {
    let width = (pairs.map(\.name.count).max() ?? 0) + 2
    return pairs.flatMap { name, value in
        value.split(separator: "\n", omittingEmptySubsequences: false)
            .flatMap { line in
                screen.columns.map { wrapped(visible(String(line)), to: max($0, 80) - width) }
                    ?? [String(line)]
            }
            .enumerated().map {
                let start = $0 == 0 ? name : ""
                return Line(start + String(repeating: " ", count: width - start.count) + $1)
            }
    }
}

/// A line for people; where the terminal can, marked parts of it have a colour as well.
///
/// A mark only stresses what the words say: it is lost in a pipe, and not everybody sees colours.
struct Line: ExpressibleByStringInterpolation {
    /// Text of one kind.
    struct Part: Hashable {
        var text: String
        var mark: Mark?
    }

    var parts: [Part]

    init(_ text: String, _ mark: Mark? = nil) { parts = [Part(text: text, mark: mark)] }

    init(stringLiteral text: String) { self.init(text) }

    init(parts: [Part]) { self.parts = parts }

    /// The line as it is printed: whatever others wrote into it cannot steer the terminal.
    func printed(inColour isColoured: Bool) -> String {
        parts.reduce(into: "") { line, part in
            let text = visible(part.text)
            if isColoured, let mark = part.mark, !text.isEmpty {
                line += "\u{1b}[\(mark.rawValue)m\(text)\u{1b}[0m"
            } else {
                line += text
            }
        }
    }
}

/// What a part of a line is; the raw value is its ECMA-48 "select graphic rendition".
enum Mark: String {
    case heading = "1"
    case good = "32"
    case waiting = "33"
    case bad = "1;31"
    case over = "2"
}

/// The terminal that standard output is, if it is one.
struct Screen: Sendable {
    /// Its columns; nil where it is a file or a pipe, for which nothing is cut.
    var columns: Int?
    var isColoured: Bool

    /// What a file or a pipe is.
    static let none = Screen(columns: nil, isColoured: false)

    /// The screen of a terminal with so many columns, or of none.
    ///
    /// `COLUMNS` says for every program how wide it is (environ(7)); `NO_COLOR` (no-color.org) and
    /// `TERM=dumb` that there is no colour.
    init(isTerminal: Bool, columns: Int?, _ environment: (String) -> String?) {
        guard isTerminal else {
            self = .none
            return
        }
        let wanted = environment("COLUMNS").flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
        self.columns = wanted ?? columns ?? 80
        isColoured =
            environment("NO_COLOR").map(\.isEmpty) ?? true && environment("TERM") != "dumb"
    }

    init(columns: Int?, isColoured: Bool) {
        self.columns = columns
        self.isColoured = isColoured
    }
}

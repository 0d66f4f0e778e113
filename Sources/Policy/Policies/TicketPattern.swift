/// A regular expression that tickets must match.
///
/// The text form is an extended regular expression of POSIX (POSIX.1-2017, Base Definitions, 9.4),
/// found anywhere in the ticket unless it begins with `^` and ends with `$`. Characters are single
/// Unicode scalars, whatever the locale; names like `[:alpha:]` mean ASCII only. What POSIX leaves
/// undefined or what means something else in other dialects is refused: `\d`, a backslash within
/// brackets, `()`, `a**`, a single `{`.
///
/// Matching takes time in proportion to the length of the ticket, at most ``longest`` steps for
/// each of its characters, whatever the expression and the ticket: all ways through the expression
/// are followed at once (Thompson, "Regular Expression Search Algorithm", CACM 11(6), 1968).
public struct TicketPattern: TextForm {
    /// The largest expression, in steps after its repetitions are written out.
    static let longest = 512

    /// The expression as it was written.
    public let description: String
    private let program: Program

    /// Reads an expression of at most 256 bytes.
    public init(parsing text: String) throws(ParseError) {
        guard text.utf8.count <= 256 else {
            throw ParseError(text, "an expression has at most 256 bytes")
        }
        guard !text.unicodeScalars.contains(where: \.steersOutput) else {
            throw ParseError(text, "an expression has no control characters")
        }
        description = text
        program = try Program(parsing: text)
    }

    /// Whether the expression is found in a ticket.
    public func matches(_ ticket: String) -> Bool {
        // The steps that are possible at a place of the ticket, each once.
        var current = Reached(program.steps.count)
        var next = current
        var scalars = ticket.unicodeScalars.makeIterator()
        var scalar = scalars.next()
        var isFirst = true
        while true {
            // A match may begin at every place.
            if follow(0, &current, isFirst: isFirst, isLast: scalar == nil) { return true }
            guard let consumed = scalar else { return false }
            scalar = scalars.next()
            isFirst = false
            let members = program.sets.map { $0.contains(consumed) }
            for step in current.waiting {
                guard case .take(let set) = program.steps[step], members[set] else { continue }
                if follow(step + 1, &next, isFirst: false, isLast: scalar == nil) { return true }
            }
            (current, next) = (next, current)
            next.removeAll()
        }
    }

    /// Adds a step and all that follow from it without taking a character; answers whether the end
    /// is among them.
    private func follow(
        _ step: Int,
        _ reached: inout Reached,
        isFirst: Bool,
        isLast: Bool
    ) -> Bool {
        var open = [step]
        while let step = open.popLast() {
            guard step < program.steps.count else { return true }
            guard reached.insert(step) else { continue }
            switch program.steps[step] {
            case .take: reached.waiting.append(step)
            case .jump(let offset): open.append(step + offset)
            case .fork(let offset): open += [step + 1, step + offset]
            case .beginning: if isFirst { open.append(step + 1) }
            case .end: if isLast { open.append(step + 1) }
            }
        }
        return false
    }

    private struct Reached {
        /// Those that take a character.
        var waiting: [Int] = []
        private var isReached: [Bool]

        init(_ count: Int) { isReached = Array(repeating: false, count: count) }

        mutating func insert(_ step: Int) -> Bool {
            defer { isReached[step] = true }
            return !isReached[step]
        }

        mutating func removeAll() {
            waiting.removeAll(keepingCapacity: true)
            for step in isReached.indices { isReached[step] = false }
        }
    }
}

extension TicketPattern {
    /// What an expression comes to: steps from the first to behind the last, which is the end.
    fileprivate struct Program: Hashable {
        var steps: [Step] = []
        /// The characters that the steps take.
        var sets: [ScalarSet] = []
    }

    fileprivate enum Step: Hashable {
        /// Takes one character of a set, by its place among them.
        case take(Int)
        /// Goes on so many steps from here.
        case jump(Int)
        /// Goes on with the next step and so many from here.
        case fork(Int)
        /// Goes on where the ticket begins or ends.
        case beginning, end
    }

    /// Characters, or all but these.
    fileprivate struct ScalarSet: Hashable {
        var ranges: [ClosedRange<UInt32>]
        var isInverted = false

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            ranges.contains { $0.contains(scalar.value) } != isInverted
        }
    }
}

// MARK: - Reading

extension TicketPattern.Program {
    fileprivate init(parsing text: String) throws(ParseError) {
        var reader = ExpressionReader(text)
        steps = try reader.alternatives()
        if reader.next != nil {
            throw reader.error("there is a ) without its (; write \\) for the sign")
        }
        sets = reader.sets
    }
}

/// Reads an expression from left to right; each function answers the steps of what it read.
private struct ExpressionReader {
    typealias Step = TicketPattern.Step

    private let text: String
    private var rest: Substring.UnicodeScalarView
    private(set) var sets: [TicketPattern.ScalarSet] = []

    init(_ text: String) {
        self.text = text
        rest = text[...].unicodeScalars
    }

    var next: Unicode.Scalar? { rest.first }

    func error(_ message: String) -> ParseError { ParseError(text, message) }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func takeAny(orSay message: String) throws(ParseError) -> Unicode.Scalar {
        guard let scalar = rest.popFirst() else { throw error(message) }
        return scalar
    }

    /// Alternatives: `a|b|c`.
    mutating func alternatives() throws(ParseError) -> [Step] {
        let first = try sequence()
        guard take("|") else { return first }
        let others = try alternatives()
        return try checked([.fork(first.count + 2)] + first + [.jump(others.count + 1)] + others)
    }

    private mutating func sequence() throws(ParseError) -> [Step] {
        var steps: [Step] = []
        var isEmpty = true
        while let scalar = next, scalar != "|", scalar != ")" {
            isEmpty = false
            steps = try checked(steps + repeated())
        }
        guard !isEmpty else {
            throw error("there is nothing to match; write ? behind what may be missing")
        }
        return steps
    }

    /// One piece and how often: `a`, `a*`, `a+`, `a?`, `a{2}`, `a{2,}`, `a{2,3}`.
    private mutating func repeated() throws(ParseError) -> [Step] {
        let isAnchor = next == "^" || next == "$"
        let steps = try atom()
        guard let sign = next, "*+?{".unicodeScalars.contains(sign) else { return steps }
        guard !isAnchor else { throw error("^ and $ cannot be repeated") }
        rest.removeFirst()
        let (least, most) =
            try sign == "{" ? bounds() : (sign == "+" ? 1 : 0, sign == "?" ? 1 : nil)
        if let next, "*+?{".unicodeScalars.contains(next) {
            throw error("there is a repetition of a repetition; put the inner one in parentheses")
        }
        guard steps.count * max(least, most ?? 0) <= TicketPattern.longest else { throw tooLarge }
        let needed = Array(repeatElement(steps, count: least).joined())
        let loop: [Step] = [.fork(steps.count + 2)] + steps + [.jump(-steps.count - 1)]
        let optional: [Step] = [.fork(steps.count + 1)] + steps
        return try checked(
            needed
                + (most.map { repeatElement(optional, count: $0 - least).joined() }.map(Array.init)
                    ?? loop)
        )
    }

    private mutating func bounds() throws(ParseError) -> (least: Int, most: Int?) {
        let form = "write how often like {2}, {2,} or {2,3}, at most 255, and \\{ for the sign"
        guard let least = number() else { throw error(form) }
        var most: Int? = least
        if take(",") { most = next == "}" ? nil : number() ?? -1 }
        guard (most ?? least) >= least, take("}") else { throw error(form) }
        return (least, most)
    }

    private mutating func number() -> Int? {
        let digits = rest.prefix { ("0"..."9").contains($0) }
        rest.removeFirst(digits.count)
        return Int(String(digits)).flatMap { $0 <= 255 ? $0 : nil }
    }

    private mutating func atom() throws(ParseError) -> [Step] {
        let scalar = try takeAny(orSay: "nothing to match")
        switch scalar {
        case "(":
            let inner = try alternatives()
            guard take(")") else { throw error("there is a ( without its )") }
            return inner
        case "*", "+", "?", "{":
            throw error(
                "there is nothing before \(scalar) to repeat; write \\\(scalar) for the sign"
            )
        case "^": return [.beginning]
        case "$": return [.end]
        case ".": return [taking([0...0x10_FFFF])]
        case "[": return [try bracket()]
        case "\\": return [taking([one(try escaped())])]
        default: return [taking([one(scalar)])]
        }
    }

    private mutating func escaped() throws(ParseError) -> Unicode.Scalar {
        let scalar = try takeAny(orSay: "there is a backslash with nothing behind it")
        guard scalar.isASCII, !scalar.properties.isAlphabetic, !("0"..."9").contains(scalar) else {
            let meant = [
                "d": "; write [0-9]", "w": "; write [[:alnum:]_]", "s": "; write [[:space:]]",
            ]
            throw error("\\\(scalar) is not known here" + (meant["\(scalar)"] ?? ""))
        }
        return scalar
    }

    /// What follows a `[`.
    private mutating func bracket() throws(ParseError) -> Step {
        let unfinished = "there is a [ without its ]"
        let isInverted = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        repeat {
            let scalar = try takeAny(orSay: unfinished)
            if scalar == "[", let kind = next, ":.=".unicodeScalars.contains(kind) {
                ranges += try named()
                continue
            }
            guard scalar != "\\" else {
                throw error("there is a backslash within [ ], where it would stand for itself")
            }
            guard next == "-", rest.dropFirst().first != "]" else {
                ranges.append(one(scalar))
                continue
            }
            rest.removeFirst()
            let last = try takeAny(orSay: unfinished)
            guard last >= scalar, last != "[", last != "\\" else {
                throw error("there is a range from \(scalar) to \(last); put a - first or last")
            }
            ranges.append(scalar.value...last.value)
        } while next != "]"
        rest.removeFirst()
        return taking(ranges, isInverted: isInverted)
    }

    /// What follows a `[` within brackets: `:digit:]`.
    private mutating func named() throws(ParseError) -> [ClosedRange<UInt32>] {
        let name = String(rest.prefix { $0 != "]" })
        guard let ranges = Self.named[name] else {
            throw error("the names of characters are \(listed(Self.named.keys.sorted()))")
        }
        rest.removeFirst(name.unicodeScalars.count)
        _ = take("]")
        return ranges
    }

    private static let named: [String: [ClosedRange<UInt32>]] = [
        ":alnum:": [0x30...0x39, 0x41...0x5A, 0x61...0x7A], ":alpha:": [0x41...0x5A, 0x61...0x7A],
        ":blank:": [0x09...0x09, 0x20...0x20], ":cntrl:": [0x00...0x1F, 0x7F...0x7F],
        ":digit:": [0x30...0x39], ":graph:": [0x21...0x7E], ":lower:": [0x61...0x7A],
        ":print:": [0x20...0x7E],
        ":punct:": [0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E],
        ":space:": [0x09...0x0D, 0x20...0x20], ":upper:": [0x41...0x5A],
        ":xdigit:": [0x30...0x39, 0x41...0x46, 0x61...0x66],
    ]

    private func one(_ scalar: Unicode.Scalar) -> ClosedRange<UInt32> {
        scalar.value...scalar.value
    }

    private mutating func taking(_ ranges: [ClosedRange<UInt32>], isInverted: Bool = false) -> Step
    {
        let set = TicketPattern.ScalarSet(ranges: ranges, isInverted: isInverted)
        if let known = sets.firstIndex(of: set) { return .take(known) }
        sets.append(set)
        return .take(sets.count - 1)
    }

    private var tooLarge: ParseError {
        error(
            "it is too large: with repetitions written out at most \(TicketPattern.longest) steps"
        )
    }

    private func checked(_ steps: [Step]) throws(ParseError) -> [Step] {
        guard steps.count <= TicketPattern.longest else { throw tooLarge }
        return steps
    }
}

import Policy
import Yams

/// The text of a policy file, in which one policy can be changed while every other line stays.
///
/// It goes by the lines that the parser tells. What comes out has to be read and compared with what
/// is meant: there are texts whose lines mean something else than they seem to.
struct PolicyFileText {
    private var lines: [String]
    private let policies: [Node]

    /// Takes a text apart; nil where it is no policy file, or its list is not one item under the
    /// other.
    init?(_ text: String) {
        lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            .map { String($0) }
        let faults = Faults()
        let root = YAMLDocument(text: text, file: "", faults: faults).root
        let list = root?.mapping?.first { $0.key.scalar?.string == "policies" }?.value.sequence
        guard let list, faults.error == nil else { return nil }
        policies = Array(list)
        guard letter(at: list.mark) == "-" else { return nil }
    }

    /// How many policies there are.
    var count: Int { policies.count }

    /// The place of a policy in the list.
    func index(of name: String) -> Int? {
        policies.firstIndex { policy in
            policy.mapping?.contains { $0.key.scalar?.string == "name" && $0.value.string == name }
                ?? false
        }
    }

    /// The text with another policy in the place of one; nil where that cannot be told by lines.
    ///
    /// Only the keys that differ are written anew.
    func replacing(_ index: Int, _ old: AccessPolicy, with new: AccessPolicy) -> String? {
        guard let item = range(ofPolicy: index), let policy = policies[index].mapping,
            let start = position(of: policy.mark)
        else { return nil }
        var lines = lines
        guard letter(at: policy.mark) != "{" else {
            let written = new.lines(head: head(start), indent: start.column)
            lines.replaceSubrange(start.line..<item.upperBound, with: written)
            return lines.joined(separator: "\n")
        }
        var keys: [(name: String, start: Position)] = []
        for (key, _) in policy {
            guard let name = key.scalar?.string, let start = position(of: key.mark) else {
                return nil
            }
            keys.append((name, start))
        }
        let names = keys.map(\.name)
        let additions = new.entries.filter { !names.contains($0.key) && !$0.isDefault }
        var (next, isLast) = (item.upperBound, true)
        for (name, key) in keys.reversed() {
            let end = end(ofWhatBegins: key, before: next)
            if isLast {
                let indent = String(repeating: " ", count: start.column)
                let added = additions.map { "\(indent)\($0.key): \($0.value ?? "")" }
                lines.insert(contentsOf: added, at: end)
                isLast = false
            }
            next = key.line
            guard let change = new.entries.first(where: { $0.key == name }),
                let before = old.entries.first(where: { $0.key == name }),
                change.value != before.value
            else { continue }
            let written = change.value.map { "\(head(key))\(name): \($0)" }
            // The first key has the dash before it.
            if written == nil, key.line == start.line { return nil }
            lines.replaceSubrange(key.line..<end, with: [written].compactMap(\.self))
        }
        return lines.joined(separator: "\n")
    }

    /// The text without a policy; nil where that cannot be told by lines.
    func removing(_ index: Int) -> String? {
        guard var range = range(ofPolicy: index) else { return nil }
        while range.upperBound < lines.count - 1, isBlank(lines[range.upperBound]) {
            range = range.lowerBound..<range.upperBound + 1
        }
        var lines = lines
        lines.removeSubrange(range)
        return lines.joined(separator: "\n")
    }
}

extension PolicyFileText {
    /// A place in the text, counted from 0, in Unicode scalars.
    private struct Position {
        var line: Int
        var column: Int
    }

    private func position(of mark: Mark?) -> Position? {
        guard let mark, lines.indices.contains(mark.line - 1),
            lines[mark.line - 1].unicodeScalars.count >= mark.column
        else { return nil }
        return Position(line: mark.line - 1, column: mark.column - 1)
    }

    private func letter(at mark: Mark?) -> Unicode.Scalar? {
        position(of: mark).flatMap {
            lines[$0.line].unicodeScalars.dropFirst($0.column).first
        }
    }

    /// What stands before a place in its line.
    private func head(_ position: Position) -> String {
        String(lines[position.line].unicodeScalars.prefix(position.column))
    }

    private func isBlank(_ line: String) -> Bool {
        line.unicodeScalars.allSatisfy(\.properties.isWhitespace)
    }

    /// The lines of a policy, from that of its dash.
    private func range(ofPolicy index: Int) -> Range<Int>? {
        guard let start = dash(ofPolicy: index) else { return nil }
        let isLast = index == policies.count - 1
        guard let next = isLast ? lines.count : dash(ofPolicy: index + 1)?.line, next > start.line
        else { return nil }
        return start.line..<end(ofWhatBegins: start, before: next)
    }

    private func dash(ofPolicy index: Int) -> Position? {
        guard let start = position(of: policies[index].mapping?.mark) else { return nil }
        // Usually before the first key; else alone in a line before.
        for line in (0...start.line).reversed() {
            let text = line == start.line ? head(start) : lines[line]
            let column = text.unicodeScalars.firstIndex { !$0.properties.isWhitespace }
            guard let column else { continue }
            guard text.unicodeScalars[column] == "-" else { return nil }
            return Position(
                line: line,
                column: text.unicodeScalars.distance(from: text.startIndex, to: column)
            )
        }
        return nil
    }

    /// The line behind what begins at a place and ends before another line: blank lines there, and
    /// comments that are not indented more, belong to what follows.
    private func end(ofWhatBegins start: Position, before next: Int) -> Int {
        var end = next
        while end > start.line + 1, isBetween(lines[end - 1], start.column) { end -= 1 }
        return end
    }

    private func isBetween(_ line: String, _ indent: Int) -> Bool {
        let space = line.unicodeScalars.prefix { $0.properties.isWhitespace }
        let rest = line.unicodeScalars.dropFirst(space.count)
        return rest.isEmpty || rest.first == "#" && space.count <= indent
            || line.hasPrefix("...") || line.hasPrefix("---")
    }
}

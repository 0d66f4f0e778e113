/// The candidate that a mistyped word most likely means; nil where none is near enough.
///
/// Near enough is one change in three letters, a change being a letter too many, missing, wrong
/// or swapped with its neighbour.
package func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
    let letters = Array(word.utf8.prefix(65))
    guard (2...64).contains(letters.count) else { return nil }
    return
        candidates
        .map { (candidate: $0, distance: editDistance(letters, Array($0.utf8.prefix(65)))) }
        .filter { $0.distance <= max(1, letters.count / 3) }
        .min { $0.distance < $1.distance }?.candidate
}

/// The optimal string alignment distance.
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in a.indices {
        var row = [i + 1]
        for j in b.indices {
            var best = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                best = min(best, beforeLast[j - 1] + 1)
            }
            row.append(best)
        }
        (beforeLast, last) = (last, row)
    }
    return last[b.count]
}

/// `1 policy`, `2 policies`.
package func counted(_ count: Int, _ one: String, _ many: String) -> String {
    "\(count) \(count == 1 ? one : many)"
}

/// The first items of a list, and how many more there are.
package func listed<Items: Collection>(_ items: Items) -> String
where Items.Element: CustomStringConvertible {
    let shown = items.prefix(12).map(\.description).joined(separator: ", ")
    return items.count > 12 ? "\(shown) and \(items.count - 12) more" : shown
}

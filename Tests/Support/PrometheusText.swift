/// Reads Prometheus' text format 0.0.4, and refuses what a strict reader would.
///
/// Every name has its help and its type, in this order, before its figures, which stand together;
/// counters end in `_total`; a histogram's buckets ascend up to `+Inf`, which is its count.
public struct PrometheusText: Sendable {
    /// One figure.
    public struct Sample: Hashable, Sendable {
        /// What it is called.
        public var name: String
        /// Its labels.
        public var labels: [String: String]
        /// The number.
        public var value: Double
    }

    /// What is wrong with a page.
    public struct Fault: Error, CustomStringConvertible {
        /// Line and reason.
        public var description: String
    }

    /// The types by name.
    public private(set) var types: [String: String] = [:]
    /// The helps by name.
    public private(set) var helps: [String: String] = [:]
    /// All figures, in their order.
    public private(set) var samples: [Sample] = []

    /// Reads a page.
    public init(_ text: String) throws(Fault) {
        guard text.hasSuffix("\n") else { throw Fault(description: "no line feed at the end") }
        var current: String?
        for (number, line) in text.dropLast().split(
            separator: "\n",
            omittingEmptySubsequences: false
        ).enumerated() {
            do throws(Fault) {
                try read(String(line), &current)
            } catch {
                throw Fault(description: "line \(number + 1): \(line): \(error)")
            }
        }
        for (name, type) in types where type == "histogram" { try checkHistogram(name) }
    }

    /// The value of a figure; nil where it is not there.
    public subscript(name: String, labels: KeyValuePairs<String, String>) -> Double? {
        let wanted = Dictionary(uniqueKeysWithValues: labels.map { ($0, $1) })
        return samples.first { $0.name == name && $0.labels == wanted }?.value
    }

    /// The value of a figure without labels; nil where it is not there.
    public subscript(name: String) -> Double? { self[name, [:]] }

    private mutating func read(_ line: String, _ current: inout String?) throws(Fault) {
        let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        if line.hasPrefix("# HELP ") {
            guard words.count == 4, !words[3].isEmpty else { throw Fault(description: "no help") }
            let name = String(words[2])
            guard helps[name] == nil else { throw Fault(description: "told twice") }
            helps[name] = String(words[3])
            current = name
        } else if line.hasPrefix("# TYPE ") {
            guard words.count == 4, String(words[2]) == current, types[String(words[2])] == nil,
                ["counter", "gauge", "histogram"].contains(words[3])
            else { throw Fault(description: "a type that is not behind its help, or unknown") }
            if words[3] == "counter", !words[2].hasSuffix("_total") {
                throw Fault(description: "a counter without _total")
            }
            types[String(words[2])] = String(words[3])
        } else {
            let sample = try Self.sample(line)
            guard let current, let type = types[current] else {
                throw Fault(description: "a figure without a type")
            }
            let endings = type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
            let names = endings.map { current + $0 }
            guard names.contains(sample.name) else { throw Fault(description: "not \(current)") }
            let isThere = samples.contains {
                $0.name == sample.name && $0.labels == sample.labels
            }
            guard !isThere else { throw Fault(description: "told twice") }
            if type == "counter", sample.value < 0 { throw Fault(description: "less than 0") }
            samples.append(sample)
        }
    }

    private static func sample(_ line: String) throws(Fault) -> Sample {
        var rest = Substring(line)
        let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == ":" }
        rest = rest.dropFirst(name.count)
        guard let first = name.first, !first.isNumber, name.allSatisfy(\.isASCII) else {
            throw Fault(description: "no name")
        }
        var labels: [String: String] = [:]
        if rest.first == "{" {
            repeat {
                rest = rest.dropFirst()
                let label = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
                rest = rest.dropFirst(label.count)
                guard !label.isEmpty, rest.hasPrefix("=\"") else {
                    throw Fault(description: "no label")
                }
                rest = rest.dropFirst(2)
                var value = ""
                while let next = rest.popFirst(), next != "\"" {
                    guard next == "\\" else {
                        value.append(next)
                        continue
                    }
                    switch rest.popFirst() {
                    case "n": value.append("\n")
                    case "\\": value.append("\\")
                    case "\"": value.append("\"")
                    default: throw Fault(description: "an unknown escape")
                    }
                }
                guard labels.updateValue(value, forKey: String(label)) == nil else {
                    throw Fault(description: "a label twice")
                }
            } while rest.first == ","
            guard rest.popFirst() == "}" else { throw Fault(description: "labels without end") }
        }
        guard rest.popFirst() == " ", let value = Double(rest == "+Inf" ? "inf" : String(rest))
        else { throw Fault(description: "no number") }
        return Sample(name: String(name), labels: labels, value: value)
    }

    private func checkHistogram(_ name: String) throws(Fault) {
        let buckets = samples.filter { $0.name == "\(name)_bucket" }
        let bounds = buckets.compactMap {
            $0.labels["le"].flatMap { Double($0 == "+Inf" ? "inf" : $0) }
        }
        let counts = buckets.map(\.value)
        guard bounds.count == buckets.count, bounds == bounds.sorted(), counts == counts.sorted(),
            Set(bounds).count == bounds.count, bounds.last == .infinity,
            self["\(name)_sum"] != nil, self["\(name)_count"] == counts.last
        else { throw Fault(description: "\(name) is no histogram") }
    }
}

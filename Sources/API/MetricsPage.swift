/// Figures in the text format of Prometheus, version 0.0.4.
///
/// The format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
public struct MetricsPage: Hashable, Sendable {
    /// The media type of ``text``.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// How figures of a name behave.
    public enum Kind: String, Hashable, Sendable {
        /// Only grows, from 0 with the agent's start on; its name ends in `_total`.
        case counter
        /// Goes up and down.
        case gauge
    }

    /// One figure: what tells it from others of its name, and the number as it is written.
    public struct Sample: Hashable, Sendable {
        fileprivate var labels: [Label]
        fileprivate var value: String

        /// Takes a whole number.
        public init(_ value: some FixedWidthInteger, _ labels: KeyValuePairs<String, String> = [:])
        {
            self.labels = labels.map { Label(name: $0, value: $1) }
            self.value = String(value)
        }

        /// Takes a number, such as seconds.
        public init(_ value: Double) {
            labels = []
            self.value = "\(value)"
        }

        /// 1 where it holds, else 0.
        public init(_ holds: Bool) { self.init(holds ? 1 : 0) }
    }

    fileprivate struct Label: Hashable, Sendable {
        var name: String
        var value: String
    }

    /// The page.
    public private(set) var text = ""

    /// An empty page.
    public init() {}

    /// Adds the figures of a name, which must not be there yet.
    ///
    /// - Parameters:
    ///   - name: What they are called, with the unit at the end.
    ///   - kind: How they behave.
    ///   - help: What they are, in a line.
    ///   - samples: The figures; without any, only the name is told.
    public mutating func add(
        _ name: String,
        _ kind: Kind,
        _ help: String,
        _ samples: [Sample]
    ) {
        head(name, kind.rawValue, help)
        for sample in samples { line(name, sample) }
    }

    /// Adds one figure of a name.
    public mutating func add(_ name: String, _ kind: Kind, _ help: String, _ sample: Sample) {
        add(name, kind, help, [sample])
    }

    /// Adds a histogram.
    ///
    /// - Parameters:
    ///   - name: What it is called, with the unit at the end.
    ///   - help: What is measured, in a line.
    ///   - bounds: What the buckets go up to, ascending; one more takes the rest.
    ///   - counts: How many are in each bucket: one more than there are bounds.
    ///   - sum: All that was measured, added up.
    public mutating func add(
        histogram name: String,
        _ help: String,
        bounds: [Double],
        counts: [UInt64],
        sum: Double
    ) {
        head(name, "histogram", help)
        var count: UInt64 = 0
        for (bound, own) in zip(bounds.map { "\($0)" } + ["+Inf"], counts) {
            count += own
            line("\(name)_bucket", Sample(count, ["le": bound]))
        }
        line("\(name)_sum", Sample(sum))
        line("\(name)_count", Sample(count))
    }

    private mutating func head(_ name: String, _ kind: String, _ help: String) {
        let help = help.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
    }

    private mutating func line(_ name: String, _ sample: Sample) {
        let labels = sample.labels.map { label in
            let value = label.value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
                .replacing("\n", with: "\\n")
            return "\(label.name)=\"\(value)\""
        }
        let braced = labels.isEmpty ? "" : "{\(labels.joined(separator: ","))}"
        text += "\(name)\(braced) \(sample.value)\n"
    }
}

/// Everything that is wrong with the configuration, over all its files.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One thing that is wrong, and where.
    public struct Fault: Hashable, Sendable, CustomStringConvertible {
        /// The path of the file as it was opened; empty where what is at fault is in none.
        public var file: String
        /// The line from 1; 0 where the file as a whole is meant.
        public var line: Int
        /// The column from 1, in Unicode scalars; 0 where the file as a whole is meant.
        public var column: Int
        /// The key, like `policies[0].ports[1]`; empty where no single key is meant.
        public var key: String
        /// What is wrong and what would be allowed.
        public var message: String

        /// `file:line:column`, or the file alone where it is meant as a whole.
        public var place: String { line > 0 ? "\(file):\(line):\(column)" : file }

        /// `file:line:column: key: message`, without the parts that are not known.
        public var description: String {
            (file.isEmpty ? "" : place + ": ") + (key.isEmpty ? "" : key + ": ") + message
        }
    }

    /// The faults in the order of the files and their lines.
    public var faults: [Fault]

    /// One fault a line.
    public var description: String { faults.map(\.description).joined(separator: "\n") }
}

/// Where something stands in a file.
struct Place: Hashable, CustomStringConvertible {
    var file: String
    var line: Int
    var column: Int

    var description: String { "\(file):\(line):\(column)" }
}

/// Collects faults while the files are read.
final class Faults {
    /// So many faults are kept; a text from outside could have any number.
    static let limit = 1_000

    private var files: [String: Int] = [:]
    private var faults: [ConfigurationError.Fault] = []

    /// Begins a file: its faults come behind those of the files before.
    func begin(file: String) { files[file] = files[file] ?? files.count }

    func add(_ place: Place, _ key: String, _ message: String) {
        guard faults.count < Self.limit else { return }
        faults.append(
            ConfigurationError.Fault(
                file: place.file,
                line: place.line,
                column: place.column,
                key: key,
                message: message
            )
        )
    }

    /// Whether something is wrong with a key of the configuration file or what stands under it.
    func contains(key: String) -> Bool { faults.contains { $0.key.hasPrefix(key) } }

    /// What was collected; nil where there is nothing.
    var error: ConfigurationError? {
        guard !faults.isEmpty else { return nil }
        let order = { (index: Int) in
            let fault = self.faults[index]
            return (self.files[fault.file] ?? .max, fault.line, fault.column, index)
        }
        return ConfigurationError(
            faults: faults.indices.sorted { order($0) < order($1) }.map { faults[$0] }
        )
    }
}

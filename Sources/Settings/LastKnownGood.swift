import FoundationEssentials
public import Linux

/// The texts of a configuration that was in force, kept in the state directory for a start at which
/// the files cannot be used.
struct LastKnownGood: Codable, Equatable {
    /// Far more than the files of a host have.
    private static let longest = 64 * 1_024 * 1_024

    /// The path of the configuration file.
    var file: String
    /// The texts of it and of the policy files, by their paths.
    var texts: [String: String]

    static func path(in directory: String) -> String { directory + "/last-known-good.json" }

    /// Reads what was kept in a state directory.
    static func read(in directory: String) throws(FileError) -> LastKnownGood {
        let text = try fileText(path(in: directory), longest: longest, isOwn: true)
        guard let kept = try? JSONDecoder().decode(Self.self, from: Data(text.utf8)) else {
            throw FileError(description: "it is damaged")
        }
        return kept
    }

    /// The configuration that was kept, where there is one and its texts are not those of another.
    static func configuration(
        in directory: String,
        unlike other: AgentConfiguration
    ) -> AgentConfiguration? {
        guard let kept = try? read(in: directory), kept != LastKnownGood(of: other) else {
            return nil
        }
        let tree = FileTree(label: "", texts: kept.texts)
        let (configuration, fault) = AgentConfiguration.read(file: kept.file, in: tree)
        return fault == nil ? configuration : nil
    }

    /// What is kept of a configuration; nil where it was not read from files.
    init?(of configuration: AgentConfiguration) {
        guard let file = configuration.texts.first?.path else { return nil }
        self.file = file
        texts = Dictionary(
            configuration.texts.map { ($0.path, $0.text) },
            uniquingKeysWith: { $1 }
        )
    }
}

extension AgentConfiguration {
    /// Keeps what is in force, to start from where the files cannot be used.
    ///
    /// The texts of the files, as they were read, replace those kept before, wholly or not at all,
    /// and are on the disk when this returns. Where they are the same nothing is written; nor where
    /// the configuration was not read from files.
    ///
    /// - Parameter directory: The state directory, which must be there.
    /// - Throws: Why it could not be written; what was kept before is then still there.
    public func keep(in directory: String) throws(SystemError) {
        guard let kept = LastKnownGood(of: self) else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts by texts can always be encoded.
        guard let data = try? encoder.encode(kept) else { return }
        let path = LastKnownGood.path(in: directory)
        let old = try? fileText(path, longest: data.count, isOwn: true)
        if old.map({ Data($0.utf8) }) != data { try replaceFile(path, with: Array(data)) }
    }
}

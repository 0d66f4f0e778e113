import Linux

/// Where the texts of a configuration are found by their paths.
struct FileTree {
    /// How its files are called in faults.
    let label: String
    private let texts: [String: String]?

    /// The files on the disk.
    static let disk = FileTree(label: "", texts: nil)

    /// Files that were kept elsewhere.
    init(label: String, texts: [String: String]?) {
        self.label = label
        self.texts = texts
    }

    func text(_ path: String) throws(FileError) -> String {
        guard let texts else { return try fileText(path, longest: YAMLDocument.longest) }
        guard let text = texts[path] else { throw FileError(description: "it was not kept") }
        return text
    }

    /// The names in a folder that do not begin with a dot, in their order.
    func names(in folder: String) throws(FileError) -> [String] {
        var names: [String] = []
        if let texts {
            names = texts.keys.filter { $0.hasPrefix(folder + "/") }
                .map { String($0.dropFirst(folder.count + 1)) }
        } else {
            do throws(SystemError) {
                names = try folderNames(folder)
            } catch {
                throw FileError(description: error.errno.text)
            }
        }
        return names.filter { !$0.hasPrefix(".") }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}

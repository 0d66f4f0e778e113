import FoundationEssentials

/// A folder of the test's own, which every user may enter, and which goes with all that is in it.
public final class TemporaryFolder: Sendable {
    /// Its absolute path, short enough for a socket in it.
    public let path: String

    /// Makes the folder, and in it files of these names and texts.
    public init(_ files: [String: String] = [:]) throws {
        path = "/tmp/sallyport-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(
            atPath: path,
            withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o755]
        )
        for (name, text) in files { try write(name, text) }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file; folders that its name begins with are made.
    public func write(_ name: String, _ text: String) throws {
        let file = URL(fileURLWithPath: "\(path)/\(name)")
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try Data(text.utf8).write(to: file)
    }
}

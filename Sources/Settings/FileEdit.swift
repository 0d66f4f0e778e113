import Linux
import SystemPackage

/// A change of one file of the configuration, worked out but not made.
struct FileEdit: Sendable {
    /// The path.
    let file: String
    /// The text before and after; nil where there is no file.
    let before: String?
    let after: String?
    /// Mode and owner of the file before.
    let status: Stat?

    private static let newFile: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]

    /// Writes the file, which is on the disk then, or removes it.
    ///
    /// Mode and owner stay, as far as the agent may set them.
    func make() throws(PolicyChangeError) { try put(after, inPlaceOf: before) }

    /// Makes the file again what it was.
    func takeBack() throws(PolicyChangeError) { try put(before, inPlaceOf: after) }

    private func put(_ text: String?, inPlaceOf old: String?) throws(PolicyChangeError) {
        guard text != old else { return }
        do throws(SystemError) {
            if let text {
                try replaceFile(
                    file,
                    with: Array(text.utf8),
                    permissions: status?.permissions ?? Self.newFile,
                    owner: status.map { ($0.userID, $0.groupID) }
                )
            } else {
                try removeFile(file, durably: true)
            }
        } catch {
            throw .notWritten("cannot write \(file): \(error.errno.text)")
        }
    }
}

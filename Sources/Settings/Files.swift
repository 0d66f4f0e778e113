import Linux
import SystemPackage

/// Why a file is not read, in words that follow "cannot read the file: ".
struct FileError: Error, CustomStringConvertible {
    var description: String
}

/// The text of a file of at most `longest` bytes of UTF-8.
///
/// Files of the administrator may be written by whoever is not everybody; `isOwn` is for those of
/// the agent, which nobody else but root may write.
func fileText(_ path: String, longest: Int, isOwn: Bool = false) throws(FileError) -> String {
    var bytes: [UInt8] = []
    let objection: String?
    do throws(SystemError) {
        // Not blocking, so that a named pipe in place of the file does not stop the agent.
        let file = try Descriptor.open(path, .readOnly, options: .nonBlocking)
        objection = try file.status().objection(isOwn: isOwn)
        if objection == nil { bytes = try file.readAll(atMost: longest) }
    } catch {
        let isTooLong = error.errno == .fileTooLarge
        throw FileError(
            description: isTooLong ? "it is longer than \(longest) bytes" : error.errno.text
        )
    }
    if let objection { throw FileError(description: objection) }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw FileError(description: "it is not UTF-8")
    }
    return text
}

/// Whether there is something at a path.
func isThere(_ path: String) -> Bool {
    do throws(SystemError) {
        _ = try fileStatus(path, followsLink: false)
        return true
    } catch {
        return error.errno != .noSuchFileOrDirectory
    }
}

extension Stat {
    /// Why a file is not to be trusted; nil where it is.
    fileprivate func objection(isOwn: Bool) -> String? {
        // A pipe would read as an empty file, which is a valid one.
        if type != .regular { return "it is not a file" }
        // Whoever can write it decides who is admin.
        if permissions.contains(.otherWrite) { return "everybody may write to it; chmod o-w it" }
        guard isOwn else { return nil }
        let isOurs = [0, ThisProcess.userID].contains(userID.rawValue)
        return isOurs && !permissions.contains(.groupWrite)
            ? nil : "others than the agent may write to it"
    }
}

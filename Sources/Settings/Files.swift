import Glibc

/// Why the system did not give a file, in its words.
struct FileError: Error, CustomStringConvertible {
    var description: String

    /// The error of the last system call.
    static var last: FileError {
        var text = [CChar](repeating: 0, count: 256)
        _ = strerror_r(errno, &text, text.count)
        return FileError(
            description: String(decoding: text.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
        )
    }
}

/// The text of a file of at most `longest` bytes of UTF-8.
func fileText(_ path: String, longest: Int) -> Result<String, FileError> {
    // Not blocking, so that a named pipe in place of the file does not stop the agent.
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { return .failure(.last) }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { return .failure(.last) }
    // Whoever can write it decides who is admin.
    guard status.st_mode & S_IWOTH == 0 else {
        return .failure(FileError(description: "everybody may write to it; chmod o-w it"))
    }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while bytes.count <= longest {
        let count = read(file, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return .failure(.last) }
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    guard bytes.count <= longest else {
        return .failure(FileError(description: "it is longer than \(longest) bytes"))
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        return .failure(FileError(description: "it is not UTF-8"))
    }
    return .success(text)
}

/// The names in a folder, in no particular order.
func folderNames(_ path: String) -> Result<[String], FileError> {
    guard let folder = opendir(path) else { return .failure(.last) }
    defer { closedir(folder) }
    var names: [String] = []
    errno = 0
    while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
            name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        names.append(name)
    }
    return errno == 0 ? .success(names) : .failure(.last)
}

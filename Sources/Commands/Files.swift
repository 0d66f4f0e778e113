import Glibc

/// A file that cannot be read, or an output that cannot be written.
struct FileError: Error {
    var message: String
    var status: ExitStatus
}

/// Reads a whole text file, or what a pipe (`/dev/stdin`) brings.
func readText(_ file: String) throws(FileError) -> String {
    func refusal(_ why: String) -> FileError {
        FileError(message: "cannot read \(file): \(why)", status: .invalid)
    }
    let descriptor = open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw refusal(errorText(errno)) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = retryingInterrupts { read(descriptor, &chunk, chunk.count) }
        guard count >= 0 else { throw refusal(errorText(errno)) }
        if count == 0 { break }
        bytes += chunk[..<count]
        // Far more than the agent takes, which says its own limit; /dev/zero ends here.
        guard bytes.count <= 1 << 20 else { throw refusal("it is larger than 1 MiB") }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw refusal("it is not UTF-8 text")
    }
    return text
}

/// Writes all of the text.
///
/// A reader that went away (`| head`) ends the process by SIGPIPE, as it does every filter.
func write(_ text: String, to descriptor: Int32) throws(FileError) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = retryingInterrupts {
            rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        }
        guard count >= 0 else {
            throw FileError(
                message: "cannot write the output: \(errorText(errno))",
                status: .internalError
            )
        }
        rest = rest.dropFirst(count)
    }
}

private func retryingInterrupts(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        guard result < 0 && errno == EINTR else { return result }
    }
}

/// The C library's text for an error number.
private func errorText(_ number: Int32) -> String { String(cString: strerror(number)) }

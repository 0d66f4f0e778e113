import Linux
import SystemPackage

/// A file that cannot be read, or an output that cannot be written.
struct CommandError: Error {
    var message: String
    var status: ExitStatus
}

/// Reads a whole text file, or what a pipe (`/dev/stdin`) brings.
func readText(_ file: String) throws(CommandError) -> String {
    func refusal(_ why: String) -> CommandError {
        CommandError(message: "cannot read \(file): \(why)", status: .invalid)
    }
    let bytes: [UInt8]
    do throws(SystemError) {
        // Far more than the agent takes, which says its own limit; /dev/zero ends here.
        bytes = try Descriptor.open(file, .readOnly).readAll(atMost: 1 << 20)
    } catch {
        throw refusal(
            error.errno == .fileTooLarge ? "it is larger than 1 MiB" : error.errno.text
        )
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw refusal("it is not UTF-8 text")
    }
    return text
}

/// Writes all of the text.
///
/// A reader that went away (`| head`) ends the process by SIGPIPE, as it does every filter.
func write(_ text: String, to descriptor: FileDescriptor) throws(CommandError) {
    do throws(SystemError) {
        try writeAll(Array(text.utf8), to: descriptor.rawValue)
    } catch {
        throw CommandError(
            message: "cannot write the output: \(error.errno.text)",
            status: .internalError
        )
    }
}

import CLinux
import FoundationEssentials
import Glibc
import Linux
import SystemPackage

/// What a program left behind.
public struct ShellResult: Sendable {
    /// The program and its arguments.
    public let command: [String]
    /// The exit status; 128 and the signal's number when a signal ended it.
    public let status: Int32
    /// All of standard output.
    public let output: String
    /// All of standard error.
    public let errors: String

    /// Standard output, if the program succeeded.
    @discardableResult
    public func get() throws -> String {
        guard status == 0 else { throw Failure(result: self) }
        return output
    }

    /// A program that should have succeeded.
    public struct Failure: Error, CustomStringConvertible {
        let result: ShellResult

        /// The command, its status and standard error.
        public var description: String {
            "cannot run \(result.command.joined(separator: " ")): status \(result.status)\n"
                + result.errors
        }
    }
}

/// Runs a program found in PATH from the calling thread, thus in its network namespace.
@discardableResult
public func shell(_ command: String..., input: String = "") throws -> ShellResult {
    try shell(command, input: input)
}

/// Runs a program found in PATH from the calling thread, thus in its network namespace.
@discardableResult
public func shell(_ command: [String], input: String = "") throws -> ShellResult {
    try expectMayBlock()
    // Memory files rather than pipes: nothing to be emptied while the program runs.
    let files = try (0..<3).map { _ in
        try systemCall("memfd_create") { memfd_create("shell", UInt32(MFD_CLOEXEC)) }
    }
    defer { for file in files { close(file) } }
    var text = input
    text.withUTF8 { _ = pwrite(files[0], $0.baseAddress, $0.count, 0) }

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (target, file) in files.enumerated() {
        posix_spawn_file_actions_adddup2(&actions, file, Int32(target))
    }
    // Swift's worker threads block signals, and a child that inherits that cannot be ended by any.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let arguments = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child = pid_t()
    let failure = posix_spawnp(&child, command[0], &actions, &attributes, arguments, Glibc.environ)
    guard failure == 0 else {
        throw SystemError(call: "start \(command[0])", errno: Errno(rawValue: failure))
    }
    var status: Int32 = 0
    try systemCall("waitpid") { waitpid(child, &status, 0) }
    // wait(2): the low 7 bits are the signal, the next byte is the exit status.
    let signal = status & 0x7f
    return ShellResult(
        command: command,
        status: signal == 0 ? status >> 8 & 0xff : 128 + signal,
        output: contents(of: files[1]),
        errors: contents(of: files[2])
    )
}

/// The folder of the built programs: where the one that runs the tests is, too.
public func builtPrograms() throws -> String {
    let runner = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return runner.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
}

private func contents(of file: CInt) -> String {
    let size = Int(max(0, lseek(file, 0, SEEK_END)))
    return String(unsafeUninitializedCapacity: size) { buffer in
        max(0, pread(file, buffer.baseAddress, size, 0))
    }
}

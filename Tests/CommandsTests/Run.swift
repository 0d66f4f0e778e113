import FoundationEssentials
import Glibc

@testable import Commands

/// One run of the built `sallyport`, to its end.
struct Run: Hashable {
    var output: String
    var errors: String
    /// The exit status, or 128 and the number of the signal that ended it, as a shell says it.
    var status: Int32

    /// Where the program's standard output goes.
    enum Target {
        case kept
        case file(String)
        case closedPipe
    }

    init(output: String, errors: String, status: Int32) {
        self.output = output
        self.errors = errors
        self.status = status
    }

    /// Runs it with exactly this environment, by way of the command `through` where there is one.
    init(
        _ arguments: [String],
        _ environment: [String: String] = [:],
        through: [String] = [],
        outputTo target: Target = .kept
    ) throws {
        let directory = try makeTemporaryDirectory()
        let (outputPath, errorPath) = ("\(directory)/output", "\(directory)/errors")
        defer { for path in [outputPath, errorPath, directory] { remove(path) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        func redirect(_ descriptor: Int32, to path: String) {
            posix_spawn_file_actions_addopen(
                &actions,
                descriptor,
                path,
                O_WRONLY | O_CREAT,
                0o600
            )
        }
        redirect(STDERR_FILENO, to: errorPath)
        var pipeEnds: [Int32] = [-1, -1]
        switch target {
        case .kept: redirect(STDOUT_FILENO, to: outputPath)
        case .file(let path): redirect(STDOUT_FILENO, to: path)
        case .closedPipe:
            // Behaves like a pipe, and no program spawned meanwhile can inherit its reading end.
            let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
            guard socketpair(AF_UNIX, kind, 0, &pipeEnds) == 0 else { throw SystemCallFailed() }
            close(pipeEnds[0])
            posix_spawn_file_actions_adddup2(&actions, pipeEnds[1], STDOUT_FILENO)
        }
        defer { if pipeEnds[1] >= 0 { close(pipeEnds[1]) } }

        let words = through + [try Self.program()] + arguments
        let variables = environment.map { "\($0)=\($1)" }
        let program = words[0]
        var process = pid_t()
        let failure = withCStrings(words) { words in
            withCStrings(variables) { variables in
                posix_spawn(&process, program, &actions, nil, words, variables)
            }
        }
        guard failure == 0 else { throw SystemCallFailed(number: failure) }
        var state: Int32 = 0
        while waitpid(process, &state, 0) < 0 {
            guard errno == EINTR else { throw SystemCallFailed() }
        }
        let signal = state & 0x7f
        status = signal == 0 ? (state >> 8) & 0xff : 128 + signal
        output = (try? readText(outputPath)) ?? ""
        errors = try readText(errorPath)
    }

    /// The program, which the build puts beside the one that runs the tests.
    private static func program() throws -> String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        guard readlink("/proc/self/exe", &path, path.count - 1) > 0 else {
            throw SystemCallFailed()
        }
        let runner = String(decoding: path.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
        return runner.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } + "/sallyport"
    }
}

/// Lends a list of C strings that ends with a null pointer.
private func withCStrings<Result>(
    _ strings: [String],
    _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies + [nil])
}

import Linux
import Glibc
import TestSupport
import Testing

@testable import Server

private func status(of path: String) throws -> stat {
    var status = stat()
    try systemCall("lstat") { lstat(path, &status) }
    return status
}

@Suite(.blocking) struct ListeningSocketTests {
    @Test func letsEveryUserConnect() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.sock"
        let socket = try ListeningSocket.make(path: path)
        defer { close(socket.descriptor) }
        let status = try status(of: path)
        #expect(status.st_mode & 0o7777 == 0o666)
        #expect(status.st_mode & S_IFMT == S_IFSOCK)
    }

    @Test(arguments: [getgrnam("adm").pointee.gr_gid, nil])
    func belongsToAGroupAndToNobodyElse(group: UInt32?) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.sock"
        let socket = try ListeningSocket.make(path: path, permissions: 0o660, group: group)
        defer { close(socket.descriptor) }
        let status = try status(of: path)
        #expect(status.st_mode & 0o7777 == 0o660)
        #expect(status.st_gid == group ?? getegid())
    }

    @Test func letsAsManyClientsWaitAsTheKernelAllows() async throws {
        try await withServer { server in
            let command = ["ss", "--no-header", "--listening", "--unix", "src", server.path]
            // The kernel's own default; a machine that is set to less allows less.
            let isLong = try await eventually {
                let line = try shell(command).get().split(separator: " ")
                return Int(line[3]).map { (1024...4096).contains($0) } == true
            }
            #expect(isLong)
        }
    }

    @Test func replacesASocketThatNobodyListensOn() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.sock"
        close(try ListeningSocket.make(path: path).descriptor)
        let socket = try ListeningSocket.make(path: path)
        defer { close(socket.descriptor) }
        _ = try RawConnection(path: path)
    }

    @Test func doesNotReplaceASocketThatSomebodyListensOn() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.sock"
        let socket = try ListeningSocket.make(path: path)
        defer { close(socket.descriptor) }
        let error = #expect(throws: ListeningSocket.Failure.self) {
            try ListeningSocket.make(path: path)
        }
        #expect(
            error?.description
                == "cannot listen on \(path): another process listens there; "
                + "is sallyportd running already?"
        )
        _ = try RawConnection(path: path)
    }

    @Test func doesNotReplaceAFileThatIsNoSocket() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.sock"
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        let error = #expect(throws: ListeningSocket.Failure.self) {
            try ListeningSocket.make(path: path)
        }
        #expect(
            error?.description == "cannot listen on \(path): the file there is not a socket"
        )
        let mode = try status(of: path).st_mode
        #expect(mode & S_IFMT == S_IFREG)
    }

    @Test(arguments: [
        (
            "/no such folder/nor this/a.sock",
            "cannot listen on /no such folder/nor this/a.sock: bind: no such file or directory"
        ),
        (
            "/" + String(repeating: "x", count: 107),
            "cannot listen on /\(String(repeating: "x", count: 107)): "
                + "the path is longer than the 107 bytes a socket's may have"
        ),
    ])
    func saysWhyAPathCannotBeUsed(path: String, text: String) {
        let error = #expect(throws: ListeningSocket.Failure.self) {
            try ListeningSocket.make(path: path)
        }
        #expect(error?.description == text)
    }

    @Test func makesItsFolder() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/sallyport/a.sock"
        let old = umask(0o077)
        defer { umask(old) }
        let socket = try ListeningSocket.make(path: path)
        defer { close(socket.descriptor) }
        #expect(try status(of: folder.path + "/sallyport").st_mode & 0o7777 == 0o755)
        _ = try RawConnection(path: path)
    }

    @Test func removesOnlyTheFileItMade() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.sock"
        let first = try ListeningSocket.make(path: path)
        defer { close(first.descriptor) }
        unlink(path)
        let second = try ListeningSocket.make(path: path)
        defer { close(second.descriptor) }
        first.removeItsFile()
        #expect(access(path, F_OK) == 0)
        second.removeItsFile()
        #expect(access(path, F_OK) != 0)
    }

    @Test func takesOverASocketAndLeavesItsFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a.sock"
        let made = try ListeningSocket.make(path: path)
        defer { close(made.descriptor) }
        let adopted = try ListeningSocket.adopt(descriptor: made.descriptor)
        adopted.removeItsFile()
        #expect(access(path, F_OK) == 0)
    }

    @Test(arguments: ["a file", "a socket that does not listen", "nothing"])
    func refusesADescriptorThatIs(kind: String) throws {
        let descriptor =
            switch kind {
            case "a file": open("/dev/null", O_RDONLY)
            case "nothing": CInt(-1)
            default: socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
            }
        defer { if descriptor >= 0 { close(descriptor) } }
        let error = #expect(throws: ListeningSocket.Failure.self) {
            try ListeningSocket.adopt(descriptor: descriptor)
        }
        #expect(
            error?.description
                == "cannot listen on descriptor \(descriptor): not a listening Unix stream socket"
        )
    }
}

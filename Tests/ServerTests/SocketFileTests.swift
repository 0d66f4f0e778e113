import Glibc
import TestSupport
import Testing

@testable import Server

@Suite(.blocking) struct SocketFileTests {
    private let status = get("/v1/status")

    private func removeFolder(_ path: String) {
        unlink(path + "/a.sock")
        rmdir(path)
    }

    private func canConnect(_ path: String) -> Bool { (try? RawConnection(path: path)) != nil }

    @Test(arguments: ["unlink", "rename", "replace"])
    func makesTheSocketAgain(how: String) async throws {
        try await withServer { server in
            let before = try server.connect()
            #expect(try before.ask(status).status == 200)
            switch how {
            case "unlink": unlink(server.path)
            case "rename": rename(server.path, server.path + ".old")
            default:
                // Another socket, which nobody listens on.
                let other = server.path + ".new"
                close(try ListeningSocket.make(path: other).descriptor)
                rename(other, server.path)
            }
            #expect(try await eventually { (try? server.connect().ask(status).status) == 200 })
            #expect(try before.ask(status).status == 200)
            #expect(
                server.log.lines == ["warning: made the socket \(server.path) again"]
            )
        }
    }

    @Test func makesTheFolderAgain() async throws {
        try await withServer { server in
            let before = try server.connect()
            let folder = String(server.path.dropLast("/a.sock".count))
            rename(folder, folder + ".old")
            defer { removeFolder(folder + ".old") }
            #expect(try await eventually { canConnect(server.path) })
            #expect(try before.ask(status).status == 200)
            // It is looked after as the first one was.
            unlink(server.path)
            #expect(try await eventually { canConnect(server.path) })
            #expect(try await eventually { server.log.lines.count == 2 })
            #expect(Set(server.log.lines) == ["warning: made the socket \(server.path) again"])
        }
    }

    /// What stands in the way is said once, and the socket is there again when it is gone.
    @Test(arguments: ["a file for the folder", "a file", "a socket"])
    func waitsForWhatStandsInTheWay(what: String) async throws {
        try await withServer { server in
            let before = try server.connect()
            let folder = String(server.path.dropLast("/a.sock".count))
            var moved: [String] = []
            defer { for folder in moved { removeFolder(folder) } }
            var listener: ListeningSocket?
            switch what {
            case "a file for the folder":
                // The agent may be faster with a new folder.
                repeat {
                    moved.append("\(folder).\(moved.count)")
                    rename(folder, moved[moved.count - 1])
                } while !makeFile(folder)
            case "a file":
                try #require(makeFile(server.path + ".other"))
                rename(server.path + ".other", server.path)
            default:
                listener = try ListeningSocket.make(path: server.path + ".other")
                rename(server.path + ".other", server.path)
            }
            func errors() -> [String] { server.log.lines.filter { $0.hasPrefix("error: cannot ") } }
            #expect(try await eventually { errors().count == 1 })
            #expect(errors().allSatisfy { $0.hasSuffix("; trying again every second") })
            // Tried again meanwhile, and not told again.
            sleep(2)
            #expect(errors().count == 1)
            #expect(try before.ask(status).status == 200)
            if let listener {
                // Nobody listens on it any more.
                close(listener.descriptor)
            } else {
                unlink(what == "a file" ? server.path : folder)
            }
            #expect(try await eventually { (try? server.connect().ask(status).status) == 200 })
            let again = "warning: made the socket \(server.path) again"
            #expect(try await eventually { server.log.lines.last == again })
        }
    }

    private func makeFile(_ path: String) -> Bool {
        let file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        if file >= 0 { close(file) }
        return file >= 0
    }

    @Test func leavesASocketAloneThatWasHandedOver() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/b.sock"
        let listener = try ListeningSocket.adopt(
            descriptor: try ListeningSocket.make(path: path).descriptor
        )
        try await withServer(listener: listener) { server in
            #expect(canConnect(path))
            unlink(path)
            usleep(200_000)
            #expect(!canConnect(path))
            #expect(server.log.lines.isEmpty)
        }
    }
}

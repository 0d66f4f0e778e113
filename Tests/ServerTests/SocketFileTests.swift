import Glibc
import TestSupport
import Testing

@testable import Server

@Suite(.blocking) struct SocketFileTests {
    private let status = get("/v1/status")

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

    @Test func waitsForAFolderThatIsGone() async throws {
        try await withServer { server in
            let before = try server.connect()
            let folder = String(server.path.dropLast("/a.sock".count))
            rename(folder, folder + ".old")
            defer { rename(folder + ".old", folder) }
            #expect(try await eventually { server.log.lines.count == 1 })
            // Tried again meanwhile, and not told again.
            sleep(2)
            #expect(try before.ask(status).status == 200)
            mkdir(folder, 0o755)
            #expect(try await eventually { canConnect(server.path) })
            unlink(server.path)
            #expect(try await eventually { canConnect(server.path) })
            let levels = server.log.lines.map { $0.prefix { $0 != ":" } }
            #expect(levels == ["error", "warning", "warning"], "\(server.log.lines)")
            #expect(server.log.lines[0].hasSuffix("; trying again every second"))
            unlink(server.path)
            rmdir(folder)
        }
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

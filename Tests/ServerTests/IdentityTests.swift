import FoundationEssentials
import API
import Glibc
import NIOPosix
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Server

/// A client that is another user, with the groups it is given.
private func curl(_ path: String, _ ids: String...) throws -> String {
    let command = ["setpriv"] + ids + ["curl", "-s", "--max-time", "30", "--unix-socket", path]
    return try shell(command + ["http://sallyport/v1/policies"]).get()
}

@Suite(.blocking) struct IdentityTests {
    @Test func knowsWhoAsksAndInWhichGroups() async throws {
        let service = RecordingService()
        _ = try await withServer(service) { server in
            chmod(server.path, 0o666)
            _ = try curl(
                server.path,
                "--reuid=daemon",
                "--regid=daemon",
                "--groups=adm,tty,54321"
            )
            _ = try curl(server.path, "--reuid=nobody", "--regid=nogroup", "--clear-groups")
        }
        let identities = service.callers.map(\.identity)
        #expect(identities.map(\.user) == ["daemon", "nobody"])
        #expect(identities.map(\.uid) == [1, 65534])
        // A group without a name gives no right.
        #expect(identities.map(\.groups) == [["daemon", "adm", "tty"], ["nogroup"]])
        #expect(identities.allSatisfy { $0.pid > 1 })
        #expect(identities[0].pid != identities[1].pid)
    }

    @Test func letsNobodyInWhoseUidHasNoName() async throws {
        let service = RecordingService()
        let body = try await withServer(service) { server in
            chmod(server.path, 0o666)
            let ids = ["--reuid=54321", "--regid=54321", "--clear-groups", "--"]
            let verbose = try shell(
                ["setpriv"] + ids + [
                    "curl", "-sv", "--unix-socket", server.path, "http://sallyport",
                ]
            )
            #expect(verbose.errors.lowercased().contains("< connection: close"))
            return try curl(server.path, "--reuid=54321", "--regid=54321", "--clear-groups")
        }
        let problem = try JSONDecoder().decode(Problem.self, from: Data(body.utf8))
        #expect(problem.code == .notPermitted)
        #expect(
            problem.detail == "cannot let uid 54321 in: the system has no user of that id"
        )
        #expect(service.asked.isEmpty)
    }

    @Test func theFileKeepsOthersOut() async throws {
        try await withServer { server in
            let result = try shell([
                "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "curl", "-s",
                "--unix-socket", server.path, "http://sallyport/v1/policies",
            ])
            // curl's exit status for "failed to connect".
            #expect(result.status == 7)
        }
    }

    @Test func othersCannotUseUpTheConnectionsOfRoot() async throws {
        var limits = Limits()
        limits.connections = 4
        let mayAnswer = Flag()
        let service = RecordingService(during: {
            while !mayAnswer.isSet { try await Task.sleep(for: .milliseconds(5)) }
        })
        try await withServer(service, limits: limits) { server in
            chmod(server.path, 0o666)
            let root = try server.connect()
            let url = "http://sallyport/v1/policies"
            let client = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "curl", "-s"]
            let calls = [
                "-Z", "--parallel-immediate", "--max-time", "30", "-w", "%{http_code}\n",
            ]
            let urls = Array(repeating: [url, "-o", "/dev/null"], count: 6).joined()
            let command = ["setpriv"] + client + calls + ["--unix-socket", server.path] + urls
            async let others = shell(command)
            // Root's connection is the only idle one while the four are busy.
            while service.asked.count < 4 { try await Task.sleep(for: .milliseconds(5)) }
            try await Task.sleep(for: .milliseconds(100))
            mayAnswer.set()
            let codes = try await others.output.split(separator: "\n")
            #expect(codes.filter { $0 == "200" }.count == 4)
            #expect(codes.filter { $0 == "000" }.count == 2)
            #expect(try root.ask(get("/v1/status")).status == 200)
        }
    }

    @Test func looksNamesUpOnceForAllWhoWait() async throws {
        let executor = LoopExecutor(MultiThreadedEventLoopGroup.singleton.next())
        let lookups = Mutex(0)
        let resolver = IdentityResolver(executor: executor) { uid, _ in
            lookups.withLock { $0 += 1 }
            usleep(20_000)
            return uid == 7 ? IdentityResolver.Names(user: "seven", groups: []) : nil
        }
        await withTaskGroup { tasks in
            for pid in 1...20 as ClosedRange<Int32> {
                tasks.addTask {
                    let peer = PeerCredentials(uid: 7, gids: [7], pid: pid)
                    let identity = await resolver.identity(of: peer)
                    #expect(identity?.user == "seven")
                    #expect(identity?.pid == pid)
                }
            }
        }
        #expect(lookups.withLock { $0 } == 1)
        #expect(await resolver.identity(of: PeerCredentials(uid: 8, gids: [7], pid: 1)) == nil)
        _ = await resolver.identity(of: PeerCredentials(uid: 7, gids: [7, 8], pid: 1))
        #expect(lookups.withLock { $0 } == 3)
    }
}

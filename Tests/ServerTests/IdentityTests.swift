import FoundationEssentials
import API
import Access
import Glibc
import Linux
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
            _ = try curl(
                server.path,
                "--reuid=daemon",
                "--regid=daemon",
                "--groups=adm,tty,54321"
            )
            _ = try curl(server.path, "--reuid=nobody", "--regid=nogroup", "--clear-groups")
        }
        let identities = service.callers.map(\.identity)
        #expect(identities.map(\.name) == ["daemon", "nobody"])
        #expect(identities.map(\.subject) == [.local(uid: 1), .local(uid: 65534)])
        // A group without a name gives no right.
        #expect(identities.map(\.groups) == [["daemon", "adm", "tty"], ["nogroup"]])
        let pids = identities.compactMap { identity in
            if case .process(let process) = identity.origin { process.pid } else { nil }
        }
        #expect(pids.allSatisfy { $0 > 1 })
        #expect(Set(pids).count == 2)
    }

    @Test func letsNobodyInWhoseUidHasNoName() async throws {
        let service = RecordingService()
        let body = try await withServer(service) { server in
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

    @Test func othersCannotUseUpTheConnectionsOfRoot() async throws {
        var limits = Limits()
        limits.connections = 4
        let mayAnswer = Flag()
        let service = RecordingService(during: {
            while !mayAnswer.isSet { try await Task.sleep(for: .milliseconds(5)) }
        })
        try await withServer(service, limits: limits) { server in
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
        let resolver = IdentityResolver(executor: executor) { question in
            lookups.withLock { $0 += 1 }
            usleep(20_000)
            guard case .process(uid: 7, _, _) = question else { return nil }
            return IdentityResolver.Names(user: "seven", groups: [])
        }
        await withTaskGroup { tasks in
            for pid in 1...20 as ClosedRange<Int32> {
                tasks.addTask {
                    let identity = await resolver.identity(of: peer(uid: 7, gids: [7], pid: pid))
                    #expect(identity?.name == "seven")
                    #expect(identity?.origin == .process(Origin.Process(pid: pid)))
                }
            }
        }
        #expect(lookups.withLock { $0 } == 1)
        #expect(await resolver.identity(of: peer(uid: 8, gids: [7], pid: 1)) == nil)
        _ = await resolver.identity(of: peer(uid: 7, gids: [7, 8], pid: 1))
        #expect(lookups.withLock { $0 } == 3)
    }
}

private func peer(uid: UInt32, gids: [UInt32], pid: Int32) -> Peer {
    Peer(door: .people, credentials: PeerCredentials(uid: uid, gids: gids, pid: pid))
}

@Suite(.blocking) struct PeerTests {
    /// Who asked, and from which process, where `sh` asks in a session that `login` began.
    private func origin(login: String) async throws -> Origin.Process? {
        let service = RecordingService()
        try await withServer(service) { server in
            let url = "http://sallyport/v1/policies"
            let ask = "curl -s --max-time 30 --unix-socket \(server.path) \(url)"
            // As pam_loginuid(8) does, once for the session.
            try shell("sh", "-c", "echo \(login) > /proc/self/loginuid && exec \(ask)").get()
        }
        let origin = try #require(service.callers.first?.identity.origin)
        guard case .process(let process) = origin else { return nil }
        return process
    }

    @Test func knowsWhoLoggedIn() async throws {
        let process = try #require(try await origin(login: "1"))
        #expect(process.login == Origin.Login(uid: 1, name: "daemon"))
        #expect(process.startedAt.map { $0 > 0 } == true)
        // A user without a name.
        #expect(try await origin(login: "54321")?.login == Origin.Login(uid: 54321, name: "54321"))
    }

    @Test func knowsThatNobodyLoggedIn() async throws {
        let process = try #require(try await origin(login: "4294967295"))
        #expect(process.login == nil)
        #expect(process.startedAt != nil)
    }

    @Test func tellsNothingOfAProcessThatHasEnded() throws {
        let folder = try TemporaryFolder()
        let listener = try ListeningSocket.make(path: folder.path + "/a.sock")
        defer { close(listener.descriptor) }
        // It is gone before its connection is accepted.
        let program =
            "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); "
            + "connect(S, sockaddr_un('\(folder.path)/a.sock')) or die"
        try shell("perl", "-e", program).get()
        let connected = try UnixSocket.accept(from: listener.descriptor)
        let peer = try Peer(door: .people, socket: connected.number)
        #expect(peer.uid == getuid())
        #expect(peer.process == nil)
    }

    @Test func sendsAnOldSessionToLogInAgain() async throws {
        // nobody is of group nogroup, but not in this session.
        let service = RecordingService(roles: { $0.groups.contains("nogroup") ? [.requester] : [] })
        let body = try await withServer(service) { server in
            try curl(server.path, "--reuid=nobody", "--regid=daemon", "--clear-groups")
        }
        let problem = try JSONDecoder().decode(Problem.self, from: Data(body.utf8))
        #expect(problem.code == .notPermitted)
        #expect(
            problem.detail == "cannot let nobody in: this login session is older than the user's "
                + "membership of nogroup; log in again"
        )
    }
}

import Glibc
import Policy
import Server
import Synchronization
import TestSupport
import Testing

extension RunningServer {
    /// A connection of user nobody.
    fileprivate func connectAsNobody() throws -> RawConnection {
        try withoutPrivileges { try connect() }
    }
}

/// How many bytes a socket takes whose other end is not read.
private func capacityOfASocket() -> Int {
    var ends: [CInt] = [0, 0]
    socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends)
    defer { for end in ends { close(end) } }
    let bytes = [UInt8](repeating: 0, count: 8 * 1024 * 1024)
    return send(ends[0], bytes, bytes.count, CInt(MSG_NOSIGNAL))
}

@Suite(.blocking) struct FairnessTests {
    @Test func readsNoMoreThanOneBufferAhead() async throws {
        let asked = Atomic(0)
        let mayAnswer = Atomic(false)
        let service = RecordingService(during: {
            if asked.add(1, ordering: .relaxed).newValue <= 500 { return }
            while !mayAnswer.load(ordering: .relaxed) {
                try await Task.sleep(for: .milliseconds(5))
            }
        })
        try await withServer(service) { server in
            let connection = try server.connect(sendPatience: .milliseconds(300))
            let request = get("/v1/status")
            // Buffers that grow with what comes have grown after these.
            connection.send(String(repeating: request, count: 500))
            for _ in 0..<500 { #expect(try connection.answer()?.status == 200) }

            let flood = Array(String(repeating: request, count: 50_000).utf8)
            let taken = connection.send(flood)
            #expect(taken < capacityOfASocket() + 3 * 4096)
            mayAnswer.store(true, ordering: .relaxed)
            #expect(try server.connect().ask(request).status == 200)
        }
    }

    @Test func answersAFewRequestsOfAUserAtATimeAndRootsAtOnce() async throws {
        let asked = Atomic(0)
        let mayAnswer = Atomic(false)
        let service = RecordingService(during: {
            if asked.add(1, ordering: .relaxed).newValue > 4 { return }
            while !mayAnswer.load(ordering: .relaxed) {
                try await Task.sleep(for: .milliseconds(5))
            }
        })
        try await withServer(service) { server in
            let others = try (0..<100).map { _ in try server.connectAsNobody() }
            for other in others { other.send(get("/v1/requests/1")) }
            #expect(try await eventually { asked.load(ordering: .relaxed) >= 4 })
            usleep(100_000)
            #expect(service.asked.count == 4)
            #expect(try server.connect().ask(get("/v1/status")).status == 200)
            #expect(service.asked.last == .status)
            mayAnswer.store(true, ordering: .relaxed)
            for other in others { #expect(try other.answer()?.status == 200) }
        }
    }

    @Test func forgetsAWaitingRequestWhoseClientWentAway() async throws {
        let asked = Atomic(0)
        let mayAnswer = Atomic(false)
        let service = RecordingService(during: {
            asked.add(1, ordering: .relaxed)
            while !mayAnswer.load(ordering: .relaxed) {
                try await Task.sleep(for: .milliseconds(5))
            }
        })
        try await withServer(service) { server in
            do {
                // These go away, while they are answered and while they wait.
                let others = try (0..<10).map { _ in try server.connectAsNobody() }
                for other in others { other.send(get("/v1/requests/1")) }
                #expect(try await eventually { asked.load(ordering: .relaxed) >= 4 })
                usleep(100_000)
            }
            let last = try server.connectAsNobody()
            last.send(get("/v1/requests/2"))
            usleep(100_000)
            // The requests of those who went away are still in work.
            #expect(service.asked.count == 4)
            mayAnswer.store(true, ordering: .relaxed)
            #expect(try last.answer()?.status == 200)
            #expect(service.asked.count == 5)
        }
    }

    @Test func aPipelineOfOneDoesNotKeepAnotherWaiting() async throws {
        let service = RecordingService(during: { usleep(100) })
        try await withServer(service) { server in
            let floods = try (0..<20).map { _ in try server.connect() }
            for flood in floods {
                flood.send(String(repeating: get("/v1/requests/1"), count: 100))
            }
            #expect(try await eventually { service.asked.count > 100 })
            #expect(try server.connect().ask(get("/v1/status")).status == 200)
            // 2,000 were asked before this one.
            #expect(service.asked.count < 1000)
            withExtendedLifetime(floods) {}
        }
    }

    @Test func refusesAUserWhoConnectsTooOften() async throws {
        var limits = Limits()
        limits.connectsPerSecond = 20
        try await withServer(limits: limits) { server in
            let answers = try (0..<40).map { _ in
                let connection = try server.connectAsNobody()
                connection.send(get("/v1/status"))
                return try connection.answer()?.status
            }
            #expect((20..<40).contains(answers.count { $0 == 200 }))
            #expect(try server.connect().ask(get("/v1/status")).status == 200)
            sleep(1)
            #expect(try server.connectAsNobody().ask(get("/v1/status")).status == 200)
        }
    }

    @Test func strangersKeepNobodyOut() async throws {
        var limits = Limits()
        limits.connections = 100
        limits.connectionsPerUser = 50
        let service = RecordingService(roles: { $0.subject.uid == 65534 ? [.requester] : [] })
        try await withServer(service, limits: limits) { server in
            // One at a time, so that each is older than the strangers that come after.
            let known = try (0..<20).map { _ in try server.connectAsNobody() }
            for connection in known { #expect(try connection.ask(policies).status == 200) }
            let program = """
                use Socket; my @all;
                for my $uid (1 .. 1000) {
                    $> = 0; $> = 200000 + $uid;
                    socket(my $s, AF_UNIX, SOCK_STREAM, 0);
                    connect($s, sockaddr_un('\(server.path)')) or die;
                    push @all, $s;
                }
                """
            try shell("perl", "-e", program).get()
            #expect(try server.connectAsNobody().ask(policies).status == 200)
            for connection in known { #expect(try connection.ask(policies).status == 200) }
        }
    }
}

private let policies = get("/v1/policies")

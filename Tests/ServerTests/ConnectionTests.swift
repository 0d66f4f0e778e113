import Glibc
import Linux
import Policy
import Server
import ServiceLifecycle
import Testing
import TestSupport

private let status = get("/v1/status")

/// Limits with one of them changed.
private func limits(_ change: (inout Limits) -> Void) -> Limits {
    var limits = Limits()
    change(&limits)
    return limits
}

@Suite(.blocking) struct ConnectionTests {
    private let impatient = limits { $0.requestTimeout = .milliseconds(100) }
    /// Longer than a test waits.
    private let patient = limits { $0.requestTimeout = .seconds(3600) }

    @Test(arguments: [
        "", "G", "GET /v1/status HTTP/1.1\r\nhost: a\r\n",
        post("/v1/requests", "{}").dropLast() + "",
    ])
    func closesAClientThatSendsNoWholeRequest(text: String) async throws {
        let service = RecordingService()
        try await withServer(service, limits: patient) { patient in
            let other = try patient.connect()
            other.send(text)
            try await withServer(service, limits: impatient) { impatient in
                let start = ContinuousClock.now
                let connection = try impatient.connect()
                connection.send(text)
                #expect(try connection.readToEnd().isEmpty)
                #expect(ContinuousClock.now - start > .milliseconds(80))
            }
            // It is the limit that closed the one, and not what it said.
            #expect(!other.isHungUp(within: .zero))
        }
        #expect(service.asked.isEmpty)
    }

    @Test func closesAClientThatSendsAByteAtATime() async throws {
        let sent = try await withServer(limits: impatient) { server in
            let connection = try server.connect()
            var sent = 0
            for byte in String(repeating: status, count: 100).utf8.prefix(2000) {
                if connection.send([byte]) == 0 { break }
                sent += 1
                usleep(10_000)
            }
            return sent
        }
        // In that time it could have said all.
        #expect(sent < 2000)
    }

    @Test func closesAClientThatDoesNotReadItsAnswers() async throws {
        try await withServer(limits: impatient) { server in
            let connection = try server.connect()
            // Answers of 2,000 requests are more than the socket's buffers hold.
            connection.send(String(repeating: status, count: 2000).utf8)
            #expect(connection.isHungUp())
            let answered = try connection.readToEnd().split(separator: "HTTP/1.1 200").count
            #expect(answered < 2000)
        }
    }

    @Test func keepsAConnectionThatIsUsed() async throws {
        try await withServer(limits: limits { $0.requestTimeout = .seconds(2) }) { server in
            let connection = try server.connect()
            for _ in 0..<4 {
                let answer = try connection.ask(status)
                #expect(answer.status == 200)
                usleep(600_000)
            }
        }
    }

    @Test func givesTheServiceAllTheTimeItNeeds() async throws {
        let service = RecordingService(during: { try await Task.sleep(for: .milliseconds(1500)) })
        let answer = try await withServer(
            service,
            limits: limits { $0.requestTimeout = .seconds(1) }
        ) { server in
            try server.connect().ask(status)
        }
        #expect(answer.status == 200)
    }

    @Test func slowClientsDoNotKeepOthersWaiting() async throws {
        try await withServer(limits: patient) { server in
            let slow = try (0..<100).map { _ in
                let connection = try server.connect()
                connection.send("GET /v1/status HTTP/1.1\r\nx: ")
                return connection
            }
            for _ in 0..<20 { #expect(try server.connect().ask(status).status == 200) }
            #expect(slow.allSatisfy { !$0.isHungUp(within: .zero) })
        }
    }

    @Test func aThousandIdleConnectionsDoNoHarm() async throws {
        try await withServer { server in
            let idle = try (0..<1000).map { _ in try server.connect() }
            #expect(try server.connect().ask(status).status == 200)
            // All of them are still open.
            for connection in idle { #expect(try connection.ask(status).status == 200) }
        }
    }

    @Test func closesTheConnectionThatIsIdleLongest() async throws {
        try await withServer(limits: limits { $0.connectionsPerUser = 3 }) { server in
            let first = try server.connect()
            let second = try server.connect()
            let third = try server.connect()
            for connection in [second, third, first] {
                #expect(try connection.ask(status).status == 200)
            }
            let fourth = try server.connect()
            #expect(try fourth.ask(status).status == 200)
            #expect(try second.readToEnd().isEmpty)
            #expect(try first.ask(status).status == 200)
            #expect(try third.ask(status).status == 200)
        }
    }

    /// Whatever was asked on the others meanwhile.
    @Test(arguments: 1...3 as ClosedRange<UInt64>)
    func theConnectionThatWasIdleLongestMakesRoom(seed: UInt64) async throws {
        var random = Generator(seed: seed)
        var limits = Limits()
        limits.connectionsPerUser = 5
        try await withServer(limits: limits) { server in
            // The one that was used last is the last.
            var open: [RawConnection] = []
            for _ in 0..<80 {
                let connection: RawConnection
                if open.count == 5, random.int(0...2) > 0 {
                    connection = open.remove(at: random.int(0...4))
                } else {
                    connection = try server.connect()
                }
                #expect(try connection.ask(status).status == 200)
                open.append(connection)
                if open.count > 5 {
                    #expect(try open.removeFirst().readToEnd().isEmpty)
                }
            }
        }
    }

    @Test func refusesAConnectionWhereAllOthersAreBusy() async throws {
        let mayAnswer = Flag()
        let service = RecordingService(during: {
            while !mayAnswer.isSet { try await Task.sleep(for: .milliseconds(5)) }
        })
        try await withServer(service, limits: limits { $0.connectionsPerUser = 2 }) { server in
            let busy = try (0..<2).map { _ in
                let connection = try server.connect()
                connection.send(status)
                return connection
            }
            while service.asked.count < 2 { usleep(1000) }
            #expect(try server.connect().readToEnd().isEmpty)
            mayAnswer.set()
            for connection in busy { #expect(try connection.answer()?.status == 200) }
            #expect(try server.connect().ask(status).status == 200)
        }
    }
}

@Suite(.blocking) struct StopTests {
    @Test func finishesWhatIsInFlightAndTakesNothingNew() async throws {
        let mayAnswer = Flag()
        let service = RecordingService(during: {
            while !mayAnswer.isSet { try await Task.sleep(for: .milliseconds(5)) }
        })
        try await withServer(service) { server in
            let idle = try server.connect()
            let busy = try server.connect()
            busy.send(status)
            while service.asked.isEmpty { usleep(1000) }
            await server.group.triggerGracefulShutdown()
            #expect(try idle.readToEnd().isEmpty)
            #expect(throws: SystemError.self) { try server.connect() }
            mayAnswer.set()
            let answer = try #require(try busy.answer())
            #expect(answer.status == 200)
            #expect(answer.headers["connection"] == "close")
            #expect(try busy.readToEnd().isEmpty)
            #expect(access(server.path, F_OK) != 0)
        }
    }

    @Test func doesNotWaitLongerThanItsTimeout() async throws {
        // Longer than a connection of the test waits.
        let service = RecordingService(during: { try? await Task.sleep(for: .seconds(3600)) })
        try await withServer(
            service,
            limits: limits { $0.stopTimeout = .milliseconds(100) }
        ) { server in
            let busy = try server.connect()
            busy.send(status)
            while service.asked.isEmpty { usleep(1000) }
            await server.group.triggerGracefulShutdown()
            #expect(try busy.readToEnd().isEmpty)
        }
    }
}

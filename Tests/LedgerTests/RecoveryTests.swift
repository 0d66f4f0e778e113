import GRDB
import Glibc
import Policy
import Testing
import TestSupport

@testable import Ledger

@Suite(.blocking) struct RecoveryTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func startsWithNothing() throws {
        let recovered = try folder.open().recover()
        #expect(recovered.live.isEmpty)
        #expect(recovered.nextRequestID == 1)
        #expect(recovered.lastRecordedAt == nil)
    }

    @Test func findsWhatIsLive() throws {
        let requests = try [request(3, policies: ["ssh", "rdp"]), request(17)]
        do {
            let ledger = try folder.open()
            try ledger.commitBlocking(requests.map { .opened($0) }, at: minutes(1))
            try ledger.commitBlocking(
                [expired(id("3.1"), at: minutes(2))],
                at: minutes(2)
            )
        }
        let recovered = try folder.open().recover()
        #expect(recovered.live.map(\.grant) == [requests[0].grants[1], requests[1].grants[0]])
        #expect(recovered.live.allSatisfy { $0.isOfThisBoot })
        #expect(recovered.nextRequestID == 18)
        #expect(recovered.lastRecordedAt == minutes(2))
    }

    @Test func tellsTheDeadlinesOfThisBootFromOthers() throws {
        try folder.open().commitBlocking([.opened(request(1)), .opened(request(2))], at: noon)
        let ledger = try folder.open(bootID: "boot-2")
        try ledger.commitBlocking(
            [
                .opened(request(3)),
                .carriedOver(id("2.1"), deadline: BootTime(milliseconds: 1)),
            ],
            at: noon
        )
        #expect(try ledger.recover().live.map(\.isOfThisBoot) == [false, true, true])
    }

    @Test func namesAGrantThatCannotBeRead() throws {
        let ledger = try folder.open()
        try ledger.commitBlocking([.opened(request(1))], at: noon)
        try ledger.pool.writeWithoutTransaction { db in
            try db.execute(sql: "UPDATE live SET source = '10.0.0.300/32'")
        }
        let error = #expect(throws: LedgerError.self) { try ledger.recover() }
        #expect(error?.code == .corrupt)
        #expect(error?.message.contains("grant 1.1") == true)
        #expect(error?.message.contains("10.0.0.300/32") == true)
    }

    /// A child commits without pause and notes the number of each request that `commit` has returned
    /// for, until it is killed, perhaps while it makes the ledger; all that it noted must be there.
    @Test(arguments: 0..<8, [true, false])
    func keepsWhatWasCommittedWhenKilled(round: Int, whileOpening: Bool) async throws {
        let notes = folder.path + "/notes"
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [
                state = folder.state as String, notes = notes as String,
                whileOpening = whileOpening as Bool
            ] in
            func killSoon(within most: UInt32) {
                let pause = UInt32.random(in: 0...most)
                Task.detached {
                    usleep(pause)
                    kill(getpid(), SIGKILL)
                }
            }
            let file = open(notes, O_CREAT | O_WRONLY | O_APPEND, 0o600)
            try #require(file >= 0)
            if whileOpening { killSoon(within: 20_000) }
            let ledger = try Ledger(directory: state, bootID: "boot-1")
            var last: Int64 = 0
            while true {
                let first = last + 1
                last += Int64.random(in: 1...20)
                var changes = try (first...last).map { try Event.opened(request($0)) }
                changes.append(expired(try id("\(first).1")))
                try ledger.commitBlocking(changes, at: noon)
                if last % 7 == 0 { try ledger.checkpoint() }
                try #require(write(file, [last], 8) == 8)
                if first == 1, !whileOpening { killSoon(within: 60_000) }
            }
        }
        let file = open(notes, O_RDONLY)
        try #require(file >= 0)
        defer { close(file) }
        var noted = [Int64](repeating: 0, count: 100_000)
        let commits = read(file, &noted, noted.count * 8) / 8
        #expect(commits > 0 || whileOpening)

        let ledger = try folder.open()
        let recovered = try ledger.recover()
        #expect(recovered.nextRequestID > noted.prefix(commits).last ?? 0)
        let (rows, ends, check) = try await ledger.pool.read { db in
            let count = { (table: String) in
                try Int64.fetchOne(db, sql: "SELECT count(*) FROM \(table)") ?? 0
            }
            return (
                try ["requests", "grants", "audit WHERE event = 'opened'"].map(count),
                Int(try count("grants WHERE state = 'expired'")),
                try String.fetchOne(db, sql: "PRAGMA integrity_check")
            )
        }
        #expect(check == "ok")
        #expect(rows == Array(repeating: recovered.nextRequestID - 1, count: 3))
        // One more where the child was killed between a commit and its note.
        #expect(ends == commits || ends == commits + 1)
        #expect(recovered.live.count == Int(recovered.nextRequestID) - 1 - ends)
        let verification = try await ledger.verify()
        #expect(verification.intact, "\(verification.faults)")
        #expect(verification.events == rows[2] + Int64(ends))
    }
}

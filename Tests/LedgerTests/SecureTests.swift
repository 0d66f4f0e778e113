import GRDB
import Glibc
import Linux
import Policy
import SystemPackage
import TestSupport
import Testing

@testable import Ledger

/// What must last though the ledger cannot be written.
@Suite(.blocking) struct SecureTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private var reserve: String { folder.state + "/ledger.reserve" }

    /// Opens ten requests and secures the ends of some, as an agent whose disk is full.
    private func secure(_ ends: Event...) async throws {
        let ledger = try folder.open()
        try await ledger.commit((1...10).map { .opened(try request($0)) }, at: noon)
        try await ledger.secure(ends)
        #expect(ledger.isBehind)
    }

    private func live(_ ledger: Ledger) throws -> [Int64] {
        try ledger.recover().live.map(\.grant.id.request)
    }

    @Test func aStartKnowsWhatWasSecuredAndRecordsIt() async throws {
        let people = try people()
        try await secure(
            .ended(id("2.1"), .closedByRequester, at: minutes(1), by: people[0]),
            .ended(id("4.1"), .closedByAdmin, at: minutes(2), by: people[1]),
            .ended(id("6.1"), .closedByAdmin, at: minutes(2), by: people[1]),
            .ended(id("8.1"), .closedByRequester, at: minutes(3), by: people[2]),
            expired(id("9.1"), at: minutes(4))
        )
        do {
            let ledger = try folder.open()
            #expect(ledger.isBehind)
            #expect(try live(ledger) == [1, 3, 5, 7, 10])
            try await ledger.commit([], at: minutes(9))
            #expect(!ledger.isBehind)
            #expect(try await ledger.grants(LedgerFilter(), state: .active).count == 5)
            let ended = try await ledger.grants(LedgerFilter()).filter { $0.state != .active }
            #expect(ended.map(\.id.request) == [9, 8, 6, 4, 2])
            #expect(
                ended.map(\.endReason) == [
                    .expired, .closedByRequester, .closedByAdmin, .closedByAdmin,
                    .closedByRequester,
                ]
            )
            #expect(ended.map(\.endedAt) == [4, 3, 2, 2, 1].map(minutes))
            let names = try await ledger.pool.read { db in
                try String?.fetchAll(
                    db,
                    sql: "SELECT name FROM audit WHERE event = 'ended' ORDER BY id"
                )
            }
            #expect(names == ["alice", "root", "root", people[2].name, nil])
        }
        // Recorded once: nothing is left to do.
        let ledger = try folder.open()
        #expect(!ledger.isBehind)
        #expect(try live(ledger) == [1, 3, 5, 7, 10])
    }

    @Test func writesWhatItTookBeforeWhatComesNext() async throws {
        let ledger = try folder.open()
        try await ledger.commit([.opened(request(1))], at: noon)
        let old = end(minute: 5, deadline: 5)
        try await ledger.secure([.takenBack(id("1.1"), until: old)])
        // Of no use: never opened. It must not keep the others from being written.
        try await ledger.secure([expired(id("7.1"))])
        try await ledger.commit([.opened(request(2))], at: noon)
        #expect(!ledger.isBehind)
        #expect(try ledger.recover().live.first?.grant.end == old)
        #expect(try live(ledger) == [1, 2])
    }

    @Test func keepsWhatItTookWhereACommitFails() async throws {
        let ledger = try folder.open()
        try await ledger.commit([.opened(request(1)), .opened(request(2))], at: noon)
        try await ledger.secure([expired(id("1.1"))])
        await #expect(throws: LedgerError.self) {
            try await ledger.commit([expired(id("9.1"))], at: noon)
        }
        #expect(ledger.isBehind)
        #expect(try live(ledger) == [2])
        #expect(try await ledger.grants(LedgerFilter(), state: .active).map(\.id) == [id("2.1")])
    }

    @Test func endsAllThatWasLiveWhereTheRoomIsUsedUp() async throws {
        let ledger = try folder.open()
        let count: Int64 = 12_000
        try await ledger.commit((1...count).map { .opened(try request($0)) }, at: noon)
        // Each by another person, so that they take the most room; two stay open.
        for first in stride(from: 3, to: count, by: 1000) {
            try await ledger.secure(
                (first...min(first + 999, count)).map { number in
                    let name = String(repeating: "x", count: 64)
                    let who = person(UInt32(number), name, pid: Int32(number))
                    return .ended(
                        Grant.ID(request: number, ordinal: 1),
                        .closedByRequester,
                        at: minutes(1),
                        by: who
                    )
                }
            )
        }
        #expect(try live(ledger) == [1, 2])
        let copy = folder.path + "/copy"
        try #require(mkdir(copy, 0o700) == 0)
        for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.reserve"] {
            try copyFile(folder.state + "/" + name, copy + "/" + name)
        }
        let next = try Ledger(directory: copy, bootID: "boot-1")
        #expect(try live(next) == [])
        try await next.commit([.opened(request(count + 1))], at: minutes(2))
        let ended = try await next.grants(LedgerFilter(limit: .max))
        #expect(ended.last?.endReason == .ledgerFull)
        #expect(ended.count(where: { $0.endReason == .closedByRequester }) > 5_000)
        #expect(try live(next) == [count + 1])
        // The agent that was not restarted knows better once there is room.
        try await ledger.commit([], at: minutes(2))
        #expect(try live(ledger) == [1, 2])
        try await ledger.secure([expired(id("1.1"))])
        #expect(try live(ledger) == [2])
    }

    /// A crash of the machine may leave any part of what was being written, or what stood there.
    @Test func readsNoEntryThatIsNotWhole() async throws {
        try await secure(expired(id("2.1")), .ended(id("3.1"), .closedByAdmin, at: noon, by: root))
        let whole = try bytes(of: reserve)
        let used = try #require(whole.lastIndex { $0 != 0 })
        var seen: Set<[Int64]> = []
        for place in 4096...used {
            var torn = whole
            torn[place] ^= 0x10
            let (_, _, entries) = try open(torn)
            let ids = entries.flatMap { entry -> [Int64] in
                if case .ended(let ids, _, _, _) = entry { ids.map(\.request) } else { [-1] }
            }
            seen.insert(ids)
        }
        #expect(seen == [[], [2]])
        #expect(try open(whole).entries.count == 2)
    }

    @Test func doesNotReadEntriesOfAnEarlierFill() async throws {
        let ledger = try folder.open()
        try await ledger.commit((1...9).map { .opened(try request($0)) }, at: noon)
        try await ledger.secure([expired(id("1.1")), expired(id("2.1"), at: minutes(1))])
        try await ledger.commit([], at: noon)
        try await ledger.secure([expired(id("3.1"))])
        #expect(try open(bytes(of: reserve)).entries.count == 1)
    }

    @Test func aStartTellsWhatWasLostAndUsesNoNumberTwice() async throws {
        let before = folder.path + "/before"
        do {
            let ledger = try folder.open()
            try await ledger.commit([.opened(request(1)), .opened(request(2))], at: noon)
            try ledger.checkpoint()
            try copyFile(folder.file, before)
            try await ledger.commit([.opened(request(3)), .opened(request(4))], at: noon)
            #expect(try ledger.recover().lost == nil)
        }
        // As when the log was damaged, and with it all that was not yet in the file.
        try copyFile(before, folder.file)
        try #require(truncate(folder.file + "-wal", 0) == 0)
        do {
            let ledger = try folder.open()
            let recovered = try ledger.recover()
            #expect(recovered.lost == 3...4)
            #expect(recovered.nextRequestID == 5)
            #expect(recovered.live.map(\.grant.id.request) == [1, 2])
            try await ledger.commit([.noted(Notice(.ledgerRowsLost))], at: noon)
            let ids = try await ledger.pool.read {
                try Int64.fetchAll($0, sql: "SELECT id FROM audit")
            }
            #expect(ids == [1, 2, 5])
        }
        let recovered = try folder.open().recover()
        #expect(recovered.lost == nil)
        #expect(recovered.nextRequestID == 5)
    }

    @Test(arguments: [
        "rm $0", ": > $0", "printf xx | dd of=$0 conv=notrunc status=none",
    ])
    func aStartTellsThatTheReserveIsLost(change: String) async throws {
        do {
            let ledger = try folder.open()
            #expect(try !ledger.recover().lacksMarks)
            #expect(try open(bytes(of: reserve)).marks == Marks())
            try await ledger.commit([.opened(request(1)), .opened(request(2))], at: noon)
        }
        try await folder.open().pool.writeWithoutTransaction {
            try $0.execute(sql: "DELETE FROM audit WHERE id = 2")
        }
        try shell("sh", "-c", change, reserve).get()
        do {
            let ledger = try folder.open()
            #expect(try ledger.recover().lacksMarks)
            try await ledger.commit([.noted(Notice(.ledgerRowsLost))], at: noon)
        }
        #expect(try !folder.open().recover().lacksMarks)
    }

    @Test(arguments: [
        "rm -r state", "mv state elsewhere", "mv state elsewhere; cp -r elsewhere state",
        "rm state/ledger.sqlite", "cp state/ledger.sqlite new; mv new state/ledger.sqlite",
        "rm state/ledger.sqlite-wal", "rm state/ledger.reserve",
    ])
    func noticesThatItsFilesAreGone(change: String) async throws {
        let ledger = try folder.open()
        try await ledger.commit([.opened(request(1)), .opened(request(2))], at: noon)
        try shell("sh", "-c", "cd \(folder.path); \(change)").get()
        for _ in 1...2 {
            let error = await #expect(throws: LedgerError.self) {
                try await ledger.commit([.opened(request(3))], at: noon)
            }
            #expect(error?.code == .gone)
            #expect(error?.message.contains(folder.state) == true)
        }
        let error = await #expect(throws: LedgerError.self) {
            try await ledger.secure([expired(id("1.1"))])
        }
        #expect(error?.code == .gone)
        let unverified = await #expect(throws: LedgerError.self) { try await ledger.verify() }
        #expect(unverified?.code == .gone)
        // What is in force is known all the same.
        #expect(try live(ledger) == [2])
    }

    @Test func takesNoOffenceAtOtherFiles() async throws {
        let ledger = try folder.open()
        try await ledger.commit([.opened(request(1))], at: noon)
        try folder.write("state/configuration.yaml", "x")
        try await ledger.commit([.opened(request(2))], at: noon)
        try shell("sh", "-c", "cd \(folder.path); mv state elsewhere; mv elsewhere state").get()
        try await ledger.commit([.opened(request(3))], at: noon)
    }

    // MARK: A full disk

    @Test(.enabled(if: geteuid() == 0), arguments: [true, false])
    func startsAndClosesOnAFullDisk(killed: Bool) async throws {
        let disk = try SmallDisk(bytes: 16 << 20)
        await #expect(processExitsWith: killed ? .signal(SIGKILL) : .success) {
            [path = disk.path as String, killed = killed as Bool] in
            let ledger = try Ledger(directory: path + "/state", bootID: "boot-1")
            try await ledger.commit([.opened(request(1)), .opened(request(2))], at: noon)
            try SmallDisk.fill(path)
            var count: Int64 = 2
            let error = await #expect(throws: LedgerError.self) {
                while true {
                    try await ledger.commit([.opened(request(count + 1))], at: noon)
                    count += 1
                }
            }
            #expect(error?.code == .full)
            try await ledger.secure([
                .ended(id("2.1"), .closedByRequester, at: minutes(1), by: alice)
            ])
            if killed { kill(getpid(), SIGKILL) }
        }
        // Others take what it gave back when it ended.
        try SmallDisk.fill(disk.path)
        var count: Int64 = 0
        do {
            // Another boot has a row of its own, which must wait.
            let ledger = try disk.open(bootID: "boot-2")
            let recovered = try ledger.recover()
            count = recovered.nextRequestID - 1
            #expect(count > 100)
            #expect(recovered.live.map(\.grant.id.request) == [1] + (3...count))
            #expect(recovered.lost == nil)
            try await ledger.secure([
                .ended(id("3.1"), .closedByRequester, at: minutes(2), by: alice)
            ])
        }
        try SmallDisk.fill(disk.path)
        let ledger = try disk.open(bootID: "boot-2")
        #expect(try live(ledger) == [1] + (4...count))
        try disk.makeRoom()
        try await ledger.commit([.opened(request(count + 1))], at: minutes(3))
        #expect(try await ledger.request(2)?.state == .revoked)
        #expect(try await ledger.request(3)?.grants.map(\.endedAt) == [minutes(2)])
    }

    @Test(.enabled(if: geteuid() == 0))
    func startsOnADiskThatWasFilledWhileItWasStopped() async throws {
        let disk = try SmallDisk(bytes: 16 << 20)
        try disk.open().commitBlocking([.opened(request(1))], at: noon)
        try SmallDisk.fill(disk.path)
        let ledger = try disk.open()
        #expect(try live(ledger) == [1])
        // There even is room for some more.
        try await ledger.commit([.opened(request(2))], at: noon)
    }

    @Test(.enabled(if: geteuid() == 0))
    func saysWhatIsMissingWhereTheFirstStartFindsNoRoom() throws {
        let disk = try SmallDisk(bytes: 16 << 20)
        try SmallDisk.fill(disk.path)
        let error = try #require(throws: LedgerError.self) { try disk.open() }
        #expect(error.code == .full)
        #expect(error.message.contains(disk.state) && error.message.contains("free some"))
        try disk.makeRoom()
        try disk.open().commitBlocking([.opened(request(1))], at: noon)
    }
}

extension SecureTests {
    private func bytes(of path: String) throws -> [UInt8] {
        try Descriptor.open(path, .readOnly).readAll(atMost: 1 << 26)
    }

    /// What a start reads from these bytes.
    private func open(
        _ bytes: [UInt8]
    ) throws -> (reserve: Reserve, marks: Marks?, entries: [Reserve.Entry]) {
        let path = folder.path + "/torn"
        try replaceFile(path, with: bytes)
        return try Reserve.open(path)
    }

    private func copyFile(_ from: String, _ to: String) throws {
        try shell("cp", from, to).get()
    }
}

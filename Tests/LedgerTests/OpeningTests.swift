import GRDB
import Glibc
import Policy
import Testing
import TestSupport

@testable import Ledger

@Suite(.blocking) struct OpeningTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func mode(_ path: String) throws -> mode_t {
        var status = stat()
        try #require(lstat(path, &status) == 0)
        return status.st_mode & 0o777
    }

    private func write(_ text: String, to path: String) throws {
        let file = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
        try #require(file >= 0)
        defer { close(file) }
        try #require(Glibc.write(file, text, text.utf8.count) == text.utf8.count)
    }

    private func refusal(_ code: LedgerError.Code, _ parts: String...) throws {
        let error = try #require(throws: LedgerError.self) { try folder.open() }
        #expect(error.code == code, "\(error)")
        for part in parts { #expect(error.description.contains(part), "\(error)") }
    }

    @Test func makesAFolderAndFilesForTheAgentAlone() throws {
        let ledger = try folder.open()
        try ledger.commitBlocking([.opened(request(1))], at: noon)
        #expect(try mode(folder.state) == 0o700)
        for name in [
            "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.lock",
            "ledger.reserve",
        ] {
            #expect(try mode(folder.state + "/" + name) == 0o600, "\(name)")
        }
    }

    @Test func waitsForTheDiskAtEachCommit() throws {
        let ledger = try folder.open()
        let settings = try ledger.pool.writeWithoutTransaction { db in
            try ["journal_mode", "synchronous", "wal_autocheckpoint"].map {
                try String.fetchOne(db, sql: "PRAGMA \($0)")
            }
        }
        #expect(settings == ["wal", "2", "\(Schema.logPages)"])
    }

    @Test func makesTheLogItsFullSizeBeforeTheFirstCommit() throws {
        let ledger = try folder.open()
        let size = {
            var status = stat()
            try #require(stat(folder.file + "-wal", &status) == 0)
            return status.st_size
        }
        let before = try size()
        #expect(before == Schema.logSize)
        for number in 1...500 {
            try ledger.commitBlocking([.opened(request(Int64(number)))], at: noon)
        }
        #expect(try size() == before)
        // A log that stays long lets later commits fill more of its index than there may be room for.
        let many = try (501...4_000).map { Event.opened(try request($0)) }
        try ledger.commitBlocking(many, at: noon)
        #expect(try size() > before)
        try ledger.commitBlocking([.opened(request(4_001))], at: noon)
        #expect(try size() == before)
    }

    @Test func admitsOneAgentAtATime() throws {
        var first: Ledger? = try folder.open()
        let error = try #require(throws: LedgerError.self) {
            try Ledger(directory: folder.state, bootID: "boot-1")
        }
        #expect(error.code == .locked)
        #expect(error.description.contains(folder.state + "/ledger.lock"))
        #expect(try first?.recover().nextRequestID == 1)
        first = nil
        _ = try folder.open()
    }

    @Test func keepsTheLockFromProgramsItStarts() throws {
        let ledger = try folder.open()
        var seen = 0
        for descriptor in Int32(0)..<1024 {
            var bytes = [CChar](repeating: 0, count: 4096)
            let count = readlink("/proc/self/fd/\(descriptor)", &bytes, bytes.count)
            let target = String(
                decoding: bytes.prefix(max(count, 0)).map(UInt8.init(bitPattern:)),
                as: UTF8.self
            )
            guard target.hasPrefix(folder.state) else { continue }
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0, "\(target)")
            seen += 1
        }
        #expect(seen >= 3)
        _ = try ledger.recover()
    }

    @Test(arguments: [
        "PRAGMA user_version = 99",
        "PRAGMA application_id = 1",
        // As the tables before version 1 were.
        "PRAGMA user_version = 0; PRAGMA application_id = 0",
    ])
    func refusesTheTablesOfAnotherVersion(change: String) throws {
        try folder.open().pool.writeWithoutTransaction { try $0.execute(sql: change) }
        try refusal(.otherSchema, folder.file, "another version", "install", "move the file away")
    }

    @Test func leavesAFileThatIsNoLedgerAsItIs() throws {
        _ = try folder.open()
        let text = "my only copy of something else " + String(repeating: ".", count: 5000)
        for name in ["", "-wal", "-shm"] { unlink(folder.file + name) }
        try write(text, to: folder.file)
        try refusal(.corrupt, folder.file, "no ledger", "backup")
        let file = open(folder.file, O_RDONLY)
        defer { close(file) }
        var found = [UInt8](repeating: 0, count: 8192)
        let count = read(file, &found, found.count)
        #expect(String(decoding: found.prefix(count), as: UTF8.self) == text)
    }

    @Test func namesAFolderInTheFilesPlace() throws {
        try #require(mkdir(folder.state, 0o700) == 0 && mkdir(folder.file, 0o700) == 0)
        try refusal(.corrupt, folder.file, "no regular file", "move it away")
    }

    @Test func followsNoLinkInTheFilesPlace() throws {
        try #require(mkdir(folder.state, 0o700) == 0)
        try #require(symlink("/tmp/ledger-elsewhere", folder.file) == 0)
        try refusal(.corrupt, folder.file, "no regular file")
        #expect(access("/tmp/ledger-elsewhere", F_OK) != 0)
    }

    @Test func namesAFileInTheFoldersPlace() throws {
        try write("", to: folder.state)
        try refusal(.other, folder.state, "it is no folder")
    }

    @Test func namesAMissingParent() throws {
        let path = folder.path + "/a/b"
        let error = try #require(throws: LedgerError.self) {
            try Ledger(directory: path, bootID: "boot-1")
        }
        #expect(error.message.contains(path) && error.message.contains("the folder above"))
    }

    @Test(.enabled(if: geteuid() == 0), arguments: ["", "/ledger.sqlite"])
    func refusesWhatBelongsToSomebodyElse(name: String) throws {
        _ = try folder.open()
        try #require(chown(folder.state + name, 12345, 12345) == 0)
        try refusal(.notPermitted, folder.state + name, "uid 12345", "chown")
    }

    @Test(arguments: ["", "/ledger.sqlite"])
    func refusesWhatOthersMayWrite(name: String) throws {
        _ = try folder.open()
        try #require(chmod(folder.state + name, 0o722) == 0)
        try refusal(.notPermitted, folder.state + name, "chmod 0")
    }

    @Test(.enabled(if: geteuid() == 0))
    func saysWhatToDoWhereTheFolderMayNotBeWritten() async throws {
        await #expect(processExitsWith: .success) { [path = folder.path as String] in
            try #require(chmod(path, 0o755) == 0 && setuid(65534) == 0)
            let error = try #require(throws: LedgerError.self) {
                try Ledger(directory: path + "/state", bootID: "boot-1")
            }
            #expect(error.code == .readOnly)
            #expect(error.message.contains(path + "/state") && error.message.contains("own"))
        }
    }
}

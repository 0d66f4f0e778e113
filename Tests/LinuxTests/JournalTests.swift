import Glibc
import Linux
import Testing
import TestSupport

@Suite(.blocking) struct JournalTests {
    @Test func anEntryHasEachFieldOnce() {
        var entry = JournalEntry("gate tampered", priority: 4)
        entry.add("SALLYPORT_requesterName", "alice")
        entry.add("SALLYPORT_reason", "two\nlines")
        let expected =
            "MESSAGE=gate tampered\nPRIORITY=4\nSALLYPORT_REQUESTER_NAME=alice\n"
            + "SALLYPORT_REASON\n\u{9}\0\0\0\0\0\0\0two\nlines\n"
        #expect(entry.bytes == Array(expected.utf8))
    }

    @Test func theJournalTakesIt() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/journal"
        let address = try #require(UnixAddress(path: path))
        let journal = try Descriptor.unixSocket(.datagram, isBlocking: false)
        try journal.bind(to: address)
        let entry = JournalEntry("hello", priority: 6)
        try entry.send(to: path)
        #expect(throws: SystemError.self) { try entry.send(to: folder.path + "/none") }
        var received = [UInt8](repeating: 0, count: 4096)
        let count = recv(journal.number, &received, received.count, 0)
        #expect(Array(received.prefix(max(0, count))) == entry.bytes)
    }
}

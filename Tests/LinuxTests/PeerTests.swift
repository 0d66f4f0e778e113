import Glibc
import Linux
import SystemPackage
import TestSupport
import Testing

/// A listener at an abstract name, and the address of it.
private func listen() throws -> (number: CInt, name: String) {
    let name = "sallyport-\(UInt64.random(in: 0 ... .max))"
    let listener = try Descriptor.unixSocket(.stream)
    try listener.bind(to: #require(UnixAddress(abstract: name)))
    try UnixSocket.listen(listener.number, backlog: 8)
    return (listener.release(), name)
}

@Test(.blocking) func theProcessAtTheOtherEndIsTold() throws {
    let (number, name) = try listen()
    defer { close(number) }
    let client = try Descriptor.unixSocket(.stream)
    try client.connect(to: #require(UnixAddress(abstract: name)))
    let server = try UnixSocket.accept(from: number)
    let id = try PeerCredentials(ofPeerOf: server.number).pid
    let process = try #require(PeerProcess(id: id, ofPeerOf: server.number))
    let stat = try firstLine(of: "/proc/self/stat")
    #expect(process.startedAt == PeerProcess.startTime(inStat: Array(stat.utf8)))
    let login = (try? firstLine(of: "/proc/self/loginuid")).flatMap(UInt32.init)
    #expect(process.loginUID == (login == .max ? nil : login))
}

@Test(.blocking) func nothingIsToldOfAProcessThatHasEnded() throws {
    let (number, name) = try listen()
    defer { close(number) }
    try shell(
        "perl",
        "-MSocket",
        "-e",
        "socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un(\"\\0\" . shift)) or die",
        name
    ).get()
    let server = try UnixSocket.accept(from: number)
    let id = try PeerCredentials(ofPeerOf: server.number).pid
    #expect(PeerProcess(id: id, ofPeerOf: server.number) == nil)
    // Nor of another one that has its number by now.
    #expect(PeerProcess(id: getpid(), ofPeerOf: server.number) == nil)
}

@Test(arguments: [
    ("7 (a) b) (c) S" + String(repeating: " 0", count: 18) + " 42 0", UInt64(42)),
    ("7 (a) S" + String(repeating: " 0", count: 18), nil),
    ("7 a S 42", nil),
])
func theStartIsTheFieldBehindWhateverTheProgramIsCalled(_ stat: String, _ start: UInt64?) {
    #expect(PeerProcess.startTime(inStat: Array(stat.utf8)) == start)
}

@Test func rootIsAMemberOfItsOwnGroup() {
    #expect(NameService.memberships(ofUser: "root").contains(0))
    #expect(NameService.memberships(ofUser: "nobody-of-this-name").isEmpty)
}

@Test(.blocking) func aNameThatGoesIsNoticedAndOneThatComesIsNot() throws {
    let folder = try TemporaryFolder(["a": ""])
    let watch = try FolderWatch.make(folder.path).release()
    defer { close(watch) }
    try folder.write("b", "")
    #expect(try wait(for: [(watch, .input)], atMost: 0) == [[]])
    try removeFile(folder.path + "/a")
    #expect(try wait(for: [(watch, .input)], atMost: 10_000) == [.input])
}

import Glibc
import Linux
import SystemPackage
import TestSupport
import Testing

@Test func aDescriptorIsClosedWithItsOwnerUnlessHandedOver() throws {
    let number: CInt
    do {
        let socket = try Descriptor.unixSocket(.stream)
        number = socket.release()
    }
    #expect(fcntl(number, F_GETFD) == FD_CLOEXEC)
    // Other tests run in this process and may get the same number at once, but not the same socket.
    let inode = try Stat(FileDescriptor(rawValue: number)).inode
    do { _ = Descriptor(owning: number) }
    #expect((try? Stat(FileDescriptor(rawValue: number)).inode) != inode)
}

@Test func anAddressHas107BytesAtMost() {
    #expect(UnixAddress(path: "") == nil)
    #expect(UnixAddress(path: "/" + String(repeating: "a", count: 106)) != nil)
    #expect(UnixAddress(path: "/" + String(repeating: "a", count: 107)) == nil)
    #expect(UnixAddress(abstract: String(repeating: "a", count: 107)) != nil)
    #expect(UnixAddress(abstract: String(repeating: "a", count: 108)) == nil)
}

@Test(.blocking) func aStreamIsMadeOverAnAddress() throws {
    let address = try #require(UnixAddress(abstract: "sallyport-\(UInt64.random(in: 0 ... .max))"))
    let listener = try Descriptor.unixSocket(.stream, isBlocking: false)
    let client = try Descriptor.unixSocket(.stream)
    #expect(throws: SystemError(call: "connect", errno: .connectionRefused)) {
        try client.connect(to: address)
    }
    try listener.bind(to: address)
    #expect(!UnixSocket.isListening(listener.number))
    try UnixSocket.listen(listener.number, backlog: 0)
    #expect(UnixSocket.isListening(listener.number))
    #expect(throws: SystemError(call: "accept", errno: .wouldBlock)) {
        _ = try UnixSocket.accept(from: listener.number)
    }

    try client.connect(to: address)
    let late = try Descriptor.unixSocket(.stream)
    #expect(throws: SystemError(call: "connect", errno: .wouldBlock)) {
        try late.connect(to: address, waitingAtMost: 10)
    }
    let server = try UnixSocket.accept(from: listener.number)
    let credentials = try PeerCredentials(ofPeerOf: server.number)
    #expect(credentials.uid == getuid())
    #expect(credentials.pid == getpid())
    #expect(credentials.gids.first == getgid())
    #expect(try PeerCredentials.uid(ofPeerOf: server.number) == getuid())

    #expect(try wait(for: [(server.number, .input), (-1, .input)], atMost: 0) == [[], []])
    let sent: [UInt8] = [1, 2, 3]
    #expect(try client.sendAvailable(sent.span.bytes) == 3)
    #expect(try wait(for: [(server.number, [.input, .output])]) == [[.input, .output]])
    #expect(try received(by: server) == sent)
    _ = consume client
    #expect(try wait(for: [(server.number, .input)]) == [.input])
    #expect(try received(by: server) == [])
}

private func received(by socket: borrowing Descriptor) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = try bytes.withUnsafeMutableBytes { buffer in
        var span = OutputRawSpan(buffer: buffer, initializedCount: 0)
        try socket.receiveAvailable(into: &span)
        return span.finalize(for: buffer)
    }
    return Array(bytes.prefix(count))
}

@Test func bothEndsOfAPairAreHandedOver() throws {
    let (one, other) = try UnixSocketPair.make().release()
    let (first, second) = (one, other)
    defer {
        close(first)
        close(second)
    }
    try writeAll([9], to: first)
    var byte: UInt8 = 0
    #expect(read(second, &byte, 1) == 1)
    #expect(byte == 9)
}

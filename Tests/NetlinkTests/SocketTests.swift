import Glibc
import Netlink
import TestSupport
import Testing

@Test(.blocking) func socketsOfOneProcessHavePortsOfTheirOwn() throws {
    let first = try NetlinkSocket.open(.netfilter)
    let second = try NetlinkSocket.open(.netfilter)
    #expect(first.portID != 0)
    #expect(second.portID != 0)
    #expect(first.portID != second.portID)
    #expect(fcntl(first.fileDescriptor, F_GETFD) & FD_CLOEXEC != 0)
}

@Test(.blocking) func aSocketWithoutMessagesDoesNotWaitUnlessAsked() throws {
    var socket = try NetlinkSocket.open(.netfilter)
    let received: Int? = try socket.receive(waiting: false) { $0.byteCount }
    #expect(received == nil)
}

@Test(.blocking) func sequenceNumbersAreTakenOnce() throws {
    var socket = try NetlinkSocket.open(.netfilter)
    #expect(socket.takeSequence() == 1)
    #expect(socket.takeSequence(count: 3) == 2)
    #expect(socket.takeSequence(count: 0) == 5)
    #expect(socket.takeSequence() == 5)
}

@Test(.blocking) func onlyTheKernelIsListenedTo() throws {
    try inNetworkNamespace {
        var socket = try NetlinkSocket.open(.netfilter)
        try flood(netlinkPort: socket.portID)
        let received: Int? = try socket.receive(waiting: false) { $0.byteCount }
        #expect(received == nil)
    }
}

/// The loopback connection of a client to a server, in one address family.
struct Pair {
    let listener: CInt
    let client: CInt
    let port: UInt16

    init(serverFamily: CInt, clientFamily: CInt, type: __socket_type = SOCK_STREAM) {
        let listener = socket(serverFamily, CInt(type.rawValue), 0)
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(serverFamily)
        var size = socklen_t(serverFamily == AF_INET ? 16 : 28)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0
                    && (type != SOCK_STREAM || listen(listener, 5) == 0)
                    && getsockname(listener, $0, &size) == 0
            }
        }
        let port = bound ? UInt16(bigEndian: address.sin6_port) : 0

        let client = socket(clientFamily, CInt(type.rawValue), 0)
        var target = sockaddr_in6()
        target.sin6_family = sa_family_t(clientFamily)
        target.sin6_port = port.bigEndian
        if clientFamily == AF_INET {
            // The address field of sockaddr_in lies where sockaddr_in6 has its flow.
            target.sin6_flowinfo = UInt32(0x7f00_0001).bigEndian
        } else {
            target.sin6_addr = in6addr_loopback
        }
        withUnsafePointer(to: &target) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = connect(client, $0, clientFamily == AF_INET ? 16 : 28)
            }
        }
        self.listener = listener
        self.client = client
        self.port = port
    }

    func close() {
        Glibc.close(client)
        Glibc.close(listener)
    }
}

@Test(
    .blocking,
    arguments: [
        (AF_INET, AF_INET, [127, 0, 0, 1]),
        (AF_INET6, AF_INET6, [UInt8](repeating: 0, count: 15) + [1]),
        (AF_INET6, AF_INET, [127, 0, 0, 1]),
    ] as [(Int32, Int32, [UInt8])]
)
func bothEndsOfAConnectionAreListedInTheFamilyOfTheClient(
    _ server: Int32,
    _ client: Int32,
    _ address: [UInt8]
) throws {
    try inNetworkNamespace {
        let pair = Pair(serverFamily: server, clientFamily: client)
        defer { pair.close() }
        let connections = try SocketDiagnostics().connections()
        // Both ends are on this host; the listening socket is no connection.
        #expect(connections.count == 2)
        #expect(connections.allSatisfy { $0.state == .established })
        let flows = connections.map(\.incoming)
        #expect(flows.allSatisfy { $0.source == address && $0.destination == address })
        #expect(Set(flows) == Set(flows.map(\.reversed)))
        #expect(flows.contains { $0.destinationPort == pair.port })
        #expect(Set(connections.map(\.cookie)).count == 2)
        #expect(try SocketDiagnostics().listeners().map(\.port) == [pair.port])
    }
}

@Test(.blocking) func aConnectionThatIsBeingMadeIsListed() throws {
    try inNetworkNamespace {
        // The answer to the SYN is dropped on its way, so that the server stays in SYN_RECV.
        try shell(
            "nft",
            "-f",
            "-",
            input: """
                table inet t {
                    chain c {
                        type filter hook output priority 0;
                        tcp flags syn,ack / syn,ack drop
                    }
                }

                """
        ).get()
        let listener = Pair(serverFamily: AF_INET, clientFamily: AF_INET6)
        defer { listener.close() }
        let client = socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
        defer { close(client) }
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = listener.port.bigEndian
        target.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        withUnsafePointer(to: &target) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = connect(client, $0, 16) }
        }
        let states = try SocketDiagnostics().connections().map(\.state)
        #expect(Set(states) == [.synSent, .synReceived])
    }
}

@Test(.blocking) func theAddressesOfBothFamiliesAreListed() throws {
    try inNetworkNamespace {
        try shell("ip", "address", "add", "192.0.2.1", "peer", "192.0.2.9", "dev", "lo").get()
        let loopback6 = [UInt8](repeating: 0, count: 15) + [1]
        let addresses = try LocalAddresses().list()
        #expect(addresses == [[127, 0, 0, 1], loopback6, [192, 0, 2, 1]])
    }
}

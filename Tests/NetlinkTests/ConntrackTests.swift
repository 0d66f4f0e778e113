import Glibc
import Netlink
import TestSupport
import Testing

/// Has the calling thread's namespace track connections, and note all there is to know of them.
private func track(_ rules: String = "") throws {
    for key in ["acct", "timestamp"] {
        try shell("sysctl", "-wq", "net.netfilter.nf_conntrack_\(key)=1").get()
    }
    let table = """
        table inet t {
            chain c {
                type filter hook input priority 0;
                ct state invalid drop
            }
            chain n {
                type nat hook output priority -100;
                \(rules)
            }
        }

        """
    try shell("nft", "-f", "-", input: table).get()
}

private let families = [
    (AF_INET, [127, 0, 0, 1]), (AF_INET6, [UInt8](repeating: 0, count: 15) + [1]),
]

@Test(.blocking, arguments: families)
func aTCPConnectionIsTracked(family: Int32, address: [UInt8]) throws {
    try inNetworkNamespace {
        try track()
        let pair = Pair(serverFamily: family, clientFamily: family)
        defer { pair.close() }
        let entries = try Conntrack().connections()
        let entry = try #require(entries.first)
        #expect(entries.count == 1)
        #expect(entry.original.transport == UInt8(IPPROTO_TCP))
        #expect(entry.original.source == address)
        #expect(entry.original.destination == address)
        #expect(entry.original.destinationPort == pair.port)
        #expect(entry.reply == entry.original.reversed)
        #expect(entry.tcpState == .established)
        #expect(entry.status.isSuperset(of: [.seenReply, .assured]))
        #expect(entry.status.isDisjoint(with: [.sourceTranslated, .destinationTranslated]))
        // The default is five days.
        #expect((431_000...432_000).contains(entry.timeout))
        // SYN and ACK, and SYN-ACK between them.
        #expect(entry.originalCounters?.packets == 2)
        #expect(entry.replyCounters?.packets == 1)
        #expect(try #require(entry.replyCounters).bytes >= 60)
        let now = UInt64(time(nil)) * 1_000_000_000
        let startedAt = try #require(entry.startedAt)
        #expect((now - 60_000_000_000...now + 2_000_000_000).contains(startedAt))
        #expect(try SocketDiagnostics().connections().contains { $0.incoming == entry.original })
    }
}

@Test(.blocking, arguments: families)
func aDatagramWithoutAnAnswerIsTracked(family: Int32, address: [UInt8]) throws {
    try inNetworkNamespace {
        try track()
        let pair = Pair(serverFamily: family, clientFamily: family, type: SOCK_DGRAM)
        defer { pair.close() }
        send(pair.client, "x", 1, 0)
        let entry = try #require(try Conntrack().connections().first)
        #expect(entry.original.transport == UInt8(IPPROTO_UDP))
        #expect(entry.original.destination == address)
        #expect(entry.tcpState == nil)
        #expect(!entry.status.contains(.seenReply))
        #expect(entry.originalCounters?.packets == 1)
        #expect(entry.replyCounters?.packets == 0)
    }
}

@Test(.blocking) func aTranslatedConnectionHasBothAddresses() throws {
    try inNetworkNamespace {
        let listener = Pair(serverFamily: AF_INET, clientFamily: AF_INET)
        defer { listener.close() }
        try track("ip daddr 127.0.0.9 tcp dport 2222 dnat to 127.0.0.1:\(listener.port)")
        let client = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        defer { close(client) }
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = UInt16(2222).bigEndian
        target.sin_addr.s_addr = UInt32(0x7f00_0009).bigEndian
        let isConnected = withUnsafePointer(to: &target) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(client, $0, 16) == 0 }
        }
        try #require(isConnected)
        let entry = try #require(
            try Conntrack().connections().first { $0.original.destinationPort == 2222 }
        )
        #expect(entry.original.destination == [127, 0, 0, 9])
        #expect(entry.reply.source == [127, 0, 0, 1])
        #expect(entry.reply.sourcePort == listener.port)
        #expect(entry.status.contains(.destinationTranslated))
    }
}

@Test(.blocking) func onlyTheConnectionsToAPortAreListed() throws {
    try inNetworkNamespace {
        try track()
        let pairs = (0..<3).map { _ in Pair(serverFamily: AF_INET, clientFamily: AF_INET) }
        let six = Pair(serverFamily: AF_INET6, clientFamily: AF_INET6)
        defer { for pair in pairs + [six] { pair.close() } }
        let tcp = UInt8(IPPROTO_TCP)
        for port in [pairs[1].port, six.port] {
            let entries = try Conntrack().connections(to: (tcp, port))
            #expect(entries.map(\.original.destinationPort) == [port])
        }
        #expect(try Conntrack().connections(to: (UInt8(IPPROTO_UDP), pairs[1].port)).isEmpty)
        #expect(try Conntrack().connections().count == 4)
    }
}

@Test(.blocking, arguments: [AF_INET, AF_INET6])
func exactlyTheConnectionThatWasListedIsForgotten(family: Int32) throws {
    try inNetworkNamespace {
        try track()
        let pairs = (0..<2).map { _ in Pair(serverFamily: family, clientFamily: family) }
        defer { for pair in pairs { pair.close() } }
        let entry = try #require(
            try Conntrack().connections().first { $0.original.destinationPort == pairs[0].port }
        )
        var another = entry
        another.id &+= 1
        #expect(try !Conntrack().forget(another))
        #expect(try Conntrack().connections().count == 2)
        #expect(try Conntrack().forget(entry))
        #expect(try !Conntrack().forget(entry))
        #expect(
            try Conntrack().connections().map(\.original.destinationPort) == [pairs[1].port]
        )
    }
}

@Test(.blocking) func withoutPrivilegesNothingIsForgottenOrEnded() throws {
    try inNetworkNamespace {
        try track()
        let pair = Pair(serverFamily: AF_INET, clientFamily: AF_INET)
        defer { pair.close() }
        let entry = try #require(try Conntrack().connections().first)
        let socket = try #require(try SocketDiagnostics().connections().first)
        try withoutPrivileges {
            for act in [
                { try Conntrack().forget(entry) }, { try SocketDiagnostics().destroy(socket) },
            ] {
                let error = #expect(throws: NetlinkError.self) { try act() }
                #expect("\(error, default: "")".contains("operation not permitted"))
            }
        }
        #expect(try SocketDiagnostics().connections().count == 2)
    }
}

@Test(
    .blocking,
    arguments: [(AF_INET, AF_INET), (AF_INET6, AF_INET6), (AF_INET6, AF_INET)]
)
func endingASocketResetsTheOtherEndAndNoOther(server: Int32, client: Int32) throws {
    try inNetworkNamespace {
        let pairs = (0..<2).map { _ in Pair(serverFamily: server, clientFamily: client) }
        defer { for pair in pairs { pair.close() } }
        let accepted = pairs.map { accept($0.listener, nil, nil) }
        defer { for socket in accepted { close(socket) } }
        let socket = try #require(
            try SocketDiagnostics().connections().first {
                $0.incoming.destinationPort == pairs[0].port
            }
        )
        var another = socket
        another.cookie &+= 1
        #expect(try !SocketDiagnostics().destroy(another))
        #expect(error(of: accepted[0]) == 0)
        #expect(try SocketDiagnostics().destroy(socket))
        #expect(error(of: accepted[0]) == ECONNABORTED)
        #expect(error(of: pairs[0].client) == ECONNRESET)
        #expect(try !SocketDiagnostics().destroy(socket))
        #expect(error(of: accepted[1]) == 0)
        #expect(error(of: pairs[1].client) == 0)
    }
}

@Test(.blocking, arguments: [AF_INET, AF_INET6])
func aConnectedDatagramSocketIsListedAndEnded(family: Int32) throws {
    try inNetworkNamespace {
        let pair = Pair(serverFamily: family, clientFamily: family, type: SOCK_DGRAM)
        defer { pair.close() }
        // The one that serves is not connected, and so nobody's.
        let sockets = try SocketDiagnostics().connections(of: .udp)
        #expect(sockets.map(\.incoming.sourcePort) == [pair.port])
        #expect(try SocketDiagnostics().destroy(try #require(sockets.first)))
        #expect(error(of: pair.client) == ECONNABORTED)
        #expect(error(of: pair.listener) == 0)
    }
}

/// What a socket has to tell of.
private func error(of socket: CInt) -> CInt {
    var failure: CInt = 0
    var size = socklen_t(4)
    getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &size)
    return failure
}

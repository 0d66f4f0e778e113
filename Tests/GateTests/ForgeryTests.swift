import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// Packets that pretend to be answers, and those that are.
///
/// Whoever sends the first packet of a flow with a managed port as its source would have the next
/// one taken for the answer to it.
@Suite(.enabled(if: geteuid() == 0, "needs root"), .blocking)
struct ForgeryTests {
    /// Where the client lets answers to forged datagrams go.
    static let lures = (ipv4: "203.0.113.50", ipv6: "2001:db8:50::50")

    private func lure(for address: String) -> String {
        address.contains(":") ? Self.lures.ipv6 : Self.lures.ipv4
    }

    /// Sends a datagram of the client's with any source.
    private func forge(
        _ hosts: Hosts,
        from source: String,
        _ sourcePort: UInt16,
        to target: String,
        _ port: UInt16,
        _ text: String = "forged"
    ) throws {
        try hosts.client.run {
            let socket = try Endpoint(isIPv6: source.contains(":"), isUDP: true)
            try socket.allowForeignAddresses()
            try socket.bind(to: source, port: sourcePort)
            try socket.send(text, to: target, port: port)
        }
    }

    /// Sets the kernel's own check of sources, which IPv4 alone has: 0 is off, 1 is on.
    private func filterReversePaths(_ mode: Int) throws {
        for interface in ["all", "eth0", "eth1"] {
            try shell("sysctl", "-wq", "net.ipv4.conf.\(interface).rp_filter=\(mode)").get()
        }
    }

    /// Whether a datagram from the client, which is the answer to a forged one, comes to a service.
    private func isBelieved(
        _ hosts: Hosts,
        at address: String,
        by service: Endpoint,
        from port: UInt16 = 7777
    ) throws -> Bool {
        let lure = lure(for: address)
        // From managed port and own address to the lure, which the host sends back on the cable.
        try forge(hosts, from: address, 5000, to: lure, port)
        return try hosts.client.run {
            try shell("ip", "address", "add", lure, "dev", "lo", "nodad").get()
            let answer = try Endpoint.datagrams(lure, port)
            try answer.send("answer", to: address, port: 5000)
            return service.hears("answer", withinMilliseconds: 150)
        }
    }

    /// From any port, or from one that is managed there, too.
    @Test(
        arguments: ["10.0.0.2", "fd00::2"],
        [(filter: 0, port: UInt16(7777)), (1, 7777), (0, 5001)]
    )
    func anAnswerToAForgedDatagramOfAnInnerHostIsJudged(
        address: String,
        _ way: (filter: Int, port: UInt16)
    ) throws {
        let hosts = try Hosts()
        let inner = try hosts.innerHost()
        try hosts.host.run { try filterReversePaths(way.filter) }
        let service = try inner.run { try Endpoint.datagrams(address, 5000) }
        let gate = try hosts.armedGate(
            Hosts.ports("5000-5010/any", at: ["10.0.0.0/24", "fd00::/64"])
        )
        #expect(try !isBelieved(hosts, at: address, by: service, from: way.port))
        withExtendedLifetime(gate) {}
    }

    /// To connection tracking both ends open the connection at once (RFC 9293, 3.5).
    @Test(arguments: ["10.0.0.2", "fd00::2"], SessionMode.allCases)
    func aHandshakeInAnswerToAForgedOneIsJudged(address: String, mode: SessionMode) throws {
        let hosts = try Hosts()
        let inner = try hosts.innerHost()
        try hosts.host.run { try filterReversePaths(0) }
        let listener = try hosts.listener(on: 5000, at: address, in: inner)
        let gate = try hosts.armedGate(
            Hosts.ports("5000/tcp", sessions: mode, at: ["10.0.0.0/24", "fd00::/64"])
        )
        let lure = lure(for: address)
        let isLetIn = try hosts.client.run {
            let forger = try Endpoint(isIPv6: address.contains(":"))
            try forger.allowForeignAddresses()
            try forger.bind(to: address, port: 5000)
            _ = try forger.connect(to: lure, port: 7777, withinMilliseconds: 50)
            try shell("ip", "address", "add", lure, "dev", "lo", "nodad").get()
            let client = try Endpoint(isIPv6: address.contains(":"))
            try client.bind(to: lure, port: 7777)
            return try client.connect(to: address, port: 5000, withinMilliseconds: 150)
        }
        #expect(!isLetIn)
        withExtendedLifetime((gate, listener)) {}
    }

    /// RFC 9260, 3.1 and 3.3.2: ports, tag, checksum; INIT, its length, tag, window, streams, TSN.
    private func initiation(_ ports: [UInt8]) -> String {
        let chunk: [UInt8] = [1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0x70, 0, 0, 1, 0, 1, 0, 0, 0, 1]
        return String(decoding: ports + [UInt8](repeating: 0, count: 8) + chunk, as: UTF8.self)
    }

    /// The same of SCTP, as it is on the wire.
    @Test(arguments: SessionMode.allCases)
    func anAssociationInAnswerToAForgedOneIsJudged(mode: SessionMode) throws {
        let hosts = try Hosts()
        let inner = try hosts.innerHost()
        let gate = try hosts.armedGate(
            Hosts.ports("4949/any", sessions: mode, at: ["10.0.0.0/24"])
        )
        try hosts.host.run {
            try filterReversePaths(0)
            try shell("sysctl", "-wq", "net.netfilter.nf_conntrack_checksum=0").get()
        }
        let (managed, other): ([UInt8], [UInt8]) = ([0x13, 0x55], [0x1b, 0x58])
        let service = try inner.run { try Endpoint(number: 132, isRaw: true) }
        let lure = Self.lures.ipv4
        let client = try hosts.client.run {
            let forger = try Endpoint(number: 132, isRaw: true)
            try forger.allowForeignAddresses()
            try forger.bind(to: "10.0.0.2", port: 0)
            try forger.send(initiation(managed + other), to: lure, port: 0)
            try shell("ip", "address", "add", lure, "dev", "lo").get()
            let client = try Endpoint(number: 132, isRaw: true)
            try client.bind(to: lure, port: 0)
            return client
        }
        func isHeard() throws -> Bool {
            try client.send(initiation(other + managed), to: "10.0.0.2", port: 0)
            var waiting = pollfd(fd: service.descriptor, events: Int16(POLLIN), revents: 0)
            return poll(&waiting, 1, 150) == 1
        }
        #expect(try !isHeard())
        var plan = Plan()
        try gate.perform([.open(Grant(1, "4949/any", at: "10.0.0.2", from: lure))], in: &plan)
        #expect(try isHeard())
    }

    /// As of TCP, what is older than the gate may go on and not begin anew.
    @Test(arguments: SessionMode.allCases)
    func doesNotLetAnEarlierAssociationBeOpenedAnew(mode: SessionMode) throws {
        let hosts = try Hosts()
        try hosts.host.run {
            // Has conntrack look at what comes in.
            let chain = "chain in { type filter hook input priority 0; ct state new; };"
            try shell("nft", "-f", "-", input: "table ip other { \(chain) }\n").get()
            try shell("sysctl", "-wq", "net.netfilter.nf_conntrack_checksum=0").get()
        }
        let ends = try [hosts.host, hosts.client].map {
            try $0.run { try Endpoint(number: 132, isRaw: true) }
        }
        func isHeard(_ packet: String) throws -> Bool {
            try ends[1].send(packet, to: "198.51.100.1", port: 0)
            var waiting = pollfd(fd: ends[0].descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 150) == 1 else { return false }
            var buffer = [UInt8](repeating: 0, count: 100)
            return recv(ends[0].descriptor, &buffer, buffer.count, 0) > 0
        }
        let (client, managed): ([UInt8], [UInt8]) = ([0x1b, 0x58], [0x13, 0x55])
        try #require(try isHeard(initiation(client + managed)))
        let gate = try hosts.armedGate(Hosts.ports("4949/any", sessions: mode))
        #expect(try hosts.host.run { try gate.sessions().map(\.session.isEarlier) } == [true])
        #expect(try !isHeard(initiation(client + managed)))
        // COOKIE ECHO: it goes on.
        let cookie = client + managed + [0, 0, 0, 1, 0, 0, 0, 0, 10, 0, 0, 4]
        #expect(try isHeard(String(decoding: cookie, as: UTF8.self)))
    }

    @Test func anAnswerToAForgedDatagramOfTheHostIsJudged() throws {
        let hosts = try Hosts()
        _ = try hosts.innerHost()
        let service = try hosts.host.run { try Endpoint.datagrams("2001:db8::1", 5000) }
        let gate = try hosts.armedGate()
        #expect(try !isBelieved(hosts, at: "2001:db8::1", by: service))
        #expect(try gate.inspect().fault == nil)
        // The forged one, and the answer.
        #expect(try gate.inspect().droppedPackets == 2)
    }

    /// Between two managed numbers, of which the second is another host's.
    @Test func anAnswerToADatagramForgedFromOneManagedPortToAnotherIsJudged() throws {
        let hosts = try Hosts()
        _ = try hosts.innerHost()
        let service = try hosts.host.run { try Endpoint.datagrams("2001:db8::1", 5000) }
        let gate = try hosts.armedGate()
        #expect(try !isBelieved(hosts, at: "2001:db8::1", by: service, from: 5001))
        #expect(try gate.inspect().droppedPackets == 2)
    }

    /// Nothing is forwarded, and no answer comes back.
    @Test func anAnswerWithAForgedSourceIsJudged() throws {
        let hosts = try Hosts()
        let service = try hosts.host.run { try Endpoint.datagrams("2001:db8::1", 5000) }
        let gate = try hosts.armedGate()
        try forge(hosts, from: "2001:db8::1", 5000, to: "2001:db8::1", 9999)
        try forge(hosts, from: "2001:db8::1", 9999, to: "2001:db8::1", 5000, "answer")
        #expect(!service.hears("answer", withinMilliseconds: 150))
        withExtendedLifetime(gate) {}
    }

    @Test(arguments: [
        (here: "198.51.100.1", there: "198.51.100.7"), (here: "2001:db8::1", there: "2001:db8::7"),
    ])
    func whatTheHostAskedFromAManagedPortIsAnswered(here: String, there: String) throws {
        let hosts = try Hosts()
        let gate = try hosts.armedGate()
        let (asking, answering) = try (
            hosts.host.run { try Endpoint.datagrams(here, 5000) },
            hosts.client.run { try Endpoint.datagrams(there, 5000) }
        )
        try hosts.host.run { try asking.send("question", to: there, port: 5000) }
        #expect(answering.hears("question", withinMilliseconds: Endpoint.patience))
        try hosts.client.run { try answering.send("answer", to: here, port: 5000) }
        #expect(asking.hears("answer", withinMilliseconds: Endpoint.patience))
        withExtendedLifetime(gate) {}
    }

    @Test(arguments: [
        (inner: "10.0.0.2", there: "198.51.100.7"), (inner: "fd00::2", there: "2001:db8::7"),
    ])
    func whatAnInnerHostAskedFromAManagedPortIsAnswered(inner: String, there: String) throws {
        let hosts = try Hosts()
        let innerHost = try hosts.innerHost()
        let gate = try hosts.armedGate()
        let (asking, answering) = try (
            innerHost.run { try Endpoint.datagrams(inner, 5000) },
            hosts.client.run { try Endpoint.datagrams(there, 7000) }
        )
        try asking.send("question", to: there, port: 7000)
        #expect(answering.hears("question", withinMilliseconds: Endpoint.patience))
        try answering.send("answer", to: inner, port: 5000)
        #expect(asking.hears("answer", withinMilliseconds: Endpoint.patience))
        withExtendedLifetime(gate) {}
    }

    /// What the client sends comes in by a second cable, to which no route of the host's leads.
    @Test func answersAndGrantedDatagramsMayComeByAnotherWay() throws {
        let hosts = try Hosts()
        try hosts.host.connect("eth1", ["192.0.2.1/24"], to: hosts.client, "eth1", ["192.0.2.7/24"])
        try hosts.host.run { try filterReversePaths(0) }
        try hosts.client.run {
            try shell("ip", "route", "add", "198.51.100.1", "via", "192.0.2.1").get()
        }
        let gate = try hosts.armedGate()
        let (here, there) = ("198.51.100.1", "198.51.100.7")
        let (asking, answering) = try (
            hosts.host.run { try Endpoint.datagrams(here, 5000) },
            hosts.client.run { try Endpoint.datagrams(there, 5001) }
        )
        try asking.send("question", to: there, port: 5001)
        #expect(answering.hears("question", withinMilliseconds: Endpoint.patience))
        try answering.send("answer", to: here, port: 5000)
        #expect(asking.hears("answer", withinMilliseconds: Endpoint.patience))

        // A flow of the client's own, from a managed port number to a managed port.
        let service = try hosts.host.run { try Endpoint.datagrams(here, 5003) }
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5003/udp", from: there))], in: &plan)
        try answering.send("granted", to: here, port: 5003)
        #expect(service.hears("granted", withinMilliseconds: Endpoint.patience))

        let listener = try hosts.listener(on: 22)
        try gate.perform([.open(Grant(2, "22/tcp", from: there))], in: &plan)
        #expect(try hosts.connects(to: 22, fromPort: 5002))
        withExtendedLifetime(listener) {}
    }

    /// Translation may give a flow of an inner host a managed number at this host's address.
    @Test func translatedFlowsAreAnswered() throws {
        let hosts = try Hosts()
        let inner = try hosts.innerHost()
        _ = try hosts.nft("add table ip nat")
        _ = try hosts.nft("add chain ip nat pre { type nat hook prerouting priority dstnat; }")
        _ = try hosts.nft("add chain ip nat post { type nat hook postrouting priority srcnat; }")
        _ = try hosts.nft("add rule ip nat pre iif eth0 udp dport 5001 dnat to 10.0.0.2:53")
        _ = try hosts.nft("add rule ip nat post oif eth0 ip protocol udp masquerade to :5004")
        let gate = try hosts.armedGate()
        let (asking, published) = try (
            inner.run { try Endpoint.datagrams("10.0.0.2", 40_000) },
            inner.run { try Endpoint.datagrams("10.0.0.2", 53) }
        )
        let client = try hosts.client.run { try Endpoint.datagrams("198.51.100.7", 7000) }
        try asking.send("question", to: "198.51.100.7", port: 7000)
        #expect(client.hears("question", withinMilliseconds: Endpoint.patience))
        try client.send("answer", to: "198.51.100.1", port: 5004)
        #expect(asking.hears("answer", withinMilliseconds: Endpoint.patience))

        try client.send("closed", to: "198.51.100.1", port: 5001)
        #expect(!published.hears("closed", withinMilliseconds: 100))
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5001/udp", from: "198.51.100.7"))], in: &plan)
        try client.send("open", to: "198.51.100.1", port: 5001)
        #expect(published.hears("open", withinMilliseconds: Endpoint.patience))
        try published.send("welcome", to: "198.51.100.7", port: 7000)
        #expect(client.hears("welcome", withinMilliseconds: Endpoint.patience))
    }
}

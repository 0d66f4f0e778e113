import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// A policy without hosts is about this machine: all of it, and nothing else.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct DestinationTests {
    /// Addresses of nobody's that the client sends to the host.
    private static let foreign = [
        (address: "203.0.113.9", own: "198.51.100.1", source: "198.51.100.7"),
        (address: "2001:db8:9::9", own: "2001:db8::1", source: "2001:db8::7"),
    ]

    /// Has the client send what goes to an address to the host.
    private func lead(_ hosts: Hosts, _ address: String, by own: String) throws {
        try hosts.client.run { try shell("ip", "route", "add", address, "via", own).get() }
    }

    /// What goes to 22 at some address is refused, and let in by a grant for 22.
    private func expectJudged(
        _ hosts: Hosts,
        _ address: String,
        port: UInt16 = 22,
        from source: String,
        _ managed: [ManagedPort] = Hosts.managed
    ) throws {
        #expect(try hosts.connects(to: port, at: address, from: source))
        let gate = try hosts.armedGate(managed)
        #expect(try !hosts.connects(to: port, at: address, from: source))
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: source))], in: &plan)
        #expect(try hosts.connects(to: port, at: address, from: source))
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        #expect(try !hosts.connects(to: port, at: address, from: source))
        #expect(try gate.inspect().fault == nil)
    }

    @Test(arguments: [
        (own: "198.51.100.1", inner: "10.0.0.2"), (own: "2001:db8::1", inner: "fd00::2"),
    ])
    func leavesHostsBehindARouterAlone(own: String, inner: String) throws {
        let hosts = try Hosts()
        let innerHost = try hosts.innerHost()
        let services = try [
            hosts.listener(on: 22, at: own), hosts.listener(on: 22, at: inner, in: innerHost),
        ]
        let source = inner.contains(":") ? "2001:db8::7" : "198.51.100.7"
        let gate = try hosts.armedGate()
        for (index, sessions) in SessionMode.allCases.enumerated() {
            let managed = Hosts.ports("22/tcp", "5000/any", sessions: sessions)
            try hosts.host.run {
                try gate.arm(
                    managed: managed,
                    breakGlass: [],
                    holding: .exactly(Plan()),
                    now: bootTime
                )
            }
            #expect(try hosts.connects(to: 22, at: inner, from: source))
            #expect(try !hosts.connects(to: 22, at: own, from: source))
            let datagrams = try innerHost.run { try Endpoint.datagrams(inner, 5000) }
            let client = try hosts.client.run { try Endpoint.datagrams(source, 5000) }
            try client.send("hello", to: inner, port: 5000)
            #expect(datagrams.hears("hello", withinMilliseconds: Endpoint.patience))
            try datagrams.send("hello yourself", to: source, port: 5000)
            #expect(client.hears("hello yourself", withinMilliseconds: Endpoint.patience))
            #expect(try gate.inspect().droppedPackets == index + 1)
        }
        withExtendedLifetime(services) {}
    }

    /// What a container has to do outside is its own business; with this machine it is not.
    @Test(arguments: [
        (own: "10.0.0.1", client: "198.51.100.7"), (own: "fd00::1", client: "2001:db8::7"),
    ])
    func leavesTheConnectionsOfContainersAlone(own: String, client: String) throws {
        let hosts = try Hosts()
        let container = try hosts.innerHost()
        let services = try [
            hosts.listener(on: 22, at: client, in: hosts.client), hosts.listener(on: 22, at: own),
        ]
        let gate = try hosts.armedGate()
        let connects = { (address: String) in
            try container.run {
                try Endpoint(isIPv6: address.contains(":"))
                    .connect(to: address, port: 22, withinMilliseconds: 150)
            }
        }
        #expect(try connects(client))
        #expect(try !connects(own))
        withExtendedLifetime((services, gate)) {}
    }

    /// A floating address that is routed here.
    @Test(arguments: foreign, [22, 7000] as [UInt16])
    func judgesWhatIsTranslatedToThisMachine(
        _ at: (address: String, own: String, source: String),
        port: UInt16
    ) throws {
        let hosts = try Hosts()
        try lead(hosts, at.address, by: at.own)
        let service = try hosts.listener(on: 22, at: at.own)
        let family = at.own.contains(":") ? "ip6" : "ip"
        let target = at.own.contains(":") ? "[\(at.own)]:22" : "\(at.own):22"
        _ = try hosts.nft("add table \(family) nat")
        _ = try hosts.nft(
            "add chain \(family) nat pre { type nat hook prerouting priority dstnat; }"
        )
        _ = try hosts.nft(
            "add rule \(family) nat pre \(family) daddr \(at.address) tcp dport \(port) dnat to "
                + target
        )
        try expectJudged(hosts, at.address, port: port, from: at.source)
        withExtendedLifetime(service) {}
    }

    @Test(arguments: foreign, SessionMode.allCases)
    func judgesWhatIsRedirectedToAManagedPort(
        _ at: (address: String, own: String, source: String),
        sessions: SessionMode
    ) throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22, at: at.own)
        _ = try hosts.nft("add table inet nat")
        _ = try hosts.nft("add chain inet nat pre { type nat hook prerouting priority dstnat; }")
        _ = try hosts.nft("add rule inet nat pre tcp dport 7000 redirect to :22")
        let managed = Hosts.ports("22/tcp", sessions: sessions)
        try expectJudged(hosts, at.own, port: 7000, from: at.source, managed)
        // Either number needs a grant where both are managed.
        let gate = try hosts.host.run {
            let gate = try Gate()
            let both = Hosts.ports("22/tcp", "7000/tcp", sessions: sessions)
            try gate.armWhenLetGo(both, holding: .exactly(Plan()))
            return gate
        }
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: at.source))], in: &plan)
        #expect(try !hosts.connects(to: 7000, at: at.own, from: at.source))
        try gate.perform([.open(Grant(2, "7000/tcp", from: at.source))], in: &plan)
        let session = try hosts.session(to: service, on: 7000, at: at.own, from: at.source)
        #expect(session.client.says("hello", to: session.host))
        try gate.perform([.close(.init(request: 1, ordinal: 1))], in: &plan)
        #expect(session.client.says("still here", to: session.host) == (sessions == .keep))
        #expect(try !hosts.connects(to: 7000, at: at.own, from: at.source))
    }

    /// Whole networks that are this machine's (AnyIP), by the table of local addresses or another.
    @Test(arguments: foreign, [false, true])
    func judgesAddressesThatOnlyRoutesMakeThisMachines(
        _ at: (address: String, own: String, source: String),
        inAnotherTable: Bool
    ) throws {
        let hosts = try Hosts()
        try lead(hosts, at.address, by: at.own)
        let family = at.own.contains(":") ? "-6" : "-4"
        try hosts.host.run {
            let table = inAnotherTable ? ["table", "100"] : []
            try shell(["ip", family, "route", "add", "local", at.address, "dev", "lo"] + table)
                .get()
            guard inAnotherTable else { return }
            try shell("ip", family, "rule", "add", "to", at.address, "lookup", "100").get()
            try shell("ip", family, "rule", "del", "lookup", "local").get()
            try shell("ip", family, "rule", "add", "pref", "32000", "lookup", "local").get()
        }
        let service = try hosts.host.run {
            let socket = try Endpoint(isIPv6: at.own.contains(":"))
            // To answer from addresses that are in no table of local ones.
            try socket.allowForeignAddresses()
            try socket.bind(to: at.own.contains(":") ? "::" : "0.0.0.0", port: 22)
            try socket.listen()
            return socket
        }
        try expectJudged(hosts, at.address, from: at.source)
        withExtendedLifetime(service) {}
    }

    /// Addresses of a routing domain stand in a table of their own.
    @Test(
        .enabled(if: Hosts.knows("vrf", "table", "10"), "this kernel has no VRF"),
        arguments: foreign
    )
    func judgesAddressesOfARoutingDomain(
        _ at: (address: String, own: String, source: String)
    ) throws {
        let hosts = try Hosts()
        try hosts.host.run {
            try shell("ip", "link", "add", "blue", "type", "vrf", "table", "10").get()
            try shell("ip", "link", "set", "blue", "up").get()
            try shell("sysctl", "-wq", "net.ipv6.conf.all.keep_addr_on_down=1").get()
            try shell("ip", "link", "set", "eth0", "master", "blue").get()
            try shell("sysctl", "-wq", "net.ipv4.tcp_l3mdev_accept=1").get()
        }
        let service = try hosts.listener(on: 22, at: at.own.contains(":") ? "::" : "0.0.0.0")
        try expectJudged(hosts, at.own, from: at.source)
        withExtendedLifetime(service) {}
    }

    /// An address that is good on one cable only.
    @Test func judgesLinkLocalAddresses() throws {
        let hosts = try Hosts()
        try hosts.host.run {
            try shell("ip", "address", "add", "fe80::1/64", "dev", "eth0", "nodad").get()
        }
        let service = try hosts.listener(on: 22, at: "::")
        let connects = {
            try hosts.client.run {
                try shell("timeout", "0.3", "bash", "-c", "</dev/tcp/fe80::1%eth0/22").status == 0
            }
        }
        #expect(try connects())
        let gate = try hosts.armedGate()
        #expect(try !connects())
        withExtendedLifetime((service, gate)) {}
    }

    @Test(arguments: ["198.51.100.255", "224.0.0.251"])
    func judgesWhatGoesToAll(address: String) throws {
        let hosts = try Hosts()
        let service = try hosts.host.run {
            let socket = try Endpoint.datagrams("0.0.0.0", 5000)
            var group = ip_mreq()
            inet_pton(AF_INET, "224.0.0.251", &group.imr_multiaddr)
            inet_pton(AF_INET, "198.51.100.1", &group.imr_interface)
            setsockopt(
                socket.descriptor,
                Int32(IPPROTO_IP),
                IP_ADD_MEMBERSHIP,
                &group,
                socklen_t(MemoryLayout<ip_mreq>.size)
            )
            return socket
        }
        let client = try hosts.client.run {
            let socket = try Endpoint.datagrams("198.51.100.7", 7000)
            var yes: Int32 = 1
            setsockopt(socket.descriptor, SOL_SOCKET, SO_BROADCAST, &yes, 4)
            try shell("ip", "route", "add", "224.0.0.0/4", "dev", "eth0").get()
            return socket
        }
        try client.send("hello", to: address, port: 5000)
        #expect(service.hears("hello", withinMilliseconds: Endpoint.patience))
        let gate = try hosts.armedGate()
        try client.send("closed", to: address, port: 5000)
        #expect(!service.hears("closed", withinMilliseconds: 150))
        withExtendedLifetime(gate) {}
    }
}

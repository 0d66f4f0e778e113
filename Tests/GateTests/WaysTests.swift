import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// The ways in: other protocols, and devices of all kinds.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct WaysTests {
    @Test(arguments: [
        (address: "198.51.100.1", source: "198.51.100.7"),
        (address: "2001:db8::1", source: "2001:db8::7"),
    ])
    func anyIsUDPLiteToo(address: String, source: String) throws {
        let hosts = try Hosts()
        let udpLite: Int32 = 136
        guard
            let service = try? hosts.host.run({
                try Endpoint.datagrams(address, 5000, number: udpLite)
            })
        else {
            Issue.record("not run: this kernel has no UDP-Lite", severity: .warning)
            return
        }
        let client = try hosts.client.run { try Endpoint.datagrams(source, 7000, number: udpLite) }
        try client.send("hello", to: address, port: 5000)
        #expect(service.hears("hello", withinMilliseconds: Endpoint.patience))
        let gate = try hosts.armedGate()
        var plan = Plan()
        try gate.perform([.open(Grant(1, "5000/udp", from: source))], in: &plan)
        try client.send("closed", to: address, port: 5000)
        #expect(!service.hears("closed", withinMilliseconds: 100))
        try gate.perform([.open(Grant(2, "5000/any", from: source))], in: &plan)
        try client.send("open", to: address, port: 5000)
        #expect(service.hears("open", withinMilliseconds: Endpoint.patience))
        try gate.perform([.close(.init(request: 2, ordinal: 1))], in: &plan)
        try client.send("late", to: address, port: 5000)
        #expect(!service.hears("late", withinMilliseconds: 100))
    }

    /// As it is on the wire: a kernel need not know SCTP to hand it on.
    @Test func anyIsSCTPToo() throws {
        let hosts = try Hosts()
        let sctp: Int32 = 132
        let raw = { try Endpoint(number: sctp, isRaw: true) }
        let (service, client) = try (hosts.host.run(raw), hosts.client.run(raw))
        // RFC 9260, 3.1: source port, destination port (4949), verification tag, checksum.
        let packet = String(
            decoding: [0x1b, 0x58, 0x13, 0x55] + [UInt8](repeating: 0, count: 8),
            as: UTF8.self
        )
        let isHeard = {
            try client.send(packet, to: "198.51.100.1", port: 0)
            var waiting = pollfd(fd: service.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 150) == 1 else { return false }
            var buffer = [UInt8](repeating: 0, count: 100)
            // With the IP header in front.
            return recv(service.descriptor, &buffer, buffer.count, 0) == 20 + 12
        }
        #expect(try isHeard())
        let gate = try hosts.armedGate(Hosts.ports("4949/any"))
        var plan = Plan()
        #expect(try !isHeard())
        try gate.perform([.open(Grant(1, "4949/tcp", from: "198.51.100.7"))], in: &plan)
        #expect(try !isHeard())
        try gate.perform([.open(Grant(2, "4949/any", from: "198.51.100.7"))], in: &plan)
        #expect(try isHeard())
    }

    @Test(arguments: ["vlan", "macvlan", "bridge", "vxlan", "gre", "ipip"])
    func whatComesByAnyDeviceIsJudged(kind: String) throws {
        let hosts = try Hosts()
        let own = ["local", "198.51.100.1", "remote", "198.51.100.7"]
        let others = ["local", "198.51.100.7", "remote", "198.51.100.1"]
        let (here, there): ([String], [String]?) =
            switch kind {
            case "vlan":
                (
                    ["link", "eth0", "type", "vlan", "id", "5"],
                    ["link", "eth0", "type", "vlan", "id", "5"]
                )
            case "macvlan": (["link", "eth0", "type", "macvlan", "mode", "bridge"], nil)
            case "bridge": (["type", "bridge"], nil)
            case "vxlan":
                (
                    ["type", "vxlan", "id", "7", "dstport", "4789"] + own,
                    ["type", "vxlan", "id", "7", "dstport", "4789"] + others
                )
            default: (["type", kind] + own, ["type", kind] + others)
            }
        let made = try hosts.host.run { try shell(["ip", "link", "add", "name", "way"] + here) }
        guard made.status == 0 else {
            Issue.record("not run: this kernel has no \(kind): \(made.errors)", severity: .warning)
            return
        }
        try hosts.host.run {
            if kind == "bridge" {
                try shell("ip", "link", "set", "eth0", "master", "way").get()
                try filterBridges()
            }
            try shell("ip", "address", "add", "192.0.2.1/24", "dev", "way").get()
            try shell("ip", "link", "set", "way", "up").get()
        }
        try hosts.client.run {
            let device = there == nil ? "eth0" : "way"
            if let there { try shell(["ip", "link", "add", "name", "way"] + there).get() }
            try shell("ip", "address", "add", "192.0.2.7/24", "dev", device).get()
            try shell("ip", "link", "set", device, "up").get()
        }
        let service = try hosts.listener(on: 22, at: "192.0.2.1")
        let connects = { try hosts.connects(to: 22, at: "192.0.2.1", from: "192.0.2.7") }
        var triesLeft = 20
        while try !connects(), triesLeft > 0 { triesLeft -= 1 }
        #expect(triesLeft > 0)
        let gate = try hosts.armedGate()
        #expect(try !connects())
        var plan = Plan()
        try gate.perform([.open(Grant(1, "22/tcp", from: "192.0.2.7"))], in: &plan)
        #expect(try connects())
        withExtendedLifetime(service) {}
    }

    /// A hypervisor whose guests are on its bridge: theirs is theirs, but what a policy names.
    @Test(arguments: [false, true])
    func guestsOnABridgeAreHostsBehindIt(isNamed: Bool) throws {
        let hosts = try Hosts()
        let guest = try NetworkNamespace()
        try hosts.host.connect("tap0", [], to: guest, "eth0", ["198.51.100.9/24"])
        try hosts.host.run {
            try shell("ip", "link", "add", "name", "br0", "type", "bridge").get()
            for port in ["eth0", "tap0"] {
                try shell("ip", "link", "set", port, "master", "br0").get()
            }
            try shell("ip", "link", "set", "br0", "up").get()
            try filterBridges()
        }
        let service = try hosts.listener(on: 22, at: "198.51.100.9", in: guest)
        let connects = { try hosts.connects(to: 22, at: "198.51.100.9") }
        var triesLeft = 20
        while try !connects(), triesLeft > 0 { triesLeft -= 1 }
        #expect(triesLeft > 0)
        let named = Hosts.ports("22/tcp", at: ["198.51.100.9/32"])
        let gate = try hosts.armedGate(isNamed ? named : Hosts.ports("22/tcp"))
        #expect(try connects() == !isNamed)
        var plan = Plan()
        try gate.perform(
            [.open(Grant(1, "22/tcp", at: "198.51.100.9", from: "198.51.100.7"))],
            in: &plan
        )
        #expect(try connects())
        withExtendedLifetime(service) {}
    }

    /// Has bridged packets go through the hooks of IP (br_netfilter), as Docker and libvirt do.
    private func filterBridges() throws {
        try shell("sysctl", "-wq", "net.bridge.bridge-nf-call-iptables=1").get()
    }
}

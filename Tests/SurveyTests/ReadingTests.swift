import API
import Dispatch
import FoundationEssentials
import Glibc
import Linux
import Netlink
import Nftables
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Survey

/// What is read of the kernel.
@Suite(.blocking) struct ReadingTests {
    @Test func publishedPortsAreDiscoveredWithTheRuleThatLeadsThere() throws {
        let (state, listing) = try HostState.loaded(try ruleset("docker"))
        var examination = Examination(state, try situation())
        let services = examination.services().services
        let rule = try handle(of: "dnat to 172.17.0.2:80", in: listing)
        #expect(services.map(\.port) == ["22/tcp", "8080/tcp"])
        #expect(services[1].state == .notConfigured)
        #expect(services[1].target == "172.17.0.2:80")
        #expect(services[1].rule == "ip nat DOCKER \(rule)")
    }

    @Test func anotherTableThatClosesAPortIsNamed() throws {
        var (state, _) = try HostState.loaded(try ruleset("ufw"))
        state.listeners.append(Listener(transport: 6, address: [0, 0, 0, 0], port: 8080))
        var examination = Examination(state, try situation())
        let service = examination.services().services[1]
        #expect(service.state == .notConfigured)
        #expect(
            service.reason
                == "no policy names it; chain ip6 filter INPUT drops it from most sources"
        )
    }

    @Test func allTablesAndFamiliesAreRead() throws {
        let state = try inNetworkNamespace {
            try shell("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p").get()
            try shell(
                "nft",
                "-f",
                "-",
                input: """
                    table inet sallyport { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; }
                    table inet a { chain c { ct state vmap { new : accept, invalid : drop }; }; }
                    table ip6 b { chain c { type filter hook forward priority 5; policy drop; }; }
                    table netdev c { chain c { type filter hook ingress devices = { eth0, eth0p } priority -5; }; }
                    table bridge d { chain c { type filter hook prerouting priority 0; }; }
                    table arp e { chain c { type filter hook input priority 0; }; }
                    table ip f {
                        set big { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1 }; }
                        chain c { type nat hook prerouting priority dstnat; dnat to 192.0.2.7; }
                    }

                    """
            ).get()
            return try HostState.read(besides: gateTable)
        }
        let rules = state.ruleset
        #expect(state.gaps == [])
        #expect(
            rules.tables.map { "\($0.family) \($0.name)" }.sorted() == [
                "arp e", "bridge d", "inet a", "inet sallyport", "ip f", "ip6 b", "netdev c",
            ]
        )
        let bases = rules.chains.compactMap { chain in
            chain.base.map {
                "\(chain.path) \($0.hook) \($0.priority) \($0.policy) \($0.devices.sorted())"
            }
        }
        #expect(
            bases.sorted() == [
                "arp e c input 0 accept []", "bridge d c prerouting 0 accept []",
                "ip f c prerouting -100 accept []", "ip6 b c forward 5 drop []",
                "netdev c c ingress -5 accept [\"eth0\", \"eth0p\"]",
            ]
        )
        // The gate's own elements may be a million.
        #expect(rules.elements[.init("s", in: gateTable)] == nil)
        let f = Nftables.Table(family: .ip, name: "f")
        #expect(rules.elements[.init("big", in: f)]?.count == 2)
        #expect(rules.unknown == [])
    }

    @Test func readingStopsAtItsLimits() throws {
        try inNetworkNamespace {
            let rules = String(repeating: "tcp dport 1 accept\n", count: 500)
            let addresses = (0..<200).map { "10.0.0.\($0)" }.joined(separator: ", ")
            try shell(
                "nft",
                "-f",
                "-",
                input: """
                    table ip t {
                        set s { type ipv4_addr; elements = { \(addresses) }; }
                        set few { type ipv4_addr; elements = { 10.0.0.1 }; }
                        chain c {
                            \(rules)
                        }
                    }

                    """
            ).get()
            let table = Nftables.Table(family: .ip, name: "t")
            let whole = try WholeRuleset.read()
            #expect(whole.rules.count == 500)
            #expect(!whole.isCut)
            #expect(whole.elements[.init("s", in: table)]?.count == 200)
            let cut = try WholeRuleset.read(.init(rules: 100))
            #expect(cut.rules.count <= 100)
            #expect(cut.isCut)
            // A set that is too large is left out, and what comes behind it is read.
            let fewer = try WholeRuleset.read(.init(elementsPerSet: 100))
            #expect(!fewer.isCut)
            #expect(fewer.elements[.init("s", in: table)] == nil)
            #expect(fewer.elements[.init("few", in: table)]?.count == 1)
            let late = try WholeRuleset.read(.init(isOver: { true }))
            #expect(late.isCut)
        }
    }

    @Test func elementsThatComeAndGoAreNoChangeOfTheRules() throws {
        try inNetworkNamespace {
            let rules = String(repeating: "tcp dport 1 accept\n", count: 2000)
            try shell(
                "nft",
                "-f",
                "-",
                input: """
                    table ip t {
                        set s { type ipv4_addr; }
                        chain c {
                            \(rules)
                        }
                    }

                    """
            ).get()
            let connection = try Connection()
            let isOver = Atomic<Bool>(false)
            let ended = DispatchSemaphore(value: 0)
            // Another program that changes the ruleset all the time.
            try OwnThread.start {
                let table = Nftables.Table(family: .ip, name: "t")
                let set = NamedSet("s", in: table, key: [.ipv4Address])
                let element = SetElement(Key([10, 0, 0, 1]))
                while !isOver.load(ordering: .relaxed) {
                    var change = Transaction()
                    change.add([element], to: set)
                    try? connection.commit(change)
                    var back = Transaction()
                    back.delete([element], from: set)
                    try? connection.commit(back)
                }
                ended.signal()
            }
            // It may take a while to begin.
            let quiet = try connection.generation()
            while try connection.generation() == quiet { usleep(1000) }
            let before = try connection.generation()
            let ruleset = try WholeRuleset.read()
            #expect(try connection.generation() > before)
            isOver.store(true, ordering: .relaxed)
            ended.wait()
            #expect(ruleset.rules.count == 2000)
            #expect(!ruleset.isTorn)
        }
    }

    @Test func tenThousandRulesTakeLessThanASecond() throws {
        let rules = (0..<10_000).map { index in
            "ip saddr 10.\(index / 256).\(index % 256).0/24 tcp dport \(1000 + index) drop"
        }
        try inNetworkNamespace {
            try shell(
                "nft",
                "-f",
                "-",
                input: """
                    table ip t {
                        chain c {
                            type filter hook input priority 0;
                            \(rules.joined(separator: "\n"))
                        }
                    }

                    """
            ).get()
            let start = processorTime()
            // Of the clock it may take what a busy machine lets it have.
            var limits = HostState.Limits()
            limits.time = .seconds(300)
            var state = try HostState.read(limits, besides: gateTable)
            state.listeners = HostState.healthy.listeners
            state.isClockSynchronized = true
            let read = processorTime()
            var examination = Examination(state, try situation())
            let document = examination.document()
            let end = processorTime()
            #expect(document.rules == 10_000)
            #expect(document.findings.map(\.brief) == [])
            print("10,000 rules: read in \(read - start), judged in \(end - read)")
            // Of the processor, since the machine is at work on other tests; and not optimized.
            #expect(end - start < .seconds(5))
        }
    }

    @Test func interfacesAreReadWithTheirAddressesAndFilters() throws {
        try inNetworkNamespace {
            try shell("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p").get()
            try shell("ip", "address", "add", "192.0.2.1/24", "dev", "eth0").get()
            for name in ["eth0", "eth0p"] {
                try shell("ip", "link", "set", name, "up").get()
            }
            try shell("ip", "route", "add", "default", "via", "192.0.2.254", "dev", "eth0").get()
            try shell("tc", "qdisc", "add", "dev", "eth0", "clsact").get()
            let state = try HostState.read(besides: gateTable)
            let eth0 = try #require(state.interfaces.first { $0.name == "eth0" })
            #expect(eth0.hasDefaultRoute)
            #expect(eth0.xdpProgram == nil)
            #expect(
                eth0.addresses.contains { $0.bytes == [192, 0, 2, 1] && $0.prefixLength == 24 }
            )
            // A place for filters alone is nothing.
            #expect(eth0.ingressFilters == [])
            #expect(state.interfaces.first { $0.isLoopback }?.hasDefaultRoute == false)
            #expect(state.reversePathFilters.keys.contains("eth0"))
        }
    }

    /// The interface eth0 as it is read, once something is attached to it.
    private func eth0(_ attach: () throws -> Void) throws -> NetworkInterface {
        try shell("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p").get()
        for name in ["eth0", "eth0p"] { try shell("ip", "link", "set", name, "up").get() }
        try attach()
        let state = try HostState.read(besides: gateTable)
        return try #require(state.interfaces.first { $0.name == "eth0" })
    }

    @Test(arguments: ["clsact", "ingress"])
    func filtersOfTrafficControlAreRead(queue: String) throws {
        try inNetworkNamespace {
            let read = try eth0 {
                try shell("tc", "qdisc", "add", "dev", "eth0", queue).get()
                let add = ["tc", "filter", "add", "dev", "eth0", "ingress", "protocol", "all"]
                let match = ["match", "u32", "0", "0", "flowid", "1:1"]
                let added = try shell(add + ["prio", "1", "u32"] + match)
                guard added.status == 0 else {
                    Issue.record("not run: the kernel has no u32: \(added)", severity: .warning)
                    return
                }
                // Returns 0: it does not match.
                try shell(add + ["prio", "2", "bpf", "bytecode", "1,6 0 0 0"]).get()
            }
            guard !read.ingressFilters.isEmpty else { return }
            #expect(read.ingressFilters == ["bpf", "u32"])
            var state = HostState.healthy
            state.interfaces[0].ingressFilters = read.ingressFilters
            #expect(findings(state, try situation()) == ["warning ingress-filter"])
        }
    }

    @Test func programsOfXDPAreRead() throws {
        try inNetworkNamespace {
            var isAttached = false
            let read = try eth0 {
                let index = try #require(NetworkInterface.all().first { $0.name == "eth0" }?.index)
                let attached = try shell("perl", "-e", attachingXDP, "\(index)")
                isAttached = attached.status == 0
                guard attached.status == 77 else {
                    try attached.get()
                    return
                }
                Issue.record("not run: no program is let in: \(attached)", severity: .warning)
            }
            guard isAttached else { return }
            #expect(try #require(read.xdpProgram) > 0)
            let listing = try shell("ip", "link", "show", "dev", "eth0").get()
            #expect(listing.contains("prog/xdp id \(read.xdpProgram ?? 0) "))
        }
    }

    @Test func flowtablesAreRead() throws {
        try inNetworkNamespace {
            try shell("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p").get()
            let loaded = try shell(
                "nft",
                "-f",
                "-",
                input:
                    "table inet f { flowtable t { hook ingress priority 5; devices = { eth0 }; }; }\n"
            )
            guard loaded.status == 0 else {
                Issue.record("not run: the kernel has no flowtables: \(loaded)", severity: .warning)
                return
            }
            let read = try #require(HostState.read(besides: gateTable).ruleset.flowtables.first)
            #expect((read.name, read.priority, read.devices) == ("t", 5, ["eth0"]))
        }
    }

    @Test func listenersAreReadWithTheirOwners() throws {
        try inNetworkNamespace {
            let stream = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            let datagram = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            defer { for number in [stream, datagram] { close(number) } }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(8080).bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            var wide = sockaddr_in6()
            wide.sin6_family = sa_family_t(AF_INET6)
            wide.sin6_port = UInt16(5353).bigEndian
            let isBound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(stream, $0, 16) }
            }
            let isWide = withUnsafePointer(to: &wide) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(datagram, $0, 28) }
            }
            try #require(isBound == 0 && isWide == 0 && listen(stream, 5) == 0)
            let state = try HostState.read(besides: gateTable)
            let listeners = state.listeners.sorted { $0.port < $1.port }
            #expect(listeners.map(\.port) == [5353, 8080])
            #expect(listeners.map(\.transport) == [17, 6])
            #expect(listeners.map(\.address) == [IPv6.any, [127, 0, 0, 1]])
            #expect(listeners.map(\.isLoopback) == [false, true])
            #expect(listeners.map(\.uid) == [getuid(), getuid()])
            // This process may look at its own files.
            #expect(listeners.allSatisfy { state.processes[$0.inode] != nil })
        }
    }

    @Test func filesOfTheSystemAreReadAsFarAsTheyCan() throws {
        let folder = try TemporaryFolder()
        let net = folder.path + "/thread-self/net"
        try shell("mkdir", "-p", net).get()
        let state = {
            try inNetworkNamespace { [folder] in
                try HostState.read(besides: gateTable, system: folder.path)
            }
        }
        try "iptable_nat 12288 1 - Live 0x0\nnf_nat 1 1 iptable_nat, Live 0x0\n".write(
            toFile: folder.path + "/modules",
            atomically: true,
            encoding: .utf8
        )
        #expect(try state().legacyTables == ["ip nat"])
        try "filter\n".write(toFile: net + "/ip_tables_names", atomically: true, encoding: .utf8)
        #expect(try state().legacyTables == ["ip filter"])
    }
}

/// Attaches an XDP program that passes everything to an interface, by its index.
///
/// It takes bpf(2), and a message of rtnetlink(7). Ends with 77 where this process may load none.
private let attachingXDP = #"""
    use POSIX ();
    my ($index) = @ARGV;
    my $bpf = (POSIX::uname())[4] eq 'x86_64' ? 321 : 280;
    # r0 = XDP_PASS; exit (struct bpf_insn, linux/bpf.h)
    my $code = pack('CCsl CCsl', 0xb7, 0, 0, 2, 0x95, 0, 0, 0);
    my $licence = "GPL\0";
    # union bpf_attr of BPF_PROG_LOAD: BPF_PROG_TYPE_XDP, 2 instructions, both addresses, no log
    my $load = pack('LL', 6, 2) . pack('P', $code) . pack('P', $licence) . "\0" x 24;
    my $program = syscall($bpf, 5, $load, length $load);
    if ($program < 0) { print STDERR "bpf: $!\n"; exit 77 }
    # IFLA_XDP with IFLA_XDP_FD and IFLA_XDP_FLAGS, XDP_FLAGS_SKB_MODE
    my $xdp = pack('SSl SSL', 8, 1, $program, 8, 3, 2);
    my $link = pack('CxSlLL', 0, 0, $index, 0, 0) . pack('SS', 4 + length $xdp, 0x8000 | 43) . $xdp;
    socket(my $netlink, 16, 3, 0) or die $!;
    # RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK
    syswrite $netlink, pack('LSSLL', 16 + length $link, 19, 5, 1, 0) . $link or die $!;
    sysread $netlink, my $answer, 4096 or die $!;
    $! = -unpack('x16l', $answer);
    die "attach: $!" if $!;
    """#

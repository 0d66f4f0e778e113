import API
import Glibc
import Netlink
import Nftables
import Policy
import TestSupport
import Testing

@testable import Survey

/// Hosts behind this machine, and the way back from it.
@Suite(.blocking) struct FarHostTests {
    /// What an agent knows that manages a port of some hosts behind this machine.
    private func managing(
        _ hosts: [String] = ["10.9.0.0/24", "2001:db8:9::/64"],
        open: (source: String, host: String)? = nil
    ) throws -> Situation {
        var known = try situation(["8080/tcp"])
        known.policies[0].hosts = try hosts.map(CIDR.init(parsing:))
        known.openings = try [open].compactMap(\.self).map {
            .init(
                port: try PortRange(parsing: "8080/tcp"),
                source: try CIDR(parsing: $0.source),
                host: try IPAddress(parsing: $0.host)
            )
        }
        return known
    }

    /// What the doctor finds on a router: eth0 leads to the world, and inner to 10.9.0.0/24 and
    /// 2001:db8:9::/64.
    private func examine(
        _ known: Situation,
        _ rules: String = "",
        prepare: [String] = []
    ) throws -> (document: DoctorDocument, listing: String) {
        try inNetworkNamespace {
            try shell(
                "ip",
                "-batch",
                "-",
                input: """
                    link add eth0 type veth peer name eth0p
                    link add inner type veth peer name innerp
                    address add 192.0.2.1/24 dev eth0
                    address add 2001:db8::1/64 dev eth0 nodad
                    address add 10.9.0.1/24 dev inner
                    address add 2001:db8:9::1/64 dev inner nodad
                    link set eth0 up
                    link set eth0p up
                    link set inner up
                    link set innerp up
                    route add default via 192.0.2.254 dev eth0
                    route add default via 2001:db8::fe dev eth0

                    """
            ).get()
            let forwarding = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            try shell(["sysctl", "-qw"] + forwarding).get()
            for command in prepare { try shell("sh", "-c", command).get() }
            try shell("nft", "-f", "-", input: rules).get()
            var state = try HostState.read(besides: gateTable, routesTo: known.ways)
            #expect(state.gaps == [])
            state.isClockSynchronized = true
            state.legacyTables = []
            var examination = Examination(state, known)
            return (examination.document(), try shell("nft", "-a", "list", "ruleset").get())
        }
    }

    @Test func aRouterThatPassesOnGivesNoFinding() throws {
        let open = (source: "198.51.100.7/32", host: "10.9.0.7")
        let rules = try ruleset("docker")
        #expect(try examine(try managing(open: open)).document.findings == [])
        // Of what is led to containers alone nothing is in the way of others.
        let accepting = rules.replacing("policy drop", with: "policy accept")
        #expect(try examine(try managing(open: open), accepting).document.findings == [])
    }

    @Test func aForwardChainThatDropsIsFoundAndWhatIsAdvisedHelps() throws {
        let chain = """
            table ip filter {
                chain FORWARD { type filter hook forward priority 0; policy drop; }
            }

            """
        let (document, _) = try examine(try managing(), chain)
        #expect(
            document.findings.map(\.brief)
                == ["error drops-granted ip filter FORWARD: 8080/tcp@10.9.0.0/24"]
        )
        let finding = try #require(document.findings.first)
        #expect(finding.message.contains("and its answers"))
        let advised = finding.advice.split(separator: "nft ").dropFirst().map {
            $0.prefix(upTo: $0.firstRange(of: "accept")?.upperBound ?? $0.endIndex)
        }
        #expect(advised.count == 2)
        let (after, _) = try examine(
            try managing(),
            chain + advised.joined(separator: "\n") + "\n"
        )
        #expect(after.findings == [])
    }

    @Test func theToolOfTheChainIsAdvised() throws {
        let known = try managing(["10.9.0.0/24"])
        let (docker, _) = try examine(known, try ruleset("docker"))
        #expect(
            docker.findings.map(\.brief)
                == ["error drops-granted ip filter FORWARD: 8080/tcp@10.9.0.0/24"]
        )
        #expect(
            docker.findings.first?.advice.contains(
                "insert rule ip filter DOCKER-USER ip daddr 10.9.0.0/24 tcp dport 8080 accept"
            ) == true
        )
        let (ufw, _) = try examine(known, try ruleset("ufw"))
        #expect(
            ufw.findings.first?.advice.hasPrefix(
                "ufw route allow proto tcp to 10.9.0.0/24 port 8080"
            ) == true
        )
        let (firewalld, _) = try examine(known, try ruleset("firewalld"))
        #expect(
            firewalld.findings.first?.advice.contains("--policy=NAME --add-port=8080/tcp") == true
        )
    }

    /// What is in the way to hosts behind this machine, or from it: the rules, and what is found of
    /// the one that is marked.
    struct Case: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var rules: String
        var found: [String]
        var open: String?
        var hosts = ["10.9.0.0/24"]

        init(
            _ name: String,
            _ rules: String,
            _ found: String...,
            open: String? = nil,
            hosts: [String] = ["10.9.0.0/24"]
        ) {
            testDescription = name
            self.rules = rules
            self.found = found
            self.open = open
            self.hosts = hosts
        }
    }

    @Test(arguments: [
        Case(
            "a drop for another host",
            "table ip t { chain c { type filter hook forward priority 0; ip daddr 10.9.0.9 drop; }; }"
        ),
        Case(
            "a drop for the host that is open",
            """
            table ip t {
              chain c { type filter hook forward priority 0; ip daddr 10.9.0.9 drop comment "this"; }
            }
            """,
            "error drops-granted ip t c THIS: 8080/tcp@10.9.0.9/32",
            open: "10.9.0.9"
        ),
        Case(
            "a drop the other way",
            """
            table ip t {
              chain c { type filter hook forward priority 0; iifname "inner" ct state new drop; }
            }
            """
        ),
        Case(
            "a drop of the answers alone",
            """
            table ip t {
              chain c { type filter hook forward priority 0; iifname "inner" drop comment "this"; }
            }
            """,
            "error drops-granted ip t c THIS: 8080/tcp@10.9.0.0/24"
        ),
        Case(
            "a drop on the way out",
            """
            table ip t {
              chain c { type filter hook postrouting priority 0; oifname "inner" drop comment "this"; }
            }
            """,
            "error drops-granted ip t c THIS: 8080/tcp@10.9.0.0/24"
        ),
        Case(
            "a drop in front of the gate",
            """
            table ip t {
              chain c { type filter hook prerouting priority -300; tcp dport 8080 drop comment "this"; }
            }
            """,
            "error drops-granted ip t c THIS: 8080/tcp@10.9.0.0/24"
        ),
        Case(
            "an accept in front of the gate",
            """
            table ip t {
              chain c { type filter hook prerouting priority -300; tcp dport 8080 accept comment "this"; }
            }
            """,
            "note accepted-before ip t c THIS: 8080/tcp@10.9.0.0/24"
        ),
        Case(
            "notrack in front of the gate",
            """
            table ip t {
              chain c { type filter hook prerouting priority -300; tcp dport 8080 notrack comment "this"; }
            }
            """,
            "warning not-tracked ip t c THIS: 8080/tcp@10.9.0.0/24"
        ),
        Case(
            "an input chain, which does not see them",
            "table ip t { chain c { type filter hook input priority 0; policy drop; }; }"
        ),
        Case(
            "a host that is led elsewhere",
            """
            table ip t {
              chain c { type nat hook prerouting priority dstnat; ip daddr 10.9.0.0/24 dnat to 192.0.2.9 comment "this"; }
            }
            """,
            "note leads-elsewhere ip t c THIS: 8080/tcp@10.9.0.0/24"
        ),
        Case(
            "a host that is led elsewhere before the gate sees it",
            """
            table ip t {
              chain c { type nat hook prerouting priority -160; ip daddr 10.9.0.0/24 dnat to 192.0.2.9 comment "this"; }
            }
            """,
            "error hides-port ip t c THIS: 8080/tcp@10.9.0.0/24"
        ),
        Case(
            "a host that no route leads to",
            "",
            "error no-route: 8080/tcp@203.0.113.0/24",
            hosts: ["203.0.113.0/24"]
        ),
        Case(
            "a host that no route leads to, since rules lead it elsewhere",
            """
            table ip t {
              chain c { type nat hook prerouting priority dstnat; ip daddr 203.0.113.7 dnat to 10.9.0.9 comment "this"; }
            }
            """,
            "note leads-elsewhere ip t c THIS: 8080/tcp@203.0.113.7/32",
            hosts: ["203.0.113.7/32"]
        ),
        Case(
            "an address of this machine, which input sees",
            "table ip t { chain c { type filter hook input priority 0; policy drop; }; }",
            "error drops-granted ip t c: 8080/tcp@10.9.0.1/32",
            hosts: ["10.9.0.1/32"]
        ),
    ])
    func whatIsInTheWayIsFoundOnce(_ example: Case) throws {
        let open = example.open.map { (source: "198.51.100.7/32", host: $0) }
        let (document, listing) = try examine(
            try managing(example.hosts, open: open),
            example.rules,
            prepare: ["ip route add unreachable 203.0.113.0/24"]
        )
        let isMarked = example.rules.contains("comment \"this\"")
        let rule = isMarked ? try handle(of: "comment \"this\"", in: listing) : ""
        let expected = example.found.map { $0.replacing("THIS", with: rule) }
        #expect(document.findings.map(\.brief) == expected)
    }

    @Test func aKernelThatPassesNothingOnIsFound() throws {
        let (document, _) = try examine(
            try managing(),
            prepare: ["sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0"]
        )
        #expect(
            document.findings.map(\.brief) == [
                "error not-forwarded: 8080/tcp@10.9.0.0/24",
                "error not-forwarded: 8080/tcp@2001:db8:9::/64",
            ]
        )
        #expect(document.findings.map(\.message).allSatisfy { !$0.contains("inner") })
        #expect(document.findings.first?.message.contains("come in by eth0") == true)
    }

    @Test func routesAreAskedOfTheKernel() throws {
        try inNetworkNamespace {
            try shell("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p").get()
            try shell("ip", "address", "add", "192.0.2.1/24", "dev", "eth0").get()
            for name in ["eth0", "eth0p"] { try shell("ip", "link", "set", name, "up").get() }
            let blocked = ["unreachable", "blackhole", "prohibit"]
            for (number, kind) in blocked.enumerated() {
                try shell("ip", "route", "add", kind, "198.51.100.\(number)").get()
                try shell("ip", "route", "add", kind, "2001:db8:8::\(number)").get()
            }
            let index = try #require(NetworkInterface.all().first { $0.name == "eth0" }?.index)
            func route(_ text: String) throws -> Route? {
                let address = try IPAddress(parsing: text).bytes
                return try Route.all(to: [address])[address]
            }
            #expect(try route("192.0.2.9") == .through(index))
            #expect(try route("192.0.2.1") == .here)
            #expect(try route("127.0.0.9") == .here)
            for address in ["203.0.113.1", "198.51.100.0", "198.51.100.1", "198.51.100.2"] {
                #expect(try route(address) == .nowhere, "\(address)")
            }
            for address in ["2001:db8::9", "2001:db8:8::", "2001:db8:8::1", "2001:db8:8::2"] {
                #expect(try route(address) == .nowhere, "\(address)")
            }
        }
    }

    // MARK: This machine's own answers

    @Test(arguments: [
        Case(
            "an output chain that lets nothing out but what begins here",
            """
            table ip t {
              chain c { type filter hook output priority 0; policy drop; ct state new accept; }
            }
            """,
            "error drops-granted ip t c: 22/tcp"
        ),
        Case(
            "an output chain that lets answers out",
            """
            table ip t {
              chain c { type filter hook output priority 0; policy drop; ct state established accept; }
            }
            """
        ),
        Case(
            "an output chain for one user",
            """
            table ip t {
              chain c { type filter hook output priority 0; meta skuid 33 drop comment "this"; }
            }
            """,
            "warning may-drop-granted ip t c THIS: 22/tcp"
        ),
        Case(
            "a postrouting chain that drops by the service's port",
            """
            table ip t {
              chain c { type filter hook postrouting priority 0; tcp sport 22 drop comment "this"; }
            }
            """,
            "error drops-granted ip t c THIS: 22/tcp"
        ),
        Case(
            "masquerading, which answers do not meet",
            "table ip t { chain c { type nat hook postrouting priority srcnat; masquerade; }; }"
        ),
        Case(
            "a drop on the way out of one interface",
            """
            table netdev t {
              chain c { type filter hook egress device "eth0" priority 0; tcp sport 22 drop comment "this"; }
            }
            """,
            "error drops-granted netdev t c THIS: 22/tcp"
        ),
        Case(
            "a drop on the way out of another interface",
            """
            table netdev t {
              chain c { type filter hook egress device "eth0p" priority 0; tcp sport 22 drop; }
            }
            """
        ),
        Case(
            "answers that are not tracked",
            """
            table ip t {
              chain c { type filter hook output priority raw; tcp sport 22 notrack comment "this"; }
            }
            """,
            "warning not-tracked ip t c THIS: 22/tcp"
        ),
    ])
    func whatKeepsAnswersInIsFound(_ example: Case) throws {
        let (state, listing) = try HostState.loaded(example.rules)
        let isMarked = example.rules.contains("comment \"this\"")
        let rule = isMarked ? try handle(of: "comment \"this\"", in: listing) : ""
        let expected = example.found.map { $0.replacing("THIS", with: rule) }
        #expect(findings(state, try situation()) == expected)
    }
}

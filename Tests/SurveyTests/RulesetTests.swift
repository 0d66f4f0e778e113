import API
import Netlink
import Nftables
import Policy
import TestSupport
import Testing

@testable import Survey

/// Rulesets as other programs make them, loaded into the kernel and read back from it.
@Suite(.blocking) struct RulesetTests {
    @Test(arguments: [
        "ufw", "firewalld", "docker", "fail2ban", "debian-workstation",
    ])
    func aHealthyHostGivesNoFinding(name: String) throws {
        let (state, _) = try HostState.loaded(try ruleset(name))
        #expect(!state.ruleset.rules.isEmpty)
        #expect(findings(state, try situation()) == [])
    }

    @Test func allOfThemTogetherGiveNoFinding() throws {
        let names = ["firewalld", "docker", "fail2ban", "debian-workstation"]
        let (state, _) = try HostState.loaded(try names.map(ruleset).joined(separator: "\n"))
        #expect(findings(state, try situation()) == [])
    }

    @Test func whatUfwDoesNotAllowItDrops() throws {
        let (state, _) = try HostState.loaded(
            try ruleset("ufw").replacing("tcp dport 22 counter accept", with: "tcp dport 25 accept")
        )
        #expect(
            findings(state, try situation()) == [
                "error drops-granted ip filter INPUT: 22/tcp",
                "error drops-granted ip6 filter INPUT: 22/tcp",
            ]
        )
    }

    @Test func whatFirewalldDoesNotAllowItRefuses() throws {
        let (state, listing) = try HostState.loaded(
            try ruleset("firewalld").replacing("tcp dport 22 accept", with: "tcp dport 25 accept")
        )
        // The second of the rules that refuse whatever is left.
        let inZone = listing.split(separator: "chain filter_IN_public {")[1]
        let rule = try handle(of: "reject with icmpx", in: String(inZone))
        #expect(
            findings(state, try situation()) == [
                "error drops-granted inet firewalld filter_IN_public \(rule): 22/tcp"
            ]
        )
        var examination = Examination(state, try situation())
        let advice = examination.document().findings.first?.advice
        #expect(advice?.hasPrefix("firewall-cmd --permanent --add-port=22/tcp") == true)
    }

    @Test func aBannedSourceWithAGrantIsDropped() throws {
        let (state, listing) = try HostState.loaded(try ruleset("fail2ban"))
        let rule = try handle(of: "@addr-set-sshd", in: listing)
        let banned = try situation(open: [("22/tcp", "203.0.113.77/32")])
        #expect(
            findings(state, banned) == [
                "error drops-granted inet f2b-table f2b-chain \(rule): 22/tcp"
            ]
        )
        let around = try situation(open: [("22/tcp", "203.0.113.0/24")])
        #expect(
            findings(state, around) == [
                "warning may-drop-granted inet f2b-table f2b-chain \(rule): 22/tcp"
            ]
        )
        let other = try situation(open: [("22/tcp", "203.0.113.78/32")])
        #expect(findings(state, other) == [])
    }

    @Test func verdictMapsAreFollowed() throws {
        let (state, _) = try HostState.loaded(try ruleset("debian-server"))
        #expect(
            findings(state, try situation()) == [
                "error drops-granted inet filter input: 22/tcp"
            ]
        )
        let admins = try situation(from: ["198.51.100.0/24", "::/0"])
        #expect(findings(state, admins) == [])
    }

    @Test func aPublishedPortIsFollowedToItsContainer() throws {
        let published = try ruleset("docker")
        let managed = try situation(["8080/tcp"])
        let (open, _) = try HostState.loaded(published)
        #expect(findings(open, managed) == [])
        // What it drops is for this host itself.
        let input = "table ip t { chain in { type filter hook input priority 0; policy drop; }; }\n"
        let (behind, _) = try HostState.loaded(published + input)
        #expect(findings(behind, managed) == [])
        let (closed, listing) = try HostState.loaded(
            published.replacing("DOCKER-USER { counter return; }", with: "DOCKER-USER { drop; }")
        )
        let inUser = listing.split(separator: "chain DOCKER-USER {")[1]
        let rule = try handle(of: "drop", in: String(inUser))
        #expect(
            findings(closed, managed) == [
                "error drops-granted ip filter DOCKER-USER \(rule): 8080/tcp"
            ]
        )
    }

    /// What stands in front of the gate, or leads past it: the rules, and what is found of the one
    /// that is marked.
    struct Case: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var rules: String
        var found: [String]
        var managed = ["22/tcp"]

        init(_ name: String, _ rules: String, _ found: String..., managed: [String] = ["22/tcp"]) {
            testDescription = name
            self.rules = rules
            self.found = found
            self.managed = managed
        }
    }

    @Test(arguments: [
        Case(
            "an accept in front, which is not final",
            """
            table ip t {
              chain pre { type filter hook prerouting priority -300; tcp dport 22 accept comment "this"; }
            }
            """,
            "note accepted-before ip t pre THIS: 22/tcp"
        ),
        Case(
            "an accept for another port",
            "table ip t { chain pre { type filter hook prerouting priority -300; tcp dport 80 accept; }; }"
        ),
        Case(
            "notrack in front",
            """
            table inet t {
              chain pre { type filter hook prerouting priority raw; tcp dport 22 notrack comment "this"; }
            }
            """,
            "warning not-tracked inet t pre THIS: 22/tcp"
        ),
        Case(
            "untracked packets that a later chain does not expect",
            """
            table inet t {
              chain pre { type filter hook prerouting priority raw; tcp dport 22 notrack comment "this"; }
              chain in { type filter hook input priority filter; ct state new accept; policy drop; }
            }
            """,
            "error drops-granted inet t in: 22/tcp",
            "warning not-tracked inet t pre THIS: 22/tcp"
        ),
        Case(
            "a drop in front",
            """
            table ip t {
              chain pre { type filter hook prerouting priority raw; tcp dport { 22, 23 } drop comment "this"; }
            }
            """,
            "error drops-granted ip t pre THIS: 22/tcp"
        ),
        Case(
            "a drop at ingress",
            """
            table netdev t {
              chain in { type filter hook ingress device "eth0" priority 0; tcp dport 22 drop comment "this"; }
            }
            """,
            "error drops-granted netdev t in THIS: 22/tcp"
        ),
        Case(
            "a drop at another interface's ingress",
            """
            table netdev t {
              chain in { type filter hook ingress device "eth0p" priority 0; tcp dport 22 drop; }
            }
            """
        ),
        Case(
            "a port rewritten in front",
            """
            table ip t {
              chain pre { type nat hook prerouting priority -160; tcp dport 22 redirect to :2222 comment "this"; }
            }
            """,
            "error hides-port ip t pre THIS: 22/tcp"
        ),
        Case(
            "another way in",
            """
            table ip t {
              chain pre { type nat hook prerouting priority dstnat; tcp dport 2222 redirect to :22 comment "this"; }
            }
            """,
            "note judged-behind ip t pre THIS: 22/tcp"
        ),
        Case(
            "another way in to the host's own address, for several ports",
            """
            table ip t {
              chain pre { type nat hook prerouting priority dstnat; jump more; }
              chain more { tcp dport { 2200, 2210-2213 } dnat to 192.0.2.1:22 comment "this"; }
            }
            """,
            "note judged-behind ip t more THIS: 22/tcp"
        ),
        Case(
            "another way in that is managed itself",
            """
            table ip t {
              chain pre { type nat hook prerouting priority dstnat; tcp dport 2222 redirect to :22; }
            }
            """,
            managed: ["22/tcp", "2222/tcp"]
        ),
        Case(
            "a port of a container that happens to be the same",
            """
            table ip t {
              chain pre { type nat hook prerouting priority dstnat; tcp dport 2222 dnat to 172.17.0.2:22; }
            }
            """
        ),
        Case(
            "a dormant table",
            """
            table ip t {
              flags dormant;
              chain in { type filter hook input priority 0; policy drop; }
            }
            """
        ),
        Case(
            "a policy of a chain that only established packets pass",
            """
            table ip t {
              chain in { type filter hook input priority 0; policy drop; ct state established accept; }
            }
            """,
            "error drops-granted ip t in: 22/tcp"
        ),
        Case(
            "a drop that depends on the packet",
            """
            table ip t {
              chain in { type filter hook input priority 0; ip ttl < 5 drop comment "this"; }
            }
            """,
            "warning may-drop-granted ip t in THIS: 22/tcp"
        ),
        Case(
            "a match that is not known",
            """
            table ip t {
              chain in { type filter hook input priority 0; tcp option maxseg size 1-500 drop comment "this"; }
            }
            """,
            "warning may-drop-granted ip t in THIS: 22/tcp"
        ),
        Case(
            "a rate limit that drops what is over it",
            """
            table ip t {
              chain in { type filter hook input priority 0; tcp dport 22 limit rate over 10/minute drop; }
            }
            """
        ),
        Case(
            "a bridge's chain",
            "table bridge t { chain c { type filter hook forward priority 0; policy drop; }; }",
            "note not-understood bridge t c"
        ),
        Case(
            "part of a range",
            """
            table inet t {
              chain in { type filter hook input priority 0; policy drop; tcp dport { 22, 5985 } accept; }
            }
            """,
            "error drops-granted inet t in: 5986/tcp",
            managed: ["22/tcp", "5985-5986/tcp"]
        ),
    ])
    func whatDefeatsTheGateIsFoundOnce(_ example: Case) throws {
        var (state, listing) = try HostState.loaded(example.rules)
        state.listeners.append(.init(transport: 6, address: [0, 0, 0, 0], port: 5986))
        let isMarked = example.rules.contains("comment \"this\"")
        let rule = isMarked ? try handle(of: "comment \"this\"", in: listing) : ""
        let expected = example.found.map { $0.replacing("THIS", with: rule) }
        #expect(findings(state, try situation(example.managed)) == expected)
    }
}

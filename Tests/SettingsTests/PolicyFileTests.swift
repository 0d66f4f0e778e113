import Policy
import Settings
import Testing

@Suite struct PolicyFileTests {
    @Test func readsEveryKey() throws {
        let text = """
            policies:
              - name: ssh
                description: SSH for operators
                ports: [22/tcp, "2222-2223/any"]
                allowed_sources: [10.0.0.0/8, "2001:db8::/32"]
                max_duration: PT4H
                default_duration: 1h
                widest_source: { ipv4: 25, ipv6: 65 }
                requesters: ["group:ops", alice]
                approvals: 2
                approvers: ["group:leads"]
                pending_for: 20m
                reason: required
                reason_min_length: 10
                ticket_pattern: '^OPS-[0-9]+$'
                sessions: cut
                udp_sessions: keep
                max_active_per_requester: 5
                enabled: false
            """
        let expected = AccessPolicy(
            name: "ssh",
            description: "SSH for operators",
            ports: try [PortRange(parsing: "22/tcp"), PortRange(parsing: "2222-2223/any")],
            allowedSources: try [CIDR(parsing: "10.0.0.0/8"), CIDR(parsing: "2001:db8::/32")],
            maxDuration: .seconds(14_400),
            defaultDuration: .seconds(3_600),
            widestSource: WidestSource(ipv4: 25, ipv6: 65),
            requesters: [.group("ops"), .user("alice")],
            approvals: 2,
            approvers: [.group("leads")],
            pendingFor: .seconds(1_200),
            reason: .required,
            reasonMinLength: 10,
            ticketPattern: try TicketPattern(parsing: "^OPS-[0-9]+$"),
            sessions: .cut,
            udpSessions: .keep,
            maxActivePerRequester: 5,
            enabled: false
        )
        #expect(try AgentConfiguration.checkPolicies(text: text, named: "p.yaml") == [expected])
    }

    @Test func leavesDefaultsForWhatIsNotThere() throws {
        let read = try AgentConfiguration.checkPolicies(text: policy(), named: "p.yaml")
        #expect(read == [AccessPolicy(name: "ssh", ports: [try PortRange(parsing: "22/tcp")])])
        let shorter = try AgentConfiguration.checkPolicies(
            text: policy("max_duration: 5m", "widest_source: {ipv6: 0}"),
            named: "p.yaml"
        )
        #expect(shorter.first?.defaultDuration == .seconds(300))
        #expect(shorter.first?.widestSource == WidestSource(ipv4: 24, ipv6: 0))
    }

    @Test(arguments: ["", "# nothing yet\n", "policies: []", "\u{FEFF}policies: []\r\n"])
    func aFileWithoutPoliciesIsRefused(text: String) throws {
        let error = #expect(throws: ConfigurationError.self) {
            try AgentConfiguration.checkPolicies(text: text, named: "p.yaml")
        }
        #expect(error?.description.hasPrefix("p.yaml: policies: there is no policy here") == true)
    }

    @Test(arguments: [
        ("requester: [alice]", "requester: unknown key; did you mean requesters?"),
        ("max-duration: 3h", "max-duration: unknown key; did you mean max_duration?"),
        (
            "color: red",
            "color: unknown key; known are name, description, ports, hosts, "
                + "allowed_sources, max_duration, default_duration, widest_source, requesters, approvals, approvers, "
                + "pending_for, reason, reason_min_length, ticket_pattern, sessions, "
                + "udp_sessions, max_active_per_requester, enabled"
        ),
        (
            "<<: {enabled: true}",
            "<<: unknown key; known are name, description, ports, hosts, "
                + "allowed_sources, max_duration, default_duration, widest_source, requesters, "
                + "approvals, approvers, pending_for, reason, reason_min_length, ticket_pattern, "
                + "sessions, udp_sessions, max_active_per_requester, enabled"
        ),
        ("Enabled: true", "Enabled: unknown key; did you mean enabled?"),
    ])
    func refusesUnknownKeys(line: String, expected: String) {
        #expect(faults(policy(line)) == ["p.yaml:4:5: policies[0].\(expected)"])
    }

    @Test(arguments: [
        (
            "description: 123",
            "18: policies[0].description: must be text, and YAML takes this for something else; write it as \"123\""
        ),
        (
            "description: yes",
            "18: policies[0].description: must be text, and YAML takes this for something else; write it as \"yes\""
        ),
        (
            "description: 0o17",
            "18: policies[0].description: must be text, and YAML takes this for something else; write it as \"0o17\""
        ),
        (
            "description:",
            "17: policies[0].description: has no value; write text or leave the key out"
        ),
        (
            "description: ~",
            "18: policies[0].description: has no value; write text or leave the key out"
        ),
        ("description: ''", "18: policies[0].description: must not be empty"),
        (
            "description: \"a\\nb\"",
            "18: policies[0].description: must be one line without control characters"
        ),
        (
            "description: \"a\\u202Eb\"",
            "18: policies[0].description: must be one line without control characters"
        ),
        (
            "description: [a]", "18: policies[0].description: must be text, not a list"
        ),
        (
            "description: !!binary YQ==",
            "18: policies[0].description: must be text without a YAML tag"
        ),
        (
            "allowed_sources: 10.0.0.0/8",
            "22: policies[0].allowed_sources: must be a list like [10.0.0.0/8], not a single value"
        ),
        ("allowed_sources: []", "22: policies[0].allowed_sources: must not be empty"),
        (
            "allowed_sources:",
            "21: policies[0].allowed_sources: must be a list like [10.0.0.0/8], not nothing"
        ),
        (
            "allowed_sources: [10.0.0.0/33]",
            "23: policies[0].allowed_sources[0]: cannot read \"10.0.0.0/33\": the prefix length must be a number 0...32; did you mean 10.0.0.0/32?"
        ),
        (
            "allowed_sources: ['::/0', 10.0.0.1/8]",
            "31: policies[0].allowed_sources[1]: cannot read \"10.0.0.1/8\": bits are set behind the prefix; write 10.0.0.0/8 for the range or 10.0.0.1/32 for the one address; did you mean 10.0.0.0/8?"
        ),
        ("max_duration: 4m", "19: policies[0].max_duration: must be 5m...24h, not 4m"),
        ("max_duration: 25h", "19: policies[0].max_duration: must be 5m...24h, not 25h"),
        (
            "max_duration: 180",
            "19: policies[0].max_duration: cannot read \"180\": write a duration like 45m, 1h30m, 90s, 2d or PT1H30M; did you mean 180m?"
        ),
        (
            "max_duration: {h: 3}",
            "19: policies[0].max_duration: must be a duration like 45m, not a mapping"
        ),
        (
            "default_duration: 4h",
            "23: policies[0].default_duration: must be at most max_duration, which is 3h"
        ),
        (
            "widest_source: 24",
            "20: policies[0].widest_source: must be a mapping of keys to values, not a single value"
        ),
        (
            "widest_source: {ipv4: 33}",
            "27: policies[0].widest_source.ipv4: must be a whole number 0...32 in decimal digits"
        ),
        (
            "widest_source: {ipv4: 024}",
            "27: policies[0].widest_source.ipv4: must be a whole number 0...32 in decimal digits"
        ),
        (
            "widest_source: {ipv6: 0x40}",
            "27: policies[0].widest_source.ipv6: must be a whole number 0...128 in decimal digits"
        ),
        (
            "widest_source: {ipv5: 1}",
            "21: policies[0].widest_source.ipv5: unknown key; did you mean ipv4?"
        ),
        ("requesters: []", "17: policies[0].requesters: must not be empty"),
        (
            "requesters: [1000]",
            "18: policies[0].requesters[0]: must be text, and YAML takes this for something else; write it as \"1000\""
        ),
        (
            "requesters: ['Group:ops']",
            "18: policies[0].requesters[0]: cannot read \"Group:ops\": write a user name, group:NAME for the members of a group, or ISSUER-group:NAME for those an issuer counts to it"
        ),
        (
            "approvals: 101",
            "16: policies[0].approvals: must be a whole number 0...100 in decimal digits"
        ),
        (
            "approvals: none",
            "16: policies[0].approvals: must be a whole number 0...100 in decimal digits"
        ),
        (
            "approvers: leads",
            "16: policies[0].approvers: must be a list like [\"group:ops\"], not a single value"
        ),
        (
            "pending_for: soon",
            "18: policies[0].pending_for: cannot read \"soon\": write a duration like 45m, 1h30m, 90s, 2d or PT1H30M"
        ),
        ("reason: maybe", "13: policies[0].reason: must be required or optional, not maybe"),
        (
            "reason_min_length: -1",
            "24: policies[0].reason_min_length: must be a whole number 0...1000 in decimal digits"
        ),
        (
            "reason_min_length: '10'",
            "24: policies[0].reason_min_length: must be a whole number 0...1000 in decimal digits, without quotes"
        ),
        (
            "reason_min_length: 99999999999999999999",
            "24: policies[0].reason_min_length: must be a whole number 0...1000 in decimal digits"
        ),
        (
            "ticket_pattern: '^OPS-('",
            "21: policies[0].ticket_pattern: cannot read \"^OPS-(\": there is nothing to match; write ? behind what may be missing"
        ),
        (
            "ticket_pattern: '^OPS-\\d+$'",
            "21: policies[0].ticket_pattern: cannot read \"^OPS-\\d+$\": \\d is not known here; write [0-9]"
        ),
        (
            "udp_sessions: often",
            "19: policies[0].udp_sessions: must be keep or cut, not often"
        ),
        ("sessions: drop", "15: policies[0].sessions: must be keep or cut, not drop"),
        (
            "max_active_per_requester: 0",
            "31: policies[0].max_active_per_requester: must be a whole number 1...100000 in decimal digits"
        ),
        ("enabled: yes", "14: policies[0].enabled: must be true or false"),
        ("enabled: 'true'", "14: policies[0].enabled: must be true or false, without quotes"),
        ("? [a, b] : c", "7: policies[0]: a key must be a plain word"),
    ])
    func refusesWrongValues(line: String, expected: String) {
        #expect(faults(policy(line)) == ["p.yaml:4:\(expected)"])
    }

    @Test(arguments: [
        (
            "Ssh",
            "must be 1...63 lower-case letters, digits and hyphens, and not begin with a hyphen"
        ),
        (
            "'-ssh'",
            "must be 1...63 lower-case letters, digits and hyphens, and not begin with a hyphen"
        ),
        (
            "22/tcp",
            "must be 1...63 lower-case letters, digits and hyphens, and not begin with a hyphen"
        ),
        (
            String(repeating: "a", count: 64),
            "must be 1...63 lower-case letters, digits and hyphens, and not begin with a hyphen"
        ),
        ("'22-23'", "must have a letter, or it could be taken for a port"),
        ("123", "must be text, and YAML takes this for something else; write it as \"123\""),
    ])
    func refusesNames(name: String, expected: String) {
        #expect(
            faults("policies:\n- name: \(name)\n  ports: [22/tcp]")
                == ["p.yaml:2:9: policies[0].name: \(expected)"]
        )
    }

    @Test(arguments: [
        ("policies: [{name: a}]", ["p.yaml:1:12: policies[0].ports: is missing"]),
        ("policies: [{ports: [1/tcp]}]", ["p.yaml:1:12: policies[0].name: is missing"]),
        ("policies: [{name: a, ports: []}]", ["p.yaml:1:29: policies[0].ports: must not be empty"]),
        (
            "policies: [{name: a, ports: [22]}]",
            [
                "p.yaml:1:30: policies[0].ports[0]: cannot read \"22\": the protocol must be tcp, udp or any, in lower case after a slash; did you mean 22/tcp?"
            ]
        ),
        (
            "policies: [{name: a, ports: [0/tcp, x]}]",
            [
                "p.yaml:1:30: policies[0].ports[0]: cannot read \"0/tcp\": write PORT/PROTO or LOW-HIGH/PROTO with ports 1...65535, like 22/tcp",
                "p.yaml:1:37: policies[0].ports[1]: cannot read \"x\": write PORT/PROTO or LOW-HIGH/PROTO with ports 1...65535, like 22/tcp",
            ]
        ),
        (
            "policies: ssh",
            ["p.yaml:1:11: policies: must be a list like - name: ssh, not a single value"]
        ),
        (
            "policies: [ssh]",
            ["p.yaml:1:12: policies[0]: must be a mapping of keys to values, not a single value"]
        ),
        ("- name: ssh", ["p.yaml:1:1: must be a mapping of keys to values, not a list"]),
        ("polices: []", ["p.yaml:1:1: polices: unknown key; did you mean policies?"]),
    ])
    func refusesFilesOfAnotherShape(text: String, expected: [String]) {
        #expect(faults(text) == expected)
    }

    @Test func namesBothPlacesOfAConflict() {
        let text = """
            policies:
              - {name: a, ports: [5000-5010/tcp, 22/tcp, 22/any]}
              - {name: b, ports: [5010/any, 6000/udp]}
              - {name: a, ports: [5001/tcp, 5001/udp], enabled: false}
            """
        #expect(
            faults(text) == [
                "p.yaml:2:46: policies[0].ports[2]: 22/any overlaps 22/tcp of the same policy",
                "p.yaml:3:23: policies[1].ports[0]: 5010/any overlaps 5000-5010/tcp of policy a at p.yaml:2:23; a port can be in one policy only",
                "p.yaml:4:12: policies[2].name: a is the name of the policy at p.yaml:2:12 already",
                "p.yaml:4:23: policies[2].ports[0]: 5001/tcp overlaps 5000-5010/tcp of policy a at p.yaml:2:23; a port can be in one policy only",
            ]
        )
    }

    @Test func aPortMayBeOfSeveralPoliciesWhoseHostsDiffer() throws {
        let text = """
            policies:
              - {name: a, ports: [22/tcp]}
              - {name: b, ports: [22/any], hosts: [192.0.2.0/24, "2001:db8::/32"]}
              - {name: c, ports: [22/tcp], hosts: [198.51.100.0/24]}
            """
        #expect(faults(text) == [])
        let more =
            text + """

                  - {name: d, ports: [80/tcp, 20-30/tcp], hosts: [192.0.2.7/32]}
                  - {name: e, ports: [80/tcp, 80/any], hosts: [10.0.0.0/8, 10.1.0.0/16, 127.0.0.1]}
                  - {name: f, ports: [81/tcp], hosts: []}
                  - {name: g, ports: [82/tcp], hosts: [10.0.0.1/8]}
                """
        #expect(
            faults(more) == [
                "p.yaml:5:31: policies[3].ports[1]: 20-30/tcp overlaps 22/any of policy b at p.yaml:3:23, and both are for 192.0.2.7/32; a port of a host can be in one policy only",
                "p.yaml:6:31: policies[4].ports[1]: 80/any overlaps 80/tcp of the same policy",
                "p.yaml:6:60: policies[4].hosts[1]: 10.1.0.0/16 overlaps 10.0.0.0/8 of the same policy",
                "p.yaml:6:73: policies[4].hosts[2]: no host behind this machine has loopback addresses",
                "p.yaml:7:39: policies[5].hosts: must not be empty",
                "p.yaml:8:40: policies[6].hosts[0]: cannot read \"10.0.0.1/8\": bits are set behind the prefix; write 10.0.0.0/8 for the range or 10.0.0.1/32 for the one address; did you mean 10.0.0.0/8?",
            ]
        )
    }

    @Test func namesAllFaultsInTheOrderOfTheLines() {
        let text = """
            policies:
              - name: ssh
                max_duration: 1m
                ports: [22]
                name: ssh2
                enabled: no
              - nmae: rdp
                sessions: cut
                ports: [3389/tcp]
                sessions: keep
                sessions: keep
            """
        #expect(
            faults(text).map { $0.split(separator: ":").prefix(4).joined(separator: ":") } == [
                "p.yaml:3:19: policies[0].max_duration", "p.yaml:4:13: policies[0].ports[0]",
                "p.yaml:5:5: policies[0].name", "p.yaml:6:14: policies[0].enabled",
                "p.yaml:7:5: policies[1].nmae", "p.yaml:7:5: policies[1].name",
                "p.yaml:10:5: policies[1].sessions", "p.yaml:11:5: policies[1].sessions",
            ]
        )
        #expect(
            faults(text)[2]
                == "p.yaml:5:5: policies[0].name: the key is here twice; it is in line 2 already"
        )
    }
}

import Policy
import Testing

let noon = Timestamp(milliseconds: 1_796_126_400_000)  // 2026-12-01T12:00:00Z
let alice = local("alice", uid: 1_000, groups: ["sallyport", "ops"])
let root = local("root", uid: 0, groups: ["root"])
let requesters = RoleTable([.requester: [.group("sallyport")], .viewer: [.user("vera")]])

/// ssh and rdp with limits, winrm with the defaults, and one that is not enabled.
func hostPolicies() throws -> PolicySet {
    PolicySet(
        policies: [
            AccessPolicy(
                name: "ssh",
                ports: [try port("22/tcp")],
                allowedSources: [try cidr("10.0.0.0/8"), try cidr("2001:db8::/32")],
                maxDuration: .seconds(10_800),
                defaultDuration: .seconds(3_600),
                requesters: [.group("ops")],
                reason: .required,
                reasonMinLength: 10,
                ticketPattern: try TicketPattern(parsing: "^OPS-[0-9]+$"),
                maxActivePerRequester: 3
            ),
            AccessPolicy(
                name: "rdp",
                ports: [try port("3389/any")],
                maxDuration: .seconds(7_200),
                widestSource: WidestSource(ipv4: 32, ipv6: 128),
                requesters: [.user("bob")]
            ),
            AccessPolicy(name: "winrm", ports: [try port("5985-5986/tcp")]),
            AccessPolicy(
                name: "wide",
                ports: [try port("10000-19999/udp")],
                widestSource: WidestSource(ipv4: 0, ipv6: 0),
                maxActivePerRequester: 10_000
            ),
            AccessPolicy(name: "telnet", ports: [try port("23/tcp")], enabled: false),
        ],
        roles: requesters
    )
}

@Suite struct DecisionTests {
    private func decide(
        _ ask: Ask,
        by identity: Identity = alice,
        held: Int = 0
    ) throws -> PolicySet.Decision {
        try hostPolicies().decide(ask, by: identity, at: noon) { _ in held }
    }

    /// `field | value | allowed | message` of each violation.
    private func refusals(_ ask: Ask, held: Int = 0) throws -> [String] {
        guard case .refused(let violations) = try decide(ask, held: held) else { return [] }
        return violations.map { "\($0.field) | \($0.value) | \($0.allowed) | \($0.message)" }
    }

    private func sshAsk(
        targets: [String] = ["ssh"],
        sources: [String] = ["10.0.0.5"],
        duration: String? = nil,
        until: String? = nil,
        reason: String? = "disk is full",
        ticket: String? = "OPS-1"
    ) -> Ask {
        Ask(
            targets: targets,
            sources: sources,
            duration: duration,
            until: until,
            reason: reason,
            ticket: ticket
        )
    }

    @Test func opensEachTargetForEachSourceOnce() throws {
        let ask = sshAsk(
            targets: ["ssh", "winrm", "22/tcp", "5985/tcp"],
            sources: ["10.0.0.5", "10.0.0.5/32", "2001:db8::/64"]
        )
        var expected: [Opening] = []
        for (policy, text) in [
            ("ssh", "22/tcp"), ("winrm", "5985-5986/tcp"), ("winrm", "5985/tcp"),
        ] {
            for source in ["10.0.0.5/32", "2001:db8::/64"] {
                expected.append(
                    Opening(policy: policy, port: try port(text), source: try cidr(source))
                )
            }
        }
        #expect(try decide(ask) == .open(expected, for: .seconds(3_600), from: nil))
    }

    @Test(
        arguments: [
            (nil, nil, 3_600), ("45m", nil, 2_700), ("3s", nil, 3), ("3h", nil, 10_800),
            (nil, "2026-12-01T12:00:01Z", 1), (nil, "2026-12-01T16:00:00+01:00", 10_800),
        ] as [(String?, String?, Int)]
    )
    func opensForTheTimeAsked(duration: String?, until: String?, seconds: Int) throws {
        let decision = try decide(sshAsk(duration: duration, until: until))
        guard case .open(_, let time, _) = decision else {
            Issue.record("\(decision)")
            return
        }
        #expect(time == .seconds(seconds))
    }

    @Test(arguments: [
        (
            "shh",
            "targets[0] | shh | ssh | cannot open shh: there is no such policy; did you mean "
                + "ssh? what can be asked for: ssh, rdp, winrm, wide"
        ),
        (
            "postgres",
            "targets[0] | postgres | ssh, rdp, winrm, wide | cannot open postgres: there "
                + "is no such policy; what can be asked for: ssh, rdp, winrm, wide"
        ),
        (
            "22",
            "targets[0] | 22 | 22/tcp | cannot open 22: there is no such policy; did you mean "
                + "22/tcp? what can be asked for: ssh, rdp, winrm, wide"
        ),
        (
            "telnet",
            "targets[0] | telnet | ssh, rdp, winrm, wide | cannot open telnet: the policy is "
                + "not enabled; what can be asked for: ssh, rdp, winrm, wide"
        ),
        (
            "23/tcp",
            "targets[0] | 23/tcp | 22/tcp, 3389/any, 5985-5986/tcp, 10000-19999/udp | cannot "
                + "open 23/tcp: no policy manages it; managed ports are 22/tcp, 3389/any, "
                + "5985-5986/tcp, 10000-19999/udp"
        ),
        (
            "20-25/any",
            "targets[0] | 20-25/any | 22/tcp | cannot open 20-25/any: no policy manages "
                + "all of it; 22/tcp can be asked for"
        ),
        (
            "22/TCP",
            "targets[0] | 22/TCP | 22/tcp | cannot open 22/TCP: the protocol must be tcp, "
                + "udp or any, in lower case after a slash"
        ),
        (
            "wide",
            "targets[0] | wide | 10000-11023/udp | cannot open 10000-19999/udp: one grant "
                + "covers at most 1024 ports; ask for a narrower range like 10000-11023/udp"
        ),
    ])
    func refusesTargets(target: String, expected: String) throws {
        #expect(try refusals(sshAsk(targets: [target])) == [expected])
    }

    @Test(arguments: [
        (
            "11.0.0.1",
            "sources[0] | 11.0.0.1/32 | 10.0.0.0/8, 2001:db8::/32 | cannot open for "
                + "11.0.0.1/32: policy ssh allows only sources in 10.0.0.0/8, 2001:db8::/32"
        ),
        (
            "10.1.0.0/16",
            "sources[0] | 10.1.0.0/16 | /24 | cannot open for 10.1.0.0/16: "
                + "policy ssh allows ranges of /24 and narrower"
        ),
        (
            "10.0.0.5/24",
            "sources[0] | 10.0.0.5/24 | 10.0.0.0/24 | cannot read 10.0.0.5/24 as a "
                + "source: bits are set behind the prefix; write 10.0.0.0/24 for the range or "
                + "10.0.0.5/32 for the one address"
        ),
        (
            "me",
            "sources[0] | me | an address or range, like 192.0.2.1 or 2001:db8::/64 | cannot "
                + "read me as a source: it is not an address; write one like 192.0.2.1 or 2001:db8::1"
        ),
    ])
    func refusesSources(source: String, expected: String) throws {
        #expect(try refusals(sshAsk(sources: [source])) == [expected])
    }

    /// What is told as allowed is nothing that just happens to be narrow enough.
    @Test func suggestsNoRangeThatNobodyMeant() throws {
        let ask = sshAsk(targets: ["ssh", "rdp"], sources: ["0.0.0.0/0"])
        #expect(
            try refusals(ask) == [
                "sources[0] | 0.0.0.0/0 | 10.0.0.0/8, 2001:db8::/32 | cannot open for 0.0.0.0/0: "
                    + "policy ssh allows only sources in 10.0.0.0/8, 2001:db8::/32",
                "sources[0] | 0.0.0.0/0 | /32 | cannot open for 0.0.0.0/0: policy rdp allows "
                    + "ranges of /32 and narrower",
            ]
        )
    }

    @Test(arguments: [
        ("127.0.0.1", "loopback"), ("127.0.0.0/8", "loopback"), ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"), ("0.0.0.0", "unspecified"), ("::", "unspecified"),
        ("224.0.0.1", "multicast"), ("239.1.0.0/16", "multicast"), ("ff02::1", "multicast"),
        ("::2", "reserved"), ("::/64", "reserved"),
        ("::192.0.2.1", "reserved"), ("64:ff9b::1", nil), ("126.255.255.255", nil),
        ("128.0.0.0", nil), ("240.0.0.1", "reserved"),
        ("240.0.0.0/4", "reserved"), ("255.255.255.255", "broadcast"), ("223.255.255.255", nil),
        ("0.0.0.0/0", nil), ("::/0", nil),
    ])
    func refusesSourcesThatNobodyComesFrom(source: String, kind: String?) throws {
        let messages = try refusals(Ask(targets: ["wide"], sources: [source]))
            .filter { $0.hasPrefix("sources[0]") }
        let range = try cidr(source)
        #expect(
            messages
                == (kind.map {
                    [
                        "sources[0] | \(range) | an address that others have | cannot open for "
                            + "\(range): nobody comes from \($0) addresses"
                    ]
                } ?? [])
        )
    }

    @Test(
        arguments: [
            (
                "4h", nil,
                ["duration | 4h | at most 3h | cannot open for 4h: policy ssh allows at most 3h"]
            ),
            (
                "90", nil,
                [
                    "duration | 90 | 90m | cannot read 90 as a duration: write a duration like 45m, 1h30m, "
                        + "90s, 2d or PT1H30M"
                ]
            ),
            (
                "soon", nil,
                [
                    "duration | soon | at most 3h | cannot read soon as a duration: write a duration like "
                        + "45m, 1h30m, 90s, 2d or PT1H30M"
                ]
            ),
            (
                nil, "2026-12-01T12:00:00Z",
                [
                    "until | 2026-12-01T12:00:00Z | after 2026-12-01T12:00:00Z | cannot open until "
                        + "2026-12-01T12:00:00Z: it is over; now it is 2026-12-01T12:00:00Z"
                ]
            ),
            (
                nil, "2026-12-01T15:00:00.001Z",
                [
                    "until | 2026-12-01T15:00:00.001Z | at most 2026-12-01T15:00:00Z | cannot open until "
                        + "2026-12-01T15:00:00.001Z: policy ssh allows at most 3h, which is until "
                        + "2026-12-01T15:00:00Z"
                ]
            ),
            (
                nil, "tomorrow",
                [
                    "until | tomorrow | at most 2026-12-01T15:00:00Z | cannot read tomorrow as an instant: "
                        + "write an instant of RFC 3339 like 2026-12-01T17:00:00Z or with an offset"
                ]
            ),
            (
                "4h", "2026-12-01T13:00:00Z",
                [
                    "duration | 4h | at most 3h | cannot open for 4h: policy ssh allows at most 3h",
                    "until | 2026-12-01T13:00:00Z | duration or until | cannot take a duration and an end; "
                        + "leave one of them out",
                ]
            ),
        ] as [(String?, String?, [String])]
    )
    func refusesTimes(duration: String?, until: String?, expected: [String]) throws {
        #expect(try refusals(sshAsk(duration: duration, until: until)) == expected)
    }

    @Test(
        arguments: [
            (
                nil,
                "reason |  | at least 10 letters | cannot open without a reason: policy ssh requires one"
            ),
            (
                " \n ",
                "reason |  | at least 10 letters | cannot open without a reason: policy ssh requires one"
            ),
            (
                "  disk full ",
                "reason | disk full | at least 10 letters | cannot take a reason of 8 "
                    + "letters: policy ssh asks for at least 10 letters"
            ),
            (
                ".... . . . . . ....",
                "reason | .... . . . . . .... | at least 10 letters | cannot take a reason of 0 "
                    + "letters: policy ssh asks for at least 10 letters"
            ),
            (
                "12345678901 ok",
                "reason | 12345678901 ok | at least 10 letters | cannot take a reason of 2 "
                    + "letters: policy ssh asks for at least 10 letters"
            ),
            (
                "disk\nis full",
                "reason | disk\\u{a}is full | no control characters | cannot take a reason "
                    + "with control characters or line breaks"
            ),
            (
                "disk \u{202E}is full",
                "reason | disk \\u{202e}is full | no control characters | cannot "
                    + "take a reason with control characters or line breaks"
            ),
            (
                String(repeating: "x", count: 1_001),
                "reason | \(String(repeating: "x", count: 80))... | "
                    + "at most 1000 characters | cannot take a reason this long: at most 1000 characters "
                    + "and 4000 bytes are kept"
            ),
            // One character of many scalars.
            (
                "e" + String(repeating: "\u{301}", count: 2_000),
                "reason | e\(String(repeating: "\u{301}", count: 79))... | "
                    + "at most 1000 characters | cannot take a reason this long: at most 1000 characters "
                    + "and 4000 bytes are kept"
            ),
        ] as [(String?, String)]
    )
    func refusesReasons(reason: String?, expected: String) throws {
        #expect(try refusals(sshAsk(reason: reason)) == [expected])
    }

    @Test(arguments: [
        "disk is full", "διορθώνω τον δίσκο", "修复生产数据库的磁盘故障", "ремонт диска",
        "एक दो तीन चार पाँच छह सात आठ", "إصلاح القرص الصلب",
    ])
    func countsLettersOfAnyScript(reason: String) throws {
        #expect(try refusals(sshAsk(reason: reason)).isEmpty)
    }

    /// Where no policy asks for a reason, what is given as one is nobody's business.
    @Test(arguments: ["42", "...", nil]) func takesAnyReasonThatIsOptional(reason: String?) throws {
        let ask = Ask(targets: ["winrm"], sources: ["10.0.0.1"], reason: reason)
        #expect(try refusals(ask).isEmpty)
    }

    @Test(
        arguments: [
            (
                nil,
                "ticket |  | ^OPS-[0-9]+$ | cannot open without a ticket: policy ssh requires one that matches ^OPS-[0-9]+$"
            ),
            (
                "",
                "ticket |  | ^OPS-[0-9]+$ | cannot open without a ticket: policy ssh requires one that matches ^OPS-[0-9]+$"
            ),
            (
                "DEV-1",
                "ticket | DEV-1 | ^OPS-[0-9]+$ | cannot take ticket DEV-1: policy ssh asks for one that matches ^OPS-[0-9]+$"
            ),
            (
                "OPS-1\n",
                "ticket | OPS-1\\u{a} | no control characters | cannot take a ticket with control characters or line breaks"
            ),
            (
                "OPS-" + String(repeating: "1", count: 125),
                "ticket | OPS-\(String(repeating: "1", count: 76))... | "
                    + "at most 128 characters | cannot take a ticket this long: at most 128 characters and 512 bytes are kept"
            ),
        ] as [(String?, String)]
    )
    func refusesTickets(ticket: String?, expected: String) throws {
        #expect(try refusals(sshAsk(ticket: ticket)) == [expected])
    }

    @Test func namesEveryBrokenLimitInTheOrderOfTheFields() throws {
        let ask = Ask(
            targets: ["ssh", "nope", "rdp"],
            sources: ["11.0.0.1", "x", "10.0.0.0/24"],
            duration: "5h",
            until: "never",
            reason: "because",
            ticket: "1"
        )
        guard case .refused(let violations) = try decide(ask, held: 4) else {
            Issue.record("the request was not refused")
            return
        }
        #expect(
            violations.map(\.field) == [
                "targets[1]", "targets", "sources[0]", "sources[1]", "sources[2]", "duration",
                "until", "until", "reason", "ticket",
            ]
        )
    }

    @Test func countsLiveGrantsAndNewOnes() throws {
        let ask = sshAsk(sources: ["10.0.0.5", "10.0.0.6"])
        guard case .open = try decide(ask, held: 1) else {
            Issue.record("three of three grants were refused")
            return
        }
        #expect(
            try refusals(ask, held: 2) == [
                "targets | 2 grants | at most 1 grants | cannot open 2 more under policy ssh: "
                    + "alice holds 2 of at most 3 grants; `sallyport close ID` makes room"
            ]
        )
        #expect(try refusals(ask, held: .max).count == 1)
        #expect(try refusals(ask, held: .min).isEmpty)
    }

    @Test func boundsHowMuchOneRequestCosts() throws {
        let many = (0..<300).map { "10.0.\($0 / 256).\($0 % 256)" }
        #expect(
            try refusals(sshAsk(targets: [], sources: [])).map { $0.split(separator: ":")[0] } == [
                "targets | 0 targets | ssh | cannot open 0 targets",
                "sources | 0 sources | at least 1 and at most 256 sources | cannot open for 0 sources",
            ]
        )
        let targets = (10_000..<10_065).map { "\($0)/udp" }
        #expect(
            try refusals(sshAsk(targets: targets, sources: many)).map {
                $0.split(separator: ":")[0]
            } == [
                "targets | 65 targets | at most 64 targets | cannot open 65 targets",
                "targets | 16384 grants | at most 1024 grants | cannot open 64 ports or ranges for 256 sources in one request",
                "targets | 16384 ports | at most 4096 ports | cannot open 16384 ports in one request, each protocol and source counted; ask for fewer or narrower ones",
                "sources | 300 sources | at least 1 and at most 256 sources | cannot open for 300 sources",
            ]
        )
    }

    @Test func whoMayNotAskIsTold() throws {
        let vera = local("vera", uid: 2)
        #expect(
            try decide(sshAsk(), by: vera)
                == .notPermitted("cannot ask for access: vera is not a requester")
        )
        let rdp = Ask(targets: ["winrm", "rdp"], sources: ["10.0.0.5"])
        #expect(
            try decide(rdp) == .notPermitted("cannot open rdp: alice is not among its requesters")
        )
        // A limit that is broken as well is told first.
        #expect(try refusals(Ask(targets: ["rdp"], sources: ["10.0.0.0/24"])).count == 1)
    }

    @Test func anAdminMayAskEverywhereWithinTheLimits() throws {
        guard case .open = try decide(Ask(targets: ["rdp"], sources: ["10.0.0.5"]), by: root) else {
            Issue.record("root was refused")
            return
        }
        guard case .refused = try decide(Ask(targets: ["ssh"], sources: ["10.0.0.5"]), by: root)
        else {
            Issue.record("root needs no reason")
            return
        }
    }
}

import Policy
import Testing

struct OwnSessionTests {
    @Test(
        arguments: [
            ("198.51.100.7 52044 192.0.2.1 22", "198.51.100.7 52044 192.0.2.1 22"),
            ("2001:DB8::7 1 2001:db8::1 65535", "2001:db8::7 1 2001:db8::1 65535"),
            ("fe80::1%eth0 52044 fe80::2%eth0 22", "fe80::1 52044 fe80::2 22"),
        ]
    )
    func readsWhatSSHSets(text: String, form: String) throws {
        #expect(try OwnSession(parsing: text).description == form)
    }

    @Test(
        arguments: [
            "", "198.51.100.7", "198.51.100.7 52044 22", "198.51.100.7 52044 192.0.2.1 22 ",
            "198.51.100.7 0 192.0.2.1 22", "198.51.100.7 52044 192.0.2.1 65536",
            "host 52044 192.0.2.1 22", "198.51.100.7  52044 192.0.2.1 22",
        ]
    )
    func refusesWhatIsNoSession(text: String) {
        #expect(throws: ParseError.self) { try OwnSession(parsing: text) }
    }

    @Test func saysWhoGetsToAPort() throws {
        let policies = PolicySet(
            policies: [
                AccessPolicy(name: "ssh", ports: [try PortRange(parsing: "22-23/tcp")]),
                AccessPolicy(
                    name: "off",
                    ports: [try PortRange(parsing: "24/tcp")],
                    enabled: false
                ),
                AccessPolicy(name: "dns", ports: [try PortRange(parsing: "53/udp")]),
                AccessPolicy(
                    name: "lab",
                    ports: [try PortRange(parsing: "22/tcp"), try PortRange(parsing: "80/udp")],
                    hosts: [try CIDR(parsing: "192.0.2.0/24")]
                ),
            ],
            roles: RoleTable([:])
        )
        func isLetIn(
            _ port: UInt16,
            _ glass: [String] = [],
            _ grants: [Grant] = [],
            at host: String = "203.0.113.1"
        ) throws -> Bool {
            policies.lets(
                try OwnSession(parsing: "198.51.100.7 52044 \(host) \(port)"),
                breakGlass: try glass.map { try CIDR(parsing: $0) },
                grants: grants
            )
        }
        func grant(_ port: String, _ source: String, at host: String? = nil) throws -> Grant {
            Grant(
                id: Grant.ID(request: 1, ordinal: 1),
                policy: "ssh",
                port: try PortRange(parsing: port),
                host: try host.map { try IPAddress(parsing: $0) },
                source: try CIDR(parsing: source),
                requester: Requester(subject: .local(uid: 1000), name: "alice"),
                startsAt: Timestamp(milliseconds: 0),
                end: GrantEnd(
                    expiresAt: Timestamp(milliseconds: 1),
                    deadline: BootTime(milliseconds: 1)
                )
            )
        }
        #expect(try !isLetIn(22))
        #expect(try isLetIn(24) && isLetIn(53) && isLetIn(80))
        #expect(try isLetIn(22, ["198.51.100.0/28"]) && !isLetIn(22, ["198.51.100.8/32"]))
        #expect(try isLetIn(23, [], [grant("22-23/tcp", "198.51.100.0/24")]))
        #expect(try !isLetIn(22, [], [grant("23/tcp", "198.51.100.7")]))
        #expect(try !isLetIn(22, [], [grant("22/tcp", "198.51.100.8")]))

        // An address of this host among the hosts of a policy is judged as theirs.
        let own = try grant("22/tcp", "198.51.100.7")
        let far = try grant("22/tcp", "198.51.100.7", at: "192.0.2.1")
        #expect(try isLetIn(22, [], [own]) && !isLetIn(22, [], [far]))
        #expect(try isLetIn(22, [], [far], at: "192.0.2.1"))
        #expect(try !isLetIn(22, [], [own], at: "192.0.2.1"))
        #expect(try !isLetIn(22, [], [far], at: "192.0.2.2"))
        #expect(try isLetIn(80, at: "192.0.2.1"))
    }
}

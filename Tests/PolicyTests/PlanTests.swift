import Policy
import Testing

@Suite struct PlanTests {
    private func grant(
        _ id: String,
        _ port: String,
        _ source: String,
        _ name: String,
        until deadline: Int64
    ) throws -> Grant {
        Grant(
            id: try Grant.ID(parsing: id),
            policy: "ssh",
            port: try PortRange(parsing: port),
            source: try cidr(source),
            requester: Requester(subject: .local(uid: 1_000), name: name),
            startsAt: Timestamp(milliseconds: 0),
            end: end(deadline)
        )
    }

    @Test func aGrantForThisMachineLetsNobodyInToAHostBehindIt() throws {
        func ends(_ address: String, _ port: UInt16) throws -> HostPort {
            HostPort(address: try IPAddress(parsing: address), port: port)
        }
        let here = try grant("1.1", "22/tcp", "198.51.100.7", "alice", until: 10)
        var there = try grant("2.1", "22/tcp", "198.51.100.7", "alice", until: 10)
        there.host = try IPAddress(parsing: "192.0.2.7")
        let plan = Plan(live: [here, there])
        var session = Session(
            transport: .tcp,
            client: try ends("198.51.100.7", 50_000),
            destination: try ends("192.0.2.7", 22)
        )
        #expect(plan.grants(lettingIn: session) == [here.id])
        session.isFar = true
        #expect(plan.grants(lettingIn: session) == [there.id])
        session.destination = try ends("192.0.2.8", 22)
        #expect(plan.grants(lettingIn: session).isEmpty)
        let policies = PolicySet(
            policies: [
                AccessPolicy(name: "ssh", ports: [here.port]),
                AccessPolicy(name: "far", ports: [here.port], hosts: [try cidr("192.0.2.0/29")]),
            ],
            roles: RoleTable([:])
        )
        #expect(policies.policy(managing: session) == nil)
        session.isFar = false
        #expect(policies.policy(managing: session)?.name == "ssh")
        session.isFar = true
        session.destination = try ends("192.0.2.7", 22)
        #expect(policies.policy(managing: session)?.name == "far")
    }

    @Test func namesARemotePersonByTheSubject() throws {
        var plan = Plan()
        var grant = try grant("5.1", "22/tcp", "198.51.100.7", "root", until: 10)
        grant.requester.subject = try Subject(issuer: "corp", id: "2")
        let request = AccessRequest(
            id: 5,
            requester: Person(
                subject: grant.requester.subject,
                name: "root",
                via: "portal",
                origin: .client(address: try IPAddress(parsing: "198.51.100.7"), session: "s")
            ),
            ask: Ask(targets: ["ssh"], sources: ["198.51.100.7"]),
            createdAt: grant.startsAt,
            idempotencyKey: nil,
            grants: [grant]
        )
        let (changes, _) = plan.apply([.opened(request)])
        #expect(lines(changes) == ["198.51.100.7/32 tcp 22 ->10 5.1 oidc:corp:2"])
    }

    private func end(_ deadline: Int64) -> GrantEnd {
        GrantEnd(
            expiresAt: Timestamp(milliseconds: deadline + 1_000_000),
            deadline: boot(deadline)
        )
    }

    private func lines(_ changes: [ElementChange]) -> [String] {
        changes.map { change in
            let key = "\(change.key.source) \(change.key.transport) \(change.key.port) "
            return switch change {
            case .open(_, let until, let label): key + "->\(until.milliseconds) \(label)"
            case .move(_, let from, let until, let label):
                key + "\(from.milliseconds)>\(until.milliseconds) \(label)"
            case .close(_, let from): key + "\(from.milliseconds)>-"
            }
        }
    }

    @Test func twoGrantsShareAnElementUntilTheLaterEnds() throws {
        var plan = Plan()
        let early = try grant("17.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        let late = try grant("18.1", "22/tcp", "10.0.0.5", "bob", until: 200)
        let again = try grant("19.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        #expect(
            lines(plan.apply([opened([early])]).changes) == ["10.0.0.5/32 tcp 22 ->100 17.1 alice"]
        )
        #expect(
            lines(plan.apply([opened([late])]).changes) == ["10.0.0.5/32 tcp 22 100>200 18.1 bob"]
        )
        #expect(lines(plan.apply([closed(early.id)]).changes) == [])
        #expect(lines(plan.apply([opened([again])]).changes) == [])
        #expect(
            lines(plan.apply([closed(late.id)]).changes) == [
                "10.0.0.5/32 tcp 22 200>100 19.1 alice"
            ]
        )
        #expect(lines(plan.apply([closed(again.id)]).changes) == ["10.0.0.5/32 tcp 22 100>-"])
    }

    @Test func aRangeOfAnyProtocolIsAnElementForEachPortAndProtocol() throws {
        var plan = Plan()
        let wide = try grant("1.1", "5985-5986/any", "::/0", "alice", until: 7)
        #expect(
            lines(plan.apply([opened([wide])]).changes) == [
                "::/0 tcp 5985 ->7 1.1 alice", "::/0 tcp 5986 ->7 1.1 alice",
                "::/0 udp 5985 ->7 1.1 alice", "::/0 udp 5986 ->7 1.1 alice",
                "::/0 sctp 5985 ->7 1.1 alice", "::/0 sctp 5986 ->7 1.1 alice",
                "::/0 udpLite 5985 ->7 1.1 alice", "::/0 udpLite 5986 ->7 1.1 alice",
            ]
        )
    }

    @Test func aBatchAnswersOnlyWhatIsDifferentInTheEnd() throws {
        var plan = Plan()
        let old = try grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        let new = try grant("2.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        let other = try grant("3.1", "22/tcp", "10.0.0.6", "alice", until: 100)
        _ = plan.apply([opened([old])])
        #expect(
            plan.apply([closed(old.id), opened([new]), opened([other]), closed(other.id)])
                .changes.isEmpty
        )
        #expect(plan.live(port: old.port, source: old.source, of: .local(uid: 1_000)) == new.id)
    }

    @Test func whatIsNotLiveIsPassedOver() throws {
        var plan = Plan()
        let id = Grant.ID(request: 1, ordinal: 1)
        let (changes, undo) = plan.apply([
            closed(id), .takenBack(id, until: end(1)), .shortened(id, deadline: boot(1)),
        ])
        #expect(changes.isEmpty && plan.undo(undo).isEmpty)
        #expect(plan.nextDeadline == nil && plan.takeEnded(at: boot(.max)).isEmpty)
    }

    @Test func aClockSetForwardShortensAndOneSetBackDoesNot() throws {
        // Opened at boot 0 and wall 1,000,000: both ends are 100 ms away.
        var plan = Plan(live: [try grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100)])
        let back = Moment(wall: Timestamp(milliseconds: 0), boot: boot(10))
        #expect(plan.shortened(at: back).isEmpty)
        let forward = Moment(wall: Timestamp(milliseconds: 1_000_070), boot: boot(10))
        #expect(
            lines(plan.apply(plan.shortened(at: forward)).changes)
                == ["10.0.0.5/32 tcp 22 100>40 1.1 alice"]
        )
        #expect(plan.nextDeadline == boot(40))
        #expect(plan.takeEnded(at: boot(39)).isEmpty)
        #expect(plan.takeEnded(at: boot(40)).map(\.description) == ["1.1"])
    }

    @Test func aGrantWhoseEndWasMovedAwayAndBackEndsOnce() throws {
        let grant = try grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        var plan = Plan(live: [grant])
        _ = plan.apply([
            .extended(grant.id, from: grant.end, until: end(200), by: alice.person),
            .takenBack(grant.id, until: grant.end),
        ])
        #expect(plan.takeEnded(at: boot(300)) == [grant.id])
    }

    @Test func aPlanOfLiveGrantsIsTheOneThatOpeningThemMakes() throws {
        let grants = try [
            grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100),
            grant("1.2", "80-81/any", "10.0.0.0/24", "alice", until: 50),
            grant("2.1", "22/tcp", "10.0.0.5", "bob", until: 70),
        ]
        var one = Plan()
        _ = one.apply([opened(Array(grants[..<2])), opened([grants[2]])])
        var restored = Plan(live: grants)
        #expect(Set(restored.allGrants) == Set(one.allGrants))
        #expect(restored.elementStates == one.elementStates)
        #expect(restored.takeEnded(at: boot(100)) == one.takeEnded(at: boot(100)))
    }

    @Test func keysAndSubjectsAreSmall() {
        #expect(MemoryLayout<CIDR>.stride == 24)
        #expect(MemoryLayout<ElementKey>.stride == 32)
        #expect(MemoryLayout<Subject>.stride == 8)
    }
}

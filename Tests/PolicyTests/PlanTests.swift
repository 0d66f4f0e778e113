import Policy
import Testing

@Suite struct PlanTests {
    private func grant(
        _ id: String,
        _ port: String,
        _ source: String,
        _ user: String,
        until deadline: Int64
    ) throws -> Grant {
        Grant(
            id: try Grant.ID(parsing: id),
            policy: "ssh",
            port: try PortRange(parsing: port),
            source: try cidr(source),
            requester: Requester(uid: 1_000, user: user),
            startsAt: Timestamp(milliseconds: 0),
            expiresAt: Timestamp(milliseconds: deadline + 1_000_000),
            deadline: deadline
        )
    }

    private func lines(_ changes: [ElementChange]) -> [String] {
        changes.map { change in
            let ends = [change.before, change.after].map { $0.map(String.init) ?? "-" }
            return "\(change.key.source) \(change.key.transport) \(change.key.port) "
                + ends.joined(separator: ">") + " " + change.label
        }
    }

    @Test func twoGrantsShareAnElementUntilTheLaterEnds() throws {
        var plan = Plan()
        let early = try grant("17.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        let late = try grant("18.1", "22/tcp", "10.0.0.5", "bob", until: 200)
        #expect(
            lines(plan.apply([.open(early)]).changes) == ["10.0.0.5/32 tcp 22 ->100 17.1 alice"]
        )
        #expect(lines(plan.apply([.open(late)]).changes) == ["10.0.0.5/32 tcp 22 100>200 18.1 bob"])
        #expect(lines(plan.apply([.close(early.id)]).changes) == [])
        #expect(lines(plan.apply([.open(early)]).changes) == [])
        #expect(
            lines(plan.apply([.close(late.id)]).changes) == [
                "10.0.0.5/32 tcp 22 200>100 17.1 alice"
            ]
        )
        #expect(lines(plan.apply([.close(early.id)]).changes) == ["10.0.0.5/32 tcp 22 100>- "])
    }

    @Test func aRangeOfAnyProtocolIsAnElementForEachPortAndProtocol() throws {
        var plan = Plan()
        let wide = try grant("1.1", "5985-5986/any", "::/0", "alice", until: 7)
        #expect(
            lines(plan.apply([.open(wide)]).changes) == [
                "::/0 tcp 5985 ->7 1.1 alice", "::/0 tcp 5986 ->7 1.1 alice",
                "::/0 udp 5985 ->7 1.1 alice", "::/0 udp 5986 ->7 1.1 alice",
            ]
        )
    }

    @Test func aBatchAnswersOnlyWhatIsDifferentInTheEnd() throws {
        var plan = Plan()
        let old = try grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        let new = try grant("2.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        let other = try grant("3.1", "22/tcp", "10.0.0.6", "alice", until: 100)
        _ = plan.apply([.open(old)])
        #expect(
            plan.apply([.close(old.id), .open(new), .open(other), .close(other.id)]).changes.isEmpty
        )
        #expect(plan.live(port: old.port, source: old.source, uid: 1_000) == new.id)
    }

    @Test func whatIsNotLiveIsPassedOver() throws {
        var plan = Plan()
        let id = Grant.ID(request: 1, ordinal: 1)
        let end = GrantChange.setEnd(id, expiresAt: Timestamp(milliseconds: 1), deadline: 1)
        let (changes, inverse) = plan.apply([.close(id), end])
        #expect(changes.isEmpty && inverse.isEmpty)
        #expect(plan.nextDeadline == nil && plan.takeEnded(at: .max).isEmpty)
    }

    @Test func aClockSetForwardShortensAndOneSetBackDoesNot() throws {
        var plan = Plan()
        // Opened at boot 0 and wall 1,000,000: both ends are 100 ms away.
        _ = plan.apply([.open(try grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100))])
        let back = Moment(wall: Timestamp(milliseconds: 0), boot: 10)
        #expect(plan.rebase(at: back).changes.isEmpty)
        let forward = Moment(wall: Timestamp(milliseconds: 1_000_070), boot: 10)
        #expect(
            lines(plan.rebase(at: forward).changes) == ["10.0.0.5/32 tcp 22 100>40 1.1 alice"]
        )
        #expect(plan.nextDeadline == 40)
        #expect(plan.takeEnded(at: 39).isEmpty)
        #expect(plan.takeEnded(at: 40).map(\.description) == ["1.1"])
    }

    @Test func aGrantWhoseEndWasMovedAwayAndBackEndsOnce() throws {
        var plan = Plan()
        let grant = try grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100)
        let late = GrantChange.setEnd(grant.id, expiresAt: grant.expiresAt, deadline: 200)
        let back = GrantChange.setEnd(grant.id, expiresAt: grant.expiresAt, deadline: 100)
        _ = plan.apply([.open(grant), late, back])
        #expect(plan.takeEnded(at: 300) == [grant.id])
    }

    @Test func aPlanOfLiveGrantsIsTheOneThatOpeningThemMakes() throws {
        let grants = try [
            grant("1.1", "22/tcp", "10.0.0.5", "alice", until: 100),
            grant("1.2", "80-81/any", "10.0.0.0/24", "alice", until: 50),
            grant("2.1", "22/tcp", "10.0.0.5", "bob", until: 70),
        ]
        var opened = Plan()
        _ = opened.apply(grants.map(GrantChange.open))
        var restored = Plan(live: grants)
        #expect(Set(restored.allGrants) == Set(opened.allGrants))
        let texts = [opened, restored].map { plan in
            plan.elements.map { "\($0.key) \($0.end) \($0.label)" }.sorted()
        }
        #expect(texts[0] == texts[1])
        #expect(restored.takeEnded(at: 100) == opened.takeEnded(at: 100))
    }

    @Test func elementKeysAreSmall() {
        #expect(MemoryLayout<CIDR>.stride == 24)
        #expect(MemoryLayout<ElementKey>.stride == 24)
    }
}

import API
import Access
import Policy
import TestSupport
import Testing

@testable import Agent
@testable import Ledger

@Suite(.blocking) struct RecoveryTests {
    // MARK: The decision

    /// No grant comes back after its end or with more time than it had, whatever became of the
    /// clocks; each is either live or ended.
    @Test(arguments: 0..<40) func neverReopensAndNeverLengthens(_ seed: UInt64) throws {
        var random = Generator(seed: seed)
        let started = Moment(
            wall: Timestamp(milliseconds: 1_770_000_000_000),
            boot: BootTime(milliseconds: 5_000_000)
        )
        for _ in 0..<50 {
            let isOfThisBoot = random.int(0...1) == 0
            let down = Duration.milliseconds(random.int(0...7_200_000))
            let step = Duration.milliseconds(
                random.int(-7_200_000...7_200_000) * random.int(0...1)
            )
            let now = Moment(
                wall: started.wall + down + step,
                boot: isOfThisBoot
                    ? started.boot + down
                    : BootTime(milliseconds: Int64(random.int(1...10_000_000)))
            )
            let grants = try (1...random.int(1...8)).map { id in
                let length = random.int(1...7_200_000)
                let age = random.int(0...length)
                return try made(
                    Int64(id),
                    lasting: .milliseconds(length),
                    old: .milliseconds(age),
                    at: started
                )
            }
            let recovered = Recovered(
                live: grants.map { .init(grant: $0, isOfThisBoot: isOfThisBoot) },
                nextRequestID: 9,
                lastRecordedAt: started.wall
            )
            let (live, events) = recovered.settled(at: now)
            let ended = events.compactMap { event -> (Grant.ID, EndReason)? in
                if case .ended(let id, let reason, at: _, by: nil) = event {
                    (id, reason)
                } else {
                    nil
                }
            }
            #expect(Set(live.map(\.id)).union(ended.map(\.0)) == Set(grants.map(\.id)))
            #expect(live.count + ended.count == grants.count)
            for grant in live {
                let old = try #require(grants.first { $0.id == grant.id })
                let left = grant.end.deadline - now.boot
                #expect(left > .zero)
                // What is left by each clock that can be read; a clock that was set back by less
                // than the time that has passed since cannot be told from one that was not.
                #expect(left <= old.end.expiresAt - now.wall)
                #expect(left <= old.end.expiresAt - old.startsAt)
                if isOfThisBoot { #expect(left <= old.end.deadline - now.boot) }
                if step == .zero { #expect(left == old.end.deadline - started.boot - down) }
                #expect(isOfThisBoot || now.wall >= started.wall)
                #expect(old.end.expiresAt == grant.end.expiresAt)
                // What is not as the ledger has it is recorded.
                let isRecorded = events.contains {
                    switch $0 {
                    case .shortened(grant.id, grant.end.deadline): isOfThisBoot
                    case .carriedOver(grant.id, grant.end.deadline): !isOfThisBoot
                    default: false
                    }
                }
                #expect(isRecorded == (!isOfThisBoot || grant.end != old.end))
            }
            for (id, reason) in ended {
                let old = try #require(grants.first { $0.id == id })
                if reason == .clockUntrusted {
                    #expect(!isOfThisBoot && now.wall < started.wall)
                } else {
                    #expect(reason == .expired)
                    #expect(
                        old.end.expiresAt <= now.wall
                            || (isOfThisBoot && old.end.deadline <= now.boot)
                    )
                }
            }
        }
    }

    @Test func aClockBeforeAGrantsStartIsNotTrusted() throws {
        let noon = Moment(
            wall: Timestamp(milliseconds: 1_770_000_000_000),
            boot: BootTime(milliseconds: 5_000_000)
        )
        let early = Moment(wall: noon.wall + .seconds(-60), boot: BootTime(milliseconds: 1000))
        // The last thing recorded is older still: the clock was set back before the boot.
        let id = grant(1)
        let recovered = Recovered(
            live: [
                .init(
                    grant: try made(1, lasting: .seconds(60), old: .zero, at: noon),
                    isOfThisBoot: false
                )
            ],
            nextRequestID: 2,
            lastRecordedAt: noon.wall + .seconds(-120)
        )
        let (live, events) = recovered.settled(at: early)
        #expect(live.isEmpty)
        #expect(events == [.ended(id, .clockUntrusted, at: early.wall, by: nil)])
    }

    private func made(
        _ id: Int64,
        lasting length: Duration,
        old age: Duration,
        at now: Moment
    ) throws -> Grant {
        let startsAt = now.wall + (.zero - age)
        return Grant(
            id: grant(id),
            policy: "ssh",
            port: try PortRange(parsing: "22/tcp"),
            source: try CIDR(parsing: "198.51.100.\(id)"),
            requester: Requester(subject: .local(uid: 1000), name: "alice"),
            startsAt: startsAt,
            end: GrantEnd(
                expiresAt: startsAt + length,
                deadline: now.boot + (length - age)
            )
        )
    }

    // MARK: End to end

    /// A host whose agent was killed: three grants of 10, 20 and 30 minutes, one closed.
    private func hostWithoutAgent() async throws -> Host {
        let host = try Host()
        var agent: Agent? = try await host.agent()
        for minutes in [10, 20, 30] {
            try await agent?.open(ask("ssh", from: "198.51.100.\(minutes)", for: "\(minutes)m"))
        }
        try await agent?.open(ask("ssh", from: "198.51.100.99", for: "60m"))
        _ = try await agent?.revoke(request: 4, by: alice)
        agent = nil
        try await host.waitUntilAgentIsGone()
        return host
    }

    @Test func whatWasAnsweredIsOpenAgainForWhatIsLeft() async throws {
        let host = try await hostWithoutAgent()
        try host.expectOpen(["198.51.100.10": 10, "198.51.100.20": 20, "198.51.100.30": 30])
        // Neither what others removed nor what they added stays.
        try host.nft("delete", "table", "inet", "sallyport")
        host.clocks.pass(.seconds(15 * 60))
        let agent = try await host.agent()
        try host.expectOpen(["198.51.100.20": 5, "198.51.100.30": 15])
        #expect(try host.stored(1) == ["expired/expired"])
        #expect(try host.stored(4) == ["revoked/closed-by-requester"])
        #expect(await agent.liveGrants == 2)
        #expect(try await agent.open(ask("ssh", from: "2001:db8::1")).id == "5")
    }

    @Test func whatTheLedgerDoesNotKnowIsClosed() async throws {
        let host = try await hostWithoutAgent()
        for element in ["203.0.113.9 . tcp . 22", "198.51.100.30 . tcp . 5985"] {
            try host.nft(
                "add",
                "element",
                "inet",
                "sallyport",
                "grants4_32",
                "{ \(element) timeout 1h }"
            )
        }
        try host.nft(
            "delete",
            "element",
            "inet",
            "sallyport",
            "grants4_32",
            "{ 198.51.100.30 . tcp . 22 }"
        )
        try host.nft(
            "add",
            "element",
            "inet",
            "sallyport",
            "grants4_32",
            "{ 198.51.100.30 . tcp . 22 timeout 2h }"
        )
        _ = try await host.agent()
        try host.expectOpen(["198.51.100.10": 10, "198.51.100.20": 20, "198.51.100.30": 30])
    }

    @Test func aClockSetForwardWhileDownShortens() async throws {
        let host = try await hostWithoutAgent()
        host.clocks.setWallClock(by: .seconds(15 * 60))
        _ = try await host.agent()
        try host.expectOpen(["198.51.100.20": 5, "198.51.100.30": 15])
    }

    @Test func aClockSetBackWhileDownLengthensNothing() async throws {
        let host = try await hostWithoutAgent()
        host.clocks.pass(.seconds(15 * 60))
        host.clocks.setWallClock(by: .seconds(-3600))
        _ = try await host.agent()
        try host.expectOpen(["198.51.100.20": 5, "198.51.100.30": 15])
    }

    @Test func afterABootTheWallClockTellsWhatIsLeft() async throws {
        let host = try await hostWithoutAgent()
        try host.nft("delete", "table", "inet", "sallyport")
        host.clocks.reboot()
        host.clocks.setWallClock(by: .seconds(15 * 60))
        _ = try await host.agent()
        try host.expectOpen(["198.51.100.20": 5, "198.51.100.30": 15])
    }

    @Test func afterABootAClockThatWasSetBackIsNotTrusted() async throws {
        let host = try await hostWithoutAgent()
        host.clocks.reboot()
        host.clocks.setWallClock(by: .seconds(-60))
        _ = try await host.agent()
        try host.expectOpen([:])
        #expect(try host.stored(3) == ["revoked/clock-untrusted"])
    }

    @Test func settingTheClockBackAfterABootLengthensNothing() async throws {
        let host = try await hostWithoutAgent()
        host.clocks.reboot()
        host.clocks.setWallClock(by: .seconds(15 * 60))
        _ = try await host.agent()
        // Not as far as what was recorded last.
        host.clocks.setWallClock(by: .seconds(-10 * 60))
        _ = try await host.agent()
        try host.expectOpen(["198.51.100.20": 5, "198.51.100.30": 15])
    }
}

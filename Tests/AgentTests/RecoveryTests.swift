import API
import Policy
import Server
import Testing
import TestSupport

@testable import Agent
@testable import Ledger

@Suite(.blocking) struct RecoveryTests {
    // MARK: The decision

    /// No grant comes back after its end or with more time than it had, whatever became of the
    /// clocks; each is either live or ended.
    @Test(arguments: 0..<40) func neverReopensAndNeverLengthens(_ seed: UInt64) throws {
        var random = Generator(seed: seed)
        let started = Moment(wall: Timestamp(milliseconds: 1_770_000_000_000), boot: 5_000_000)
        for _ in 0..<50 {
            let isOfThisBoot = random.int(0...1) == 0
            let down = Int64(random.int(0...7_200_000))
            let step = Int64(random.int(-7_200_000...7_200_000)) * Int64(random.int(0...1))
            let now = Moment(
                wall: Timestamp(milliseconds: started.wall.milliseconds + down + step),
                boot: isOfThisBoot ? started.boot + down : Int64(random.int(1...10_000_000))
            )
            let grants = try (1...random.int(1...8)).map { id in
                let length = Int64(random.int(1...7_200_000))
                let age = Int64(random.int(0...Int(length)))
                return try grant(Int64(id), lasting: length, old: age, at: started)
            }
            let recovered = Recovered(
                live: grants.map { .init(grant: $0, isOfThisBoot: isOfThisBoot) },
                nextRequestID: 9,
                lastRecordedAt: started.wall
            )
            let (live, changes) = recovered.settled(at: now)
            let ended = changes.compactMap { change -> (Grant.ID, GrantState, EndReason)? in
                if case .end(let id, let state, let reason, at: _, by: nil) = change {
                    (id, state, reason)
                } else {
                    nil
                }
            }
            #expect(Set(live.map(\.id)).union(ended.map(\.0)) == Set(grants.map(\.id)))
            #expect(live.count + ended.count == grants.count)
            for grant in live {
                let old = try #require(grants.first { $0.id == grant.id })
                let left = grant.deadline - now.boot
                #expect(left > 0)
                // What is left by each clock that can be read; a clock that was set back by less
                // than the time that has passed since cannot be told from one that was not.
                #expect(left <= old.expiresAt.milliseconds - now.wall.milliseconds)
                #expect(left <= old.expiresAt.milliseconds - old.startsAt.milliseconds)
                if isOfThisBoot { #expect(left <= old.deadline - now.boot) }
                if step == 0 { #expect(left == old.deadline - started.boot - down) }
                #expect(isOfThisBoot || now.wall >= started.wall)
                #expect(old.expiresAt == grant.expiresAt)
            }
            for (id, state, reason) in ended {
                let old = try #require(grants.first { $0.id == id })
                if reason == .clockUntrusted {
                    #expect(state == .revoked && !isOfThisBoot && now.wall < started.wall)
                } else {
                    #expect(state == .expired && reason == .expired)
                    #expect(
                        old.expiresAt <= now.wall || (isOfThisBoot && old.deadline <= now.boot)
                    )
                }
            }
        }
    }

    @Test func aClockBeforeAGrantsStartIsNotTrusted() throws {
        let noon = Moment(wall: Timestamp(milliseconds: 1_770_000_000_000), boot: 5_000_000)
        let early = Moment(wall: noon.wall + .seconds(-60), boot: 1000)
        // The last thing recorded is older still: the clock was set back before the boot.
        let recovered = Recovered(
            live: [
                .init(grant: try grant(1, lasting: 60_000, old: 0, at: noon), isOfThisBoot: false)
            ],
            nextRequestID: 2,
            lastRecordedAt: noon.wall + .seconds(-120)
        )
        let (live, changes) = recovered.settled(at: early)
        #expect(live.isEmpty)
        guard case .end(_, .revoked, .clockUntrusted, at: _, by: nil) = changes.first else {
            Issue.record("\(changes)")
            return
        }
    }

    private func grant(
        _ id: Int64,
        lasting length: Int64,
        old age: Int64,
        at now: Moment
    ) throws -> Grant {
        Grant(
            id: Grant.ID(request: id, ordinal: 1),
            policy: "ssh",
            port: try PortRange(parsing: "22/tcp"),
            source: try CIDR(parsing: "198.51.100.\(id)"),
            requester: Requester(uid: 1000, user: "alice"),
            startsAt: now.wall + .milliseconds(-age),
            expiresAt: now.wall + .milliseconds(length - age),
            deadline: now.boot + length - age
        )
    }

    // MARK: End to end

    /// A host whose agent was killed: three grants of 10, 20 and 30 minutes, one closed.
    private func hostWithoutAgent() async throws -> Host {
        let host = try Host()
        let agent = try await host.agent()
        for minutes in [10, 20, 30] {
            try await agent.open(ask("ssh", from: "198.51.100.\(minutes)", for: "\(minutes)m"))
        }
        try await agent.open(ask("ssh", from: "198.51.100.99", for: "60m"))
        _ = try await agent.revoke(request: 4, by: alice)
        return host
    }

    private func expectOpen(
        _ minutes: [String: Int64],
        on host: Host,
        _ place: SourceLocation = #_sourceLocation
    ) throws {
        let elements = try host.elements()
        #expect(
            Set(elements.keys.map(\.source.address.description)) == Set(minutes.keys),
            sourceLocation: place
        )
        for (key, left) in elements {
            let minutes = minutes[key.source.address.description] ?? 0
            expectEnd(left, of: minutes * 60_000, at: place)
        }
    }

    @Test func whatWasAnsweredIsOpenAgainForWhatIsLeft() async throws {
        let host = try await hostWithoutAgent()
        try expectOpen(["198.51.100.10": 10, "198.51.100.20": 20, "198.51.100.30": 30], on: host)
        // Neither what others removed nor what they added stays.
        try host.nft("delete", "table", "inet", "sallyport")
        host.clocks.pass(.seconds(15 * 60))
        let agent = try await host.agent()
        try expectOpen(["198.51.100.20": 5, "198.51.100.30": 15], on: host)
        #expect(try host.stored(1) == ["expired/expired"])
        #expect(try host.stored(4) == ["revoked/closed-by-requester"])
        #expect(await agent.plan.count == 2)
        #expect(try await agent.open(ask("ssh", from: "::1")).id == "5")
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
        try expectOpen(["198.51.100.10": 10, "198.51.100.20": 20, "198.51.100.30": 30], on: host)
    }

    @Test func aClockSetForwardWhileDownShortens() async throws {
        let host = try await hostWithoutAgent()
        host.clocks.setWallClock(by: .seconds(15 * 60))
        _ = try await host.agent()
        try expectOpen(["198.51.100.20": 5, "198.51.100.30": 15], on: host)
    }

    @Test func aClockSetBackWhileDownLengthensNothing() async throws {
        let host = try await hostWithoutAgent()
        host.clocks.pass(.seconds(15 * 60))
        host.clocks.setWallClock(by: .seconds(-3600))
        _ = try await host.agent()
        try expectOpen(["198.51.100.20": 5, "198.51.100.30": 15], on: host)
    }

    @Test func afterABootTheWallClockTellsWhatIsLeft() async throws {
        let host = try await hostWithoutAgent()
        try host.nft("delete", "table", "inet", "sallyport")
        host.clocks.reboot()
        host.clocks.setWallClock(by: .seconds(15 * 60))
        _ = try await host.agent()
        try expectOpen(["198.51.100.20": 5, "198.51.100.30": 15], on: host)
    }

    @Test func afterABootAClockThatWasSetBackIsNotTrusted() async throws {
        let host = try await hostWithoutAgent()
        host.clocks.reboot()
        host.clocks.setWallClock(by: .seconds(-60))
        _ = try await host.agent()
        try expectOpen([:], on: host)
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
        try expectOpen(["198.51.100.20": 5, "198.51.100.30": 15], on: host)
    }
}

import API
import Gate
import Linux
import Nftables
import Policy
import TestSupport
import Testing

@testable import Agent

/// What others do to a table that the kernel does not keep them from.
@Suite(.blocking) struct TamperingTests {
    /// Each is mended, and told with who did it; an element that was added, too.
    @Test(
        arguments: [
            ("flush ruleset", "deleted the table"),
            ("delete table inet sallyport", "deleted the table"),
            ("flush set inet sallyport grants4_32", "deleted an element of grants4_32"),
            (
                "add element inet sallyport grants4_32 { 203.0.113.9 . tcp . 22 timeout 1h }",
                "added an element to grants4_32"
            ),
            (
                "add element inet sallyport earlier4 { 203.0.113.9 . 1 . 192.0.2.1 . 22 . tcp }",
                "added an element to earlier4"
            ),
            ("add element inet sallyport breakglass4 { 203.0.113.9 }", "added an element to"),
            ("delete element inet sallyport managed { tcp . 22 }", "deleted an element of managed"),
            ("insert rule inet sallyport judge accept", "added a rule to judge"),
            ("flush chain inet sallyport keep", "deleted a rule of keep"),
            ("add set inet sallyport mine { type ipv4_addr; }", "added the set mine"),
            ("add chain inet sallyport mine", "added or changed the chain mine"),
        ]
    )
    func isMendedAndTold(command: String, text: String) async throws {
        let host = try Host()
        let gate = try host.gate(owning: false)
        let monitor = try host.monitor(besides: gate)
        let agent = try await host.agent(gate: gate)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let before = try host.listing()
        #expect(monitor.tampering() == nil)
        try host.nft(command)
        var tampering: Tampering?
        _ = try await eventually {
            tampering = monitor.tampering()
            return tampering != nil
        }
        #expect(tampering?.what?.hasPrefix(text) == true, "\(tampering?.what ?? "nothing")")
        #expect(tampering?.by?.hasPrefix("nft (process ") == true)
        #expect(tampering?.commits == 1)
        await agent.rulesetChanged(tampering)
        try host.expectOpen(["198.51.100.7": 10])
        #expect(try host.listing() == before)
        #expect(try host.audit().map(\.event).suffix(2) == ["gate-tampered", "gate-rearmed"])
        #expect(try host.audit("gate-tampered").first?.detail?.contains(text) == true)
        #expect(monitor.tampering() == nil)
    }

    @Test func othersTablesAreTheirs() async throws {
        let host = try Host()
        let gate = try host.gate(owning: false)
        let monitor = try host.monitor(besides: gate)
        let agent = try await host.agent(gate: gate)
        try host.nft("add table inet other; add chain inet other judge; add table ip sallyport")
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await Task.sleep(for: .milliseconds(50))
        #expect(monitor.tampering() == nil)
    }

    /// A gate with many grants that is made anew makes more events than a socket holds.
    @Test func itsOwnChangesAreNeverNews() async throws {
        let host = try Host()
        let gate = try host.gate(owning: false)
        let monitor = try host.monitor(besides: gate)
        let port = try PortRange(parsing: "22/tcp")
        let grants = try (0..<20_000).map { (index: Int) in
            Grant(
                id: Grant.ID(request: Int64(index) + 1, ordinal: 1),
                policy: "ssh",
                port: port,
                source: try CIDR(parsing: "10.0.\(index >> 8).\(index & 255)"),
                requester: Requester(subject: .local(uid: 1000), name: "alice"),
                startsAt: host.clocks.now().wall,
                end: GrantEnd(
                    expiresAt: host.clocks.now().wall + .seconds(600),
                    deadline: host.clocks.now().boot + .seconds(600)
                )
            )
        }
        let plan = Plan(live: grants)
        let managed = [ManagedPort(range: port, sessions: .keep, udpSessions: .cut)]
        try gate.arm(managed: managed, breakGlass: [], holding: .exactly(plan)) {
            host.clocks.now().boot
        }
        #expect(monitor.tampering() == nil)
        #expect(try host.elements().count == 20_000)
    }

    /// One row for the first, and one for all that follow; each is mended all the same.
    @Test func aStormIsToldOnceWithItsCount() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let tampering = Tampering(what: "deleted the table", by: "nft (process 7)", commits: 10)
        for _ in 0..<50 {
            try host.nft("delete table inet sallyport")
            await agent.rulesetChanged(tampering)
            try host.expectOpen(["198.51.100.7": 10])
        }
        #expect(try host.audit("gate-tampered").count == 1)
        host.clocks.pass(.seconds(6))
        #expect(
            try await eventually(within: .seconds(8)) { try host.audit("gate-tampered").count == 2 }
        )
        let last = try #require(try host.audit("gate-tampered").last?.detail)
        #expect(last.hasPrefix("490 more times in "))
        #expect(last.hasSuffix("the last: nft (process 7) deleted the table"))
        #expect(try await eventually { try host.audit("gate-rearmed").count == 2 })
        // Then the next is the first again.
        try host.nft("delete table inet sallyport")
        await agent.rulesetChanged(tampering)
        #expect(try host.audit("gate-tampered").count == 3)
    }

    @Test func whatCannotBeMendedIsToldWhenItIs() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try host.nft("delete table inet sallyport")
        host.kernel.fail(.arm)
        #expect(await agent.beat() == false)
        let refused = await problem { try await agent.opened(ask("ssh", from: "198.51.100.7")) }
        #expect(refused?.code == .kernelRefused)
        #expect(refused?.status == 503)
        #expect(try await agent.status(for: vera).gate.armed == false)
        #expect(await agent.gateLine().hasPrefix("THE GATE IS NOT ARMED: "))
        #expect(try host.audit().map(\.event).contains("gate-rearmed") == false)
        host.kernel.fail()
        #expect(try await eventually { try host.audit("gate-rearmed").count == 1 })
        #expect(await agent.beat())
        #expect(await agent.gateLine() == "gate armed")
    }

    /// With real events and real flushes; tells how long the ports were open.
    @Test func eachFlushIsHeardOfAndMended() async throws {
        let host = try Host()
        let gate = try host.gate(owning: false)
        let monitor = try host.monitor(besides: gate)
        let agent = try await host.agent(gate: gate)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let other = try host.otherFirewall()
        var times: [Duration] = []
        for _ in 0..<20 {
            var flush = Transaction()
            flush.delete(Table(family: .inet, name: "sallyport"))
            try other.commit(flush)
            let start = ContinuousClock.now
            _ = try wait(for: [(monitor.descriptor, .input)], atMost: 1_000)
            await agent.rulesetChanged(monitor.tampering())
            times.append(start.duration(to: .now))
            #expect(try gate.inspect().fault == nil)
        }
        times.sort()
        print("mended after \(times[times.count / 2]), at most \(times[times.count - 1])")
    }
}

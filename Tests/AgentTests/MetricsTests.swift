import API
import Access
import FoundationEssentials
import Gate
import Ledger
import Policy
import TestSupport
import Testing

@testable import Agent

/// The figures that Prometheus reads.
@Suite(.blocking) struct MetricsTests {
    private func figures(_ agent: Agent, for caller: Caller = vera) async throws -> PrometheusText {
        try PrometheusText(await agent.metrics(for: caller).text)
    }

    @Test func tellWhatBecameOfRequests() async throws {
        let host = try Host(breakGlass: [CIDR(parsing: "192.0.2.10")])
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", "198.51.100.8"))
        try await agent.open(ask("ssh", from: "198.51.100.7"), by: bob)
        try await agent.extend(request: 2, by: .seconds(60), by: bob)
        _ = await problem { try await agent.open(ask("winrm", from: "198.51.100.7")) }
        _ = try await agent.revoke(request: 2, by: bob)
        host.store.fail(commit: .full)
        _ = await problem { try await agent.open(ask("ssh", from: "198.51.100.9")) }
        host.store.fail(commit: nil)
        host.kernel.fail(.apply, .arm)
        _ = await problem { try await agent.open(ask("ssh", from: "198.51.100.9")) }
        host.kernel.fail()
        await agent.note(Refusal(.caller, alice.identity.person, "no"))

        let told = try await figures(agent)
        for (outcome, count) in [
            ("opened", 2.0), ("waiting", 0), ("refused", 1), ("failed", 1), ("unrecorded", 1),
        ] {
            #expect(told["sallyport_requests_total", ["outcome": outcome]] == count, "\(outcome)")
        }
        #expect(told["sallyport_grants", ["policy": "ssh"]] == 2)
        #expect(told["sallyport_grants", ["policy": "winrm"]] == 0)
        #expect(told["sallyport_grants_opened_total"] == 3)
        #expect(told["sallyport_grants_extended_total"] == 1)
        #expect(told["sallyport_grants_ended_total", ["reason": "closed-by-requester"]] == 1)
        #expect(told["sallyport_grants_ended_total", ["reason": "expired"]] == 0)
        #expect(told["sallyport_open_duration_seconds_count"] == 2)
        #expect(told["sallyport_callers_refused_total"] == 1)
        #expect(told["sallyport_gate_armed"] == 1)
        #expect(told["sallyport_gate_dropped_packets_total"] == 0)
        #expect(told["sallyport_break_glass_packets_total", ["source": "192.0.2.10/32"]] == 0)
        #expect(told["sallyport_ledger_available"] == 1)
        #expect(told["sallyport_configuration_in_force"] == 1)
        #expect(try #require(told["sallyport_ledger_size_bytes", ["file": "ledger.sqlite"]]) > 0)
        #expect(told["sallyport_event_listeners"] == 0)
        #expect(told["sallyport_build_info", ["version": version]] == 1)
        #expect(try #require(told["process_resident_memory_bytes"]) > 1_000_000)
        #expect(try #require(told["process_open_fds"]) > 2)
        let started = try #require(told["process_start_time_seconds"])
        #expect(abs(started - Double(host.clocks.now().wall.milliseconds) / 1000) < 60)
    }

    @Test func tellOfWhatWaits() async throws {
        var policy = AccessPolicy(name: "ssh", ports: [try PortRange(parsing: "22/tcp")])
        policy.approvals = 1
        let host = try Host([policy])
        let agent = try await host.agent()
        for last in 1...3 { try await agent.open(ask("ssh", from: "198.51.100.\(last)")) }
        _ = try await agent.approve(request: 1, ApproveBody(), by: carol)
        _ = try await agent.deny(request: 2, reason: "not today", by: carol)
        let told = try await figures(agent)
        #expect(told["sallyport_requests_total", ["outcome": "waiting"]] == 3)
        #expect(told["sallyport_requests_total", ["outcome": "opened"]] == 0)
        #expect(told["sallyport_requests_waiting", ["state": "pending"]] == 1)
        #expect(told["sallyport_waits_ended_total", ["outcome": "opened"]] == 1)
        #expect(told["sallyport_waits_ended_total", ["outcome": "denied"]] == 1)
        #expect(told["sallyport_open_duration_seconds_count"] == 0)
    }

    @Test func tellOfTheGate() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try host.nft("flush", "chain", "inet", "sallyport", "judge")
        #expect(try await figures(agent)["sallyport_gate_armed"] == 0)
        await agent.rulesetChanged()
        let told = try await figures(agent)
        #expect(told["sallyport_gate_armed"] == 1)
        #expect(told["sallyport_gate_tamperings_total"] == 1)
        #expect(told["sallyport_gate_rearmings_total"] == 1)
    }

    @Test func areNotForWhoSeesSomePoliciesOnly() async throws {
        let host = try Host()
        let agent = try await host.agent()
        var limited = vera
        limited.identity.via = Delegate(
            name: "portal",
            user: "www",
            issuers: ["corp"],
            ceiling: [.viewer],
            policies: ["ssh"]
        )
        let problem = await problem { [limited] in try await agent.metrics(for: limited) }
        #expect(problem?.code == .notPermitted)
    }

    @Test func areAllDescribed() async throws {
        let host = try Host(breakGlass: [CIDR(parsing: "192.0.2.10")])
        let told = try await figures(host.agent())
        let source = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let page = try String(contentsOfFile: "/\(source)/docs/metrics.md", encoding: .utf8)
        let described = page.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { line in
            line.split(separator: "|").map { $0.filter { $0 != " " && $0 != "`" } }
        }
        #expect(
            Set(described.map { Array($0.prefix(2)) }) == Set(told.types.map { [$0, $1] }),
            "docs/metrics.md"
        )
    }

    @Test func escapesWhatWouldEndALabel() throws {
        var page = MetricsPage()
        page.add("a_total", .counter, "One\nand \\.", .init(1, ["policy": "x\"y\\z\nw", "b": ""]))
        let read = try PrometheusText(page.text)
        #expect(read["a_total", ["policy": "x\"y\\z\nw", "b": ""]] == 1)
        #expect(read.helps["a_total"] == "One\\nand \\\\.")
    }

    @Test func bucketsTakeWhatIsUpToTheirBound() {
        var histogram = Histogram()
        for microseconds in [0, 250, 251, 2_500_000, 2_500_001, 90_000_000] {
            histogram.observe(.microseconds(microseconds))
        }
        #expect(histogram.counts.reduce(0, +) == 6)
        #expect(histogram.counts[0] == 2)
        #expect(histogram.counts[1] == 1)
        #expect(histogram.counts.suffix(2) == [1, 2])
        #expect(histogram.sum == 95_000_502)
    }
}

import API
import Access
import Policy
import Settings
import TestSupport
import Testing

@testable import Agent

/// What was refused on managed ports, and who is told.
@Suite(.blocking) struct RefusedTests {
    private func attempt(
        _ source: String,
        to destination: String = "192.0.2.1",
        port: UInt16 = 22
    ) throws -> RefusedAttempt {
        RefusedAttempt(
            source: try IPAddress(parsing: source),
            destination: try IPAddress(parsing: destination),
            transport: .tcp,
            port: port
        )
    }

    @Test func isToldBySourceAndPortAndRecorded() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let start = host.clocks.now()
        let attempts = try [
            attempt("198.51.100.7"), attempt("198.51.100.7"), attempt("203.0.113.9", port: 5986),
            attempt("203.0.113.9", port: 4444),
        ]
        #expect(agent.refusals.note(attempts, at: start))
        await agent.refusalsHeard()
        let list = try await agent.refused(since: nil, for: vera)
        #expect(list.fault == nil)
        #expect(list.since <= start.wall)
        let told = list.refused.map { "\($0.source) \($0.port) \($0.policy ?? "-") \($0.attempts)" }
        #expect(
            told == [
                "198.51.100.7/32 22/tcp ssh 2", "203.0.113.9/32 4444/tcp - 1",
                "203.0.113.9/32 5986/tcp winrm 1",
            ]
        )
        let later = start.wall + .seconds(1)
        #expect(try await agent.refused(since: later, for: vera).refused.isEmpty)
        let rows = try host.audit("attempts-refused")
        #expect(
            rows.map { "\($0.policy ?? "-") \($0.source ?? "") \($0.detail ?? "")" } == [
                "ssh 198.51.100.7/32 2 attempts on 192.0.2.1",
                "- 203.0.113.9/32 1 attempt on 192.0.2.1",
                "winrm 203.0.113.9/32 1 attempt on 192.0.2.1",
            ]
        )
        // Again within the hour: counted, not recorded.
        host.clocks.pass(.seconds(120))
        #expect(agent.refusals.note(Array(attempts.prefix(1)), at: host.clocks.now()))
        await agent.refusalsHeard()
        #expect(try host.audit("attempts-refused").count == 3)
        #expect(try await agent.refused(since: nil, for: vera).refused.first?.attempts == 3)
        host.clocks.pass(.seconds(3_600))
        await agent.beat()
        #expect(
            try host.audit("attempts-refused").last?.detail == "1 attempt on 192.0.2.1"
        )
        let metrics = try PrometheusText(await agent.metrics(for: vera).text)
        #expect(metrics["sallyport_refused_attempts_total"] == 5)
    }

    /// The same port may be managed here, and on hosts behind this machine.
    @Test func isToldUnderThePolicyOfTheDestination() async throws {
        let host = try Host()
        let lab = AccessPolicy(
            name: "lab",
            ports: [try PortRange(parsing: "22/tcp")],
            hosts: [try CIDR(parsing: "10.0.0.0/8")]
        )
        try host.changeConfiguration { $0.policies.append(lab) }
        let agent = try await host.agent()
        _ = agent.refusals.note(
            [try attempt("198.51.100.7"), try attempt("198.51.100.7", to: "10.0.0.2")],
            at: host.clocks.now()
        )
        await agent.refusalsHeard()
        let list = try await agent.refused(since: nil, for: vera)
        let told = list.refused.map { "\($0.destination?.description ?? "") \($0.policy ?? "-")" }
        #expect(told.sorted() == ["10.0.0.2 lab", "192.0.2.1 ssh"])
        let rows = try host.audit("attempts-refused").map {
            "\($0.host ?? "-") \($0.policy ?? "-")"
        }
        #expect(rows.sorted() == ["- ssh", "10.0.0.2 lab"])
    }

    @Test func ofAFloodTheTrailHasTenRowsAMinute() async throws {
        let host = try Host()
        let agent = try await host.agent()
        for minute in 0..<2 {
            for number in 0..<500 {
                let source = "203.0.\(minute * 2 + number / 250).\(number % 250)"
                _ = agent.refusals.note([try attempt(source)], at: host.clocks.now())
                await agent.refusalsHeard()
            }
            host.clocks.pass(.seconds(61))
        }
        await agent.refusalsHeard()
        let rows = try host.audit("attempts-refused")
        #expect(rows.count == 1 + 10 + 10)
        #expect(rows.last?.detail?.contains("489 more, of 489 other sources") == true)
    }

    @Test func whoSeesSomePoliciesSeesWhatTheirPortsRefused() async throws {
        let host = try Host()
        let agent = try await host.agent()
        _ = agent.refusals.note(
            [try attempt("198.51.100.7"), try attempt("198.51.100.7", port: 5986)],
            at: host.clocks.now()
        )
        var limited = vera
        limited.identity.via = Delegate(
            name: "portal",
            user: "www",
            issuers: ["corp"],
            ceiling: [.viewer],
            policies: ["ssh"]
        )
        let list = try await agent.refused(since: nil, for: limited)
        #expect(list.refused.map(\.policy) == ["ssh"])
    }
}

import API
import Access
import GRDB
import Policy
import TestSupport
import Testing

@testable import Agent

/// Whatever is asked in whatever order, the kernel holds exactly what the live grants cover, and
/// the ledger knows the same grants.
@Suite(.blocking) struct ModelTests {
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func kernelAndLedgerAgreeWithAModel(_ seed: UInt64) async throws {
        var random = Generator(seed: seed)
        let host = try Host([
            AccessPolicy(
                name: "ssh",
                ports: [try PortRange(parsing: "22/tcp")],
                maxActivePerRequester: 3
            ),
            AccessPolicy(name: "winrm", ports: [try PortRange(parsing: "5985-5986/tcp")]),
        ])
        var agent: Agent? = try await host.agent(owning: seed % 2 == 0)
        var model = Model()
        for step in 0..<40 {
            switch (random.int(0...9), agent) {
            case (0...3, let agent?): try await open(on: agent, host, &model, &random)
            case (4...5, let agent?): try await extend(on: agent, host, &model, &random)
            case (6, let agent?): try await end(on: agent, &model, &random)
            case (7, let agent?):
                host.clocks.pass(.seconds(60 * random.int(1...20)))
                await agent.clockStepped()
            case (8, let agent?):
                let minutes = random.int(-20...10)
                host.clocks.setWallClock(by: .seconds(60 * minutes))
                model.stepWallClock(by: .seconds(60 * minutes))
                await agent.clockStepped()
            default:
                agent = nil
                if random.int(0...1) == 0 { host.clocks.pass(.seconds(60 * random.int(1...20))) }
                agent = try await host.agent(owning: seed % 2 == 0)
            }
            model.expire(at: host.clocks.now().boot)
            try expectAgreement(of: host, with: model, after: step)
        }
    }

    private func open(
        on agent: Agent,
        _ host: Host,
        _ model: inout Model,
        _ random: inout Generator
    ) async throws {
        let caller = random.int(0...1) == 0 ? alice : bob
        let port = try PortRange(
            parsing: ["22/tcp", "5985/tcp", "5985-5986/tcp"][random.int(0...2)]
        )
        let sources = ["198.51.100.0/24", "198.51.100.7/32", "2001:db8::/64"]
        let source = try CIDR(parsing: sources[random.int(0...2)])
        let minutes = random.int(0...60)
        // Half minutes, and all steps whole ones: no end is so near that it could be missed.
        let ask = ask("\(port)", from: "\(source)", for: "\(60 * minutes + 30)s")
        let isRefused = port.lower == 22 && model.count(of: caller, under: 22) >= 3
        let now = host.clocks.now().boot
        do {
            let request = try await agent.open(ask, by: caller)
            #expect(!isRefused)
            let id = grant(try #require(Int64(request.id)))
            let end = try #require(await agent.committer.plan[id]?.end.deadline)
            let length = Duration.seconds(60 * minutes + 30)
            #expect((now...host.clocks.now().boot).contains(end + (.zero - length)))
            model.live = model.live.filter {
                ($0.caller, $0.port, $0.source) != (caller, port, source)
            }
            model.live.append(
                Model.Grant(
                    request: id.request,
                    caller: caller,
                    port: port,
                    source: source,
                    end: end,
                    wallLeft: .zero
                )
            )
        } catch let problem as Problem {
            #expect(isRefused && problem.code == .outsidePolicy)
        }
    }

    private func extend(
        on agent: Agent,
        _ host: Host,
        _ model: inout Model,
        _ random: inout Generator
    ) async throws {
        guard !model.live.isEmpty else { return }
        let index = random.int(0...model.live.count - 1)
        let minutes = random.int(1...60)
        let grant = model.live[index]
        // The wall clock counts what is left, and may be behind.
        let left = grant.end + grant.wallLeft - host.clocks.now().boot
        let isRefused = left + .seconds(60 * minutes) > .seconds(3 * 3600)
        do {
            _ = try await agent.extend(
                request: grant.request,
                by: .seconds(60 * minutes),
                by: grant.caller
            )
            #expect(!isRefused)
            model.live[index].end = grant.end + .seconds(60 * minutes)
        } catch let problem as Problem {
            #expect(isRefused && problem.code == .outsidePolicy)
        }
    }

    private func end(
        on agent: Agent,
        _ model: inout Model,
        _ random: inout Generator
    ) async throws {
        guard !model.live.isEmpty else { return }
        let grant = model.live.remove(at: random.int(0...model.live.count - 1))
        let caller = random.int(0...1) == 0 ? grant.caller : dora
        if random.int(0...1) == 0 {
            _ = try await agent.revoke(request: grant.request, by: caller)
        } else {
            _ = try await agent.close(
                grant: Grant.ID(request: grant.request, ordinal: 1),
                by: caller
            )
        }
    }

    private func expectAgreement(of host: Host, with model: Model, after step: Int) throws {
        let now = host.clocks.now().boot
        let elements = try host.elements()
        let expected = model.elements
        #expect(Set(elements.keys) == Set(expected.keys), "step \(step)")
        for (key, end) in expected {
            // All that is asked and done is in half minutes: whatever is wrong is so by as much.
            let left = end - now
            #expect(
                (left - .seconds(10)...left + .seconds(10))
                    .contains(.milliseconds(elements[key] ?? 0)),
                "step \(step), \(key)"
            )
        }
        let recorded = try host.otherConnection().read {
            try Int64.fetchSet($0, sql: "SELECT request FROM grants WHERE state = 'active'")
        }
        #expect(recorded == Set(model.live.map(\.request)), "step \(step)")
    }
}

private struct Model {
    struct Grant {
        var request: Int64
        var caller: Caller
        var port: PortRange
        var source: CIDR
        /// On the clock that is never set.
        var end: BootTime
        /// How much later the end comes by the wall clock: where that was set back, and not since
        /// set forward beyond it.
        var wallLeft: Duration
    }

    var live: [Grant] = []

    func count(of caller: Caller, under port: UInt16) -> Int {
        live.count { $0.caller == caller && $0.port.lower == port }
    }

    mutating func stepWallClock(by step: Duration) {
        for index in live.indices {
            live[index].wallLeft -= step
            if live[index].wallLeft < .zero {
                live[index].end = live[index].end + live[index].wallLeft
                live[index].wallLeft = .zero
            }
        }
    }

    mutating func expire(at now: BootTime) { live.removeAll { $0.end <= now } }

    /// The end of each element: the latest of the grants that hold it.
    var elements: [ElementKey: BootTime] {
        var ends: [ElementKey: BootTime] = [:]
        for grant in live {
            for port in grant.port.lower...grant.port.upper {
                let key = ElementKey(source: grant.source, transport: .tcp, port: port)
                ends[key] = max(ends[key] ?? grant.end, grant.end)
            }
        }
        return ends
    }
}

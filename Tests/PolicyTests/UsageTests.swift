@testable import Policy
import TestSupport
import Testing

struct UsageTests {
    private let bob = Subject.local(uid: 1_001)

    private func request(_ id: Int64, _ policies: [String], at instant: Timestamp) throws -> Event {
        let end = GrantEnd(expiresAt: instant, deadline: BootTime(milliseconds: 0))
        let requester = Requester(subject: bob, name: "bob")
        return .opened(
            AccessRequest(
                id: id,
                requester: Person(
                    subject: bob,
                    name: "bob",
                    origin: .process(Origin.Process(pid: 1))
                ),
                ask: Ask(targets: policies, sources: ["192.0.2.7"]),
                createdAt: instant,
                idempotencyKey: nil,
                grants: try policies.enumerated().map { index, policy in
                    Grant(
                        id: Grant.ID(request: id, ordinal: index + 1),
                        policy: policy,
                        port: try port("22/tcp"),
                        source: try cidr("192.0.2.7"),
                        requester: requester,
                        startsAt: instant,
                        end: end
                    )
                }
            )
        )
    }

    @Test func countsARequestOnceUnderEachOfItsPolicies() throws {
        var usage = Usage()
        usage.note([
            try request(1, ["ssh", "rdp", "ssh"], at: noon),
            .ended(Grant.ID(request: 1, ordinal: 1), .expired, at: noon, by: nil),
            try request(2, ["ssh"], at: noon + .seconds(1)),
        ])
        #expect(usage.figures(of: "ssh", at: noon) == Usage.Figures(requests: 2, newest: 2))
        #expect(usage.figures(of: "rdp", at: noon) == Usage.Figures(requests: 1, newest: 1))
        #expect(usage.figures(of: "winrm", at: noon) == nil)
        #expect(usage.figures(of: "ssh", by: bob, at: noon)?.requests == 2)
        #expect(usage.figures(of: "ssh", by: .local(uid: 1), at: noon) == nil)
    }

    @Test func forgetsWhatIsOlderThanSevenDays() {
        var usage = Usage()
        for (id, who) in [bob, .local(uid: 1), bob].enumerated() {
            usage.noteOpening(
                of: Int64(id),
                under: "ssh",
                by: who,
                at: noon + .seconds(3600 * id)
            )
        }
        let week = noon + .seconds(7 * 24 * 3600)
        #expect(usage.figures(of: "ssh", at: week)?.requests == 3)
        #expect(usage.figures(of: "ssh", at: week + .seconds(1))?.requests == 2)
        #expect(usage.figures(of: "ssh", by: bob, at: week + .seconds(1))?.requests == 1)
        #expect(usage.figures(of: "ssh", at: week + .seconds(7200))?.newest == 2)
        #expect(usage.figures(of: "ssh", at: week + .seconds(7201)) == nil)
    }

    /// Whatever the clock does, the newest is what opened last, and all of seven days count.
    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func countsAsIfAllWereKept(seed: UInt64) {
        var random = Generator(seed: seed)
        var (usage, earlier) = (Usage(), Usage())
        var instants: [(at: Int, who: UInt32)] = []
        var clock = 10_000_000
        for id in 1...200 {
            clock += random.int(-20_000...40_000)
            let who = UInt32(random.int(1...3))
            let at = Timestamp(milliseconds: Int64(clock) * 1000)
            instants.append((clock, who))
            let subject = Subject.local(uid: who)
            if id <= 100 {
                earlier.noteOpening(of: Int64(id), under: "ssh", by: subject, at: at)
            } else {
                usage.noteOpening(of: Int64(id), under: "ssh", by: subject, at: at)
            }
        }
        usage.add(earlier: earlier)
        let end = (instants.map(\.at).max() ?? 0) + random.int(0...10_000)
        let now = Timestamp(milliseconds: Int64(end) * 1000)
        let counted = instants.filter { $0.at >= end - 7 * 24 * 3600 }
        let last = instants.enumerated().max {
            ($0.element.at, $0.offset) < ($1.element.at, $1.offset)
        }
        #expect(usage.figures(of: "ssh", at: now)?.newest == last.map { Int64($0.offset + 1) })
        #expect(usage.figures(of: "ssh", at: now)?.requests == counted.count)
        for who in UInt32(1)...3 {
            #expect(
                usage.figures(of: "ssh", by: .local(uid: who), at: now)?.requests ?? 0
                    == counted.count { $0.who == who }
            )
        }
    }
}

import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// What is made ready before it may be done.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct PreparedTests {
    private func withGate(_ body: @escaping (Gate) throws -> Void) throws {
        try inNetworkNamespace {
            let gate = try Gate()
            try arm(gate)
            try body(gate)
        }
    }

    /// The changes that open a port to 198.51.100.`host`, for a minute.
    private func opening(_ host: Int) throws -> [ElementChange] {
        var plan = Plan()
        let grant = try Grant(Int64(host), "22/tcp", from: "198.51.100.\(host)")
        return plan.apply([.open(grant)]).changes
    }

    @Test func isDoneOnceItBegins() throws {
        try withGate { gate in
            let changes = try opening(7)
            let now = bootTime()
            gate.prepare(changes, now: now)
            #expect(try openElements() == 0)
            gate.begin(changes, now: now)
            #expect(try openElements() == 1)
            try gate.apply(changes, now: now)
            #expect(try openElements() == 1)
            #expect(try gate.inspect().fault == nil)
        }
    }

    @Test func isNotDoneInPlaceOfAnother() throws {
        try withGate { gate in
            let (refused, other) = (try opening(7), try opening(8))
            let now = bootTime()
            gate.prepare(refused, now: now)
            gate.begin(other, now: now)
            #expect(try openElements() == 0)
            try gate.apply(other, now: now)
            gate.begin(refused, now: now)
            #expect(try elements().contains("198.51.100.8"))
            #expect(try !elements().contains("198.51.100.7"))
        }
    }

    @Test func isDoneAnewWhereItsElementsWouldOutliveTheirEnd() throws {
        try withGate { gate in
            let changes = try opening(7)
            let now = bootTime()
            gate.prepare(changes, now: now)
            gate.begin(changes, now: now + .milliseconds(3))
            #expect(try openElements() == 0)
            try gate.apply(changes, now: now + .seconds(30))
            let expiry = try #require(elements().firstMatch(of: /expires (\d+)s/))
            #expect(try #require(Int(expiry.1)) <= 30)
        }
    }

    @Test func isDoneAnewWhereTheTableWasMadeAnew() throws {
        try withGate { gate in
            let changes = try opening(7)
            let now = bootTime()
            gate.prepare(changes, now: now)
            try arm(gate)
            gate.begin(changes, now: now)
            #expect(try openElements() == 0)
            gate.prepare(changes, now: now)
            gate.begin(changes, now: now)
            try arm(gate)
            #expect(try openElements() == 0)
            try gate.apply(changes, now: now)
            #expect(try openElements() == 1)
        }
    }

    @Test func tellsThatTheKernelRefusedIt() throws {
        try withGate { gate in
            let key = try #require(opening(7).first?.key)
            let changes = [ElementChange.close(key, from: bootTime() + .seconds(60))]
            let now = bootTime()
            gate.prepare(changes, now: now)
            gate.begin(changes, now: now)
            #expect(throws: GateError.self) { try gate.apply(changes, now: now) }
        }
    }

    private func arm(_ gate: Gate) throws {
        try gate.arm(
            managed: Hosts.managed,
            breakGlass: [],
            holding: .exactly(Plan()),
            now: bootTime
        )
    }

    /// All sets of grants, as nft shows them.
    private func elements() throws -> String { try shell("nft", "list", "sets", "inet").get() }

    private func openElements() throws -> Int { try elements().matches(of: /expires/).count }
}

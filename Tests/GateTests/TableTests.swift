import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// What the kernel holds, as `nft` shows it from outside.
@Suite(.blocking, .enabled(if: geteuid() == 0, "needs root"))
struct TableTests {
    /// A gate in a fresh namespace.
    private func withGate<Value>(
        owning: Bool = true,
        _ body: @escaping (Gate) throws -> Value
    ) throws -> Value {
        try inNetworkNamespace {
            let gate = try Gate(owning: owning)
            try arm(gate)
            return try body(gate)
        }
    }

    @Test func isTheTableThatTheDocumentsShow() throws {
        let text = try inNetworkNamespace {
            let gate = try Gate()
            try gate.arm(
                managed: Hosts.ports("22/tcp", "5000-5001/any"),
                breakGlass: [CIDR(parsing: "192.0.2.9/32")],
                holding: .exactly(Plan()),
                now: bootTime
            )
            var plan = Plan()
            try gate.perform(
                [
                    .open(Grant(1, "22/tcp", from: "198.51.100.7")),
                    .open(Grant(2, "22/tcp", from: "198.51.100.0/24")),
                    .open(Grant(3, "5000/any", from: "2001:db8::/64")),
                ],
                in: &plan
            )
            return try shell("nft", "-s", "list", "table", "inet", "sallyport").get()
        }
        #expect(text.withoutTimes == expectedTable)
    }

    @Test(arguments: [true, false])
    func anElementSharedByTwoGrantsEndsWithTheLater(isOwned: Bool) throws {
        try withGate(owning: isOwned) { gate in
            var plan = Plan()
            let short = try Grant(1, "22/tcp", from: "198.51.100.7", endsIn: 30_000)
            let long = try Grant(2, "22/tcp", from: "198.51.100.7", endsIn: 90_000, by: "bob")
            try gate.perform([.open(long)], in: &plan)
            try gate.perform([.open(short)], in: &plan)
            #expect(try timeLeft() == 80...90)
            try gate.perform([.close(long.id)], in: &plan)
            #expect(try timeLeft() == 20...30)
            #expect(try elements().contains("1.1 alice"))
            try gate.perform(
                [.carriedOver(short.id, deadline: bootTime() + .seconds(60))],
                in: &plan
            )
            #expect(try timeLeft() == 50...60)
            #expect(try gate.inspect().fault == nil)
        }
    }

    /// Kernels before 6.12 would leave it as it is, and say that all went well.
    @Test func neverCountsOnTheKernelToRenewWhatIsThere() throws {
        try withGate(owning: false) { gate in
            var plan = Plan()
            try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.8"))], in: &plan)
            let element = "198.51.100.7 . tcp . 22 timeout 5s"
            let added = ["nft", "add", "element", "inet", "sallyport", "grants4_32"]
            _ = try shell(added + ["{ \(element) }"]).get()
            let long = try Grant(2, "22/tcp", from: "198.51.100.7")
            #expect(throws: GateError.self) { try gate.perform([.open(long)], in: &plan) }
            // What the agent does then.
            try arm(gate, plan)
            #expect(try elements().matches(of: /expires 5\ds/).count == 2)
        }
    }

    @Test(arguments: [true, false])
    func takesAwayAnElementThatIsAboutToEndByItself(isOwned: Bool) throws {
        try withGate(owning: isOwned) { gate in
            // Around the end the kernel may or may not have removed it.
            for offset in Int64(-6)...6 {
                var plan = Plan()
                let grant = try Grant(1, "22/tcp", from: "198.51.100.7", endsIn: 40)
                try gate.perform([.open(grant)], in: &plan)
                sleep(until: grant.end.deadline + .milliseconds(offset))
                try gate.perform([.close(grant.id)], in: &plan)
                // The kernel looks at its timers at each jiffy, of up to 10 ms.
                sleep(until: grant.end.deadline + .milliseconds(20))
                #expect(try !elements().contains("expires"))
            }
        }
    }

    @Test(arguments: [true, false])
    func aNewAgentAdoptsTheTableWithoutTouchingWhatStaysOpen(isOwned: Bool) throws {
        try inNetworkNamespace {
            var plan = Plan()
            let stays = try Grant(1, "22/tcp", from: "198.51.100.7", endsIn: 60_000)
            let goes = try Grant(2, "22/tcp", from: "203.0.113.0/24", endsIn: 60_000)
            let comes = try Grant(3, "22/tcp", from: "2001:db8::/64", endsIn: 60_000)
            do {
                let gate = try Gate(owning: isOwned)
                try arm(gate)
                try gate.perform([.open(stays), .open(goes)], in: &plan)
            }
            let handles = try shell("nft", "-as", "list", "table", "inet", "sallyport").get()
            let next = try Gate(owning: isOwned)
            try next.armWhenLetGo(Hosts.managed, holding: .whatIsThere)
            #expect(try elements().contains("203.0.113.0"))

            _ = plan.apply([.close(goes.id), .open(comes)])
            try arm(next, plan)
            let text = try elements()
            #expect(text.contains("198.51.100.7"))
            #expect(!text.contains("203.0.113.0"))
            #expect(text.contains("2001:db8::"))
            #expect(try next.inspect().fault == nil)
            // The set itself was kept, not made anew.
            let kept = handles.split(separator: "\n").filter { $0.contains("set grants4_32") }
            let now = try shell("nft", "-as", "list", "table", "inet", "sallyport").get()
            #expect(now.contains(kept.first ?? "missing"))
        }
    }

    @Test(arguments: [true, false])
    func correctsElementsThatEndAtAnotherTime(isOwned: Bool) throws {
        try withGate(owning: isOwned) { gate in
            var plan = Plan()
            let grant = try Grant(1, "22/tcp", from: "198.51.100.7", endsIn: 600_000)
            try gate.perform([.open(grant)], in: &plan)
            _ = plan.apply([
                .carriedOver(grant.id, deadline: bootTime() + .seconds(60))
            ])
            try arm(gate, plan)
            #expect(try timeLeft() == 50...60)
        }
    }

    @Test func noElementOutlivesItsGrantHoweverLongArmingTakes() throws {
        try withGate { gate in
            let deadline = bootTime() + .seconds(600)
            let grants = try (1...3_000).map { number in
                let source = "203.0.\(number / 250).\(number % 250)"
                var grant = try Grant(Int64(number), "22/tcp", from: source)
                grant.end.deadline = deadline
                return grant
            }
            var plan = Plan()
            _ = plan.apply(grants.map(Event.open))
            try arm(gate, plan)
            let (before, left) = (bootTime(), try elements())
            let expiries = left.matches(of: /expires (\d+)m(\d+)s(?:(\d+)ms)?/)
            #expect(expiries.count == grants.count)
            let ends = expiries.compactMap { expiry in
                Int64(expiry.1).flatMap { minutes in
                    Int64(expiry.2).map {
                        (minutes * 60 + $0) * 1_000 + (expiry.3.flatMap { Int64($0) } ?? 0)
                    }
                }
            }
            let last = before + .milliseconds(try #require(ends.max()))
            #expect(last <= deadline)
            #expect(last > deadline + .seconds(-5))
        }
    }

    @Test func nobodyElseCanChangeAnOwnedTable() throws {
        try withGate { gate in
            try #require(gate.isOwned)
            var plan = Plan()
            try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
            #expect(try shell("nft", "delete", "table", "inet", "sallyport").status != 0)
            #expect(try shell("nft", "flush", "ruleset").status == 0)
            #expect(try gate.inspect().fault == nil)
            #expect(try elements().contains("198.51.100.7"))

            let second = try Gate()
            let error = #expect(throws: GateError.self) { try arm(second) }
            #expect(error?.description.contains("is a second sallyportd running") == true)
        }
    }

    @Test func noticesAndMendsWhatOthersChangeInATableThatIsNotOwned() throws {
        try withGate(owning: false) { gate in
            var plan = Plan()
            try gate.perform([.open(Grant(1, "22/tcp", from: "198.51.100.7"))], in: &plan)
            let monitor = try RulesetMonitor(besides: gate)
            try arm(gate, plan)
            #expect(!(monitor.tampering() != nil))

            for damage in [
                ["flush", "ruleset"], ["delete", "table", "inet", "sallyport"],
                ["insert", "rule", "inet", "sallyport", "keep", "accept"],
                ["flush", "chain", "inet", "sallyport", "keep"],
                ["delete", "element", "inet", "sallyport", "managed", "{ tcp . 22 }"],
                ["add", "set", "inet", "sallyport", "mine", "{ type ipv4_addr; }"],
                [
                    "add", "chain", "inet", "sallyport", "mine",
                    "{ type filter hook input priority 0; policy drop; }",
                ],
            ] {
                _ = try shell(["nft"] + damage).get()
                #expect((monitor.tampering() != nil))
                let isSet = damage[1] == "set"
                #expect(try (gate.inspect().fault != nil) == !isSet, "\(damage)")
                try arm(gate, plan)
                #expect(try gate.inspect().fault == nil, "\(damage)")
                #expect(try elements().contains("198.51.100.7"))
                #expect(try !shell("nft", "list", "ruleset").get().contains("mine"))
                _ = (monitor.tampering() != nil)
            }
        }
    }

    /// What another process does while the gate reads the table, and before it commits.
    @Test func armsOverNothingThatItHasNotRead() throws {
        try withGate(owning: false) { gate in
            var readings = 0
            try gate.arm(managed: Hosts.managed, breakGlass: [], holding: .exactly(Plan())) {
                readings += 1
                if readings == 1 {
                    let set = ["nft", "add", "set", "inet", "sallyport", "mine"]
                    _ = try? shell(set + ["{ type ipv4_addr; }"])
                }
                return bootTime()
            }
            #expect(readings == 2)
            #expect(try !elements().contains("mine"))
        }
    }

    /// What another process does when it has committed, and before it has looked for sessions again.
    @Test func armsAnewWhatIsTakenAwayMeanwhile() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let early = try hosts.session(to: service, on: 22)
        var plan = Plan()
        _ = plan.apply([.open(try Grant(1, "22/tcp", from: "198.51.100.8"))])
        try hosts.host.run {
            let gate = try Gate(owning: false)
            // For the gate no time goes by.
            let now = bootTime()
            var readings = 0
            try gate.arm(managed: Hosts.managed, breakGlass: [], holding: .exactly(plan)) {
                readings += 1
                if readings == 2 { _ = try? shell("nft", "flush", "ruleset") }
                return now
            }
            #expect(readings > 2)
            #expect(try gate.inspect().fault == nil)
        }
        #expect(early.client.says("still here", to: early.host))
    }

    @Test func countsOnWhatWasDroppedBefore() throws {
        let hosts = try Hosts()
        let service = try hosts.listener(on: 22)
        let gate = try hosts.armedGate()
        #expect(try !hosts.connects(to: 22))
        try hosts.host.run { try arm(gate) }
        #expect(try gate.inspect().droppedPackets == 1)
        withExtendedLifetime(service) {}
    }
}

private func arm(_ gate: Gate, _ plan: Plan = Plan()) throws {
    try gate.arm(managed: Hosts.managed, breakGlass: [], holding: .exactly(plan), now: bootTime)
}

/// All sets of grants, as nft shows them.
private func elements() throws -> String {
    try shell("nft", "list", "sets", "inet").get()
}

/// The whole seconds that are left of the only element.
private func timeLeft() throws -> Int {
    let text = try elements()
    let expiry = try #require(text.firstMatch(of: /expires (?:(\d+)m)?(?:(\d+)s)?/))
    return (expiry.1.flatMap { Int($0) } ?? 0) * 60 + (expiry.2.flatMap { Int($0) } ?? 0)
}

private func == (seconds: Int, range: ClosedRange<Int>) -> Bool { range.contains(seconds) }

extension String {
    /// The text without what differs from run to run.
    fileprivate var withoutTimes: String {
        replacing(/\ timeout \S+( expires \S+)?/, with: "")
            .replacing(/\ # progname \S+/, with: "")
    }
}

import Policy
import Testing
import TestSupport

@Suite struct PlanPropertyTests {
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func agreesWithTheObviousModel(seed: UInt64) {
        var generator = Generator(seed: seed)
        var plan = Plan()
        var model = PlanModel()
        var requests: Int64 = 0
        for _ in 0..<25 {
            let batch = (0..<generator.int(1...5)).map { _ in generator.event(after: &requests) }
            let before = model.elements
            for event in batch { model.apply(event) }
            let net = plan.apply(batch).changes

            expectSame(plan, model)
            #expect(Set(net) == changes(from: before, to: model.elements))
            #expect(Set(net.map(\.key)).count == net.count)
            expectSameAnswers(plan, model)
        }
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func undoingBringsEverythingBack(seed: UInt64) {
        var generator = Generator(seed: seed)
        var plan = Plan()
        var model = PlanModel()
        var requests: Int64 = 0
        var past: [(model: PlanModel, undo: Plan.Undo)] = []
        for _ in 0..<8 {
            let batch = (0..<generator.int(1...8)).map { _ in generator.event(after: &requests) }
            past.append((model, plan.apply(batch).undo))
            for event in batch { model.apply(event) }
        }
        while let (before, undo) = past.popLast() {
            let undone = plan.undo(undo)
            expectSame(plan, before)
            #expect(Set(undone) == changes(from: model.elements, to: before.elements))
            expectSameAnswers(plan, before)
            model = before
        }
        #expect(plan.count == 0)
    }

    private func changes(
        from before: [ElementKey: ElementState],
        to after: [ElementKey: ElementState]
    ) -> Set<ElementChange> {
        let keys = Set(before.keys).union(after.keys)
        return Set(
            keys.compactMap { PlanModel.change(of: $0, from: before[$0], to: after[$0]) }
        )
    }

    private func expectSame(_ plan: Plan, _ model: PlanModel) {
        #expect(plan.elementStates == model.elements)
        #expect(Set(plan.allGrants) == Set(model.grants.values))
        #expect(plan.count == model.grants.count)
    }

    private func expectSameAnswers(_ plan: Plan, _ model: PlanModel) {
        let grants = model.grants.values
        #expect(plan.nextDeadline == grants.map(\.end.deadline).min())
        for now in [-1, 0, 15, 30].map(boot) {
            let ended = grants.filter { $0.end.deadline <= now }.map(\.id).sorted()
            var copy = plan
            #expect(copy.takeEnded(at: now).sorted() == ended)
        }
        for request in 0...7 as ClosedRange<Int64> {
            let expected = grants.filter { $0.id.request == request }.sorted { $0.id < $1.id }
            #expect(plan.grants(ofRequest: request) == expected)
        }
        for ordinal in 0...4 {
            let id = Grant.ID(request: 3, ordinal: ordinal)
            #expect(plan[id] == model.grants[id])
        }
        #expect(model.elements.allSatisfy { plan.end(of: $0.key) == $0.value.end })
        for subject in holders.map(\.subject) + [.local(uid: 7)] {
            let held = grants.count { $0.policy == "ssh" && $0.requester.subject == subject }
            #expect(plan.activeCount(policy: "ssh", of: subject) == held)
        }
        for delegate in ["portal", "hub", "other"] {
            let held = grants.count { $0.requester.via == delegate }
            #expect(plan.activeCount(via: delegate) == held)
        }
        for grant in grants {
            let subject = grant.requester.subject
            let alike = grants.filter {
                $0.port == grant.port && $0.source == grant.source
                    && $0.requester.subject == subject
            }
            #expect(
                plan.live(port: grant.port, source: grant.source, of: subject)
                    == alike.map(\.id).max()
            )
            #expect(plan.live(port: grant.port, source: grant.source, of: .local(uid: 7)) == nil)
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func opensExactlyWhatSomeLiveGrantOpens(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        let grants = generator.grants(12)
        let elements = Plan(live: grants).elementStates
        for _ in 0..<300 {
            let near = generator.pick(grants).source.address
            let address = generator.chance(70) ? near : generator.address()
            let port = UInt16(generator.pick([19, 20, 22, 25, 26, 28, 65_535]))
            let transport = generator.pick(Transport.allCases)
            let granted = grants.contains {
                $0.source.contains(address) && $0.port.lower <= port && port <= $0.port.upper
                    && $0.port.portProtocol.transports.contains(transport)
            }
            // As the gate does it: one exact lookup for each prefix length in use.
            let opened = (0...address.family.bits).contains { length in
                CIDR(address, prefixLength: length).map {
                    elements[ElementKey(source: $0, transport: transport, port: port)] != nil
                } ?? false
            }
            #expect(granted == opened, "\(address) \(transport) \(port)")
        }
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func endingOneChangesNothingOfAnother(seed: UInt64) {
        var generator = Generator(seed: seed)
        let grants = generator.grants(15)
        var plan = Plan(live: grants)
        let victim = generator.pick(grants)
        let others = grants.filter { $0.id != victim.id }

        _ = plan.apply([closed(victim.id)])

        #expect(Set(plan.allGrants) == Set(others))
        let elements = plan.elementStates
        for grant in others {
            for key in PlanModel.keys(of: grant) {
                let longest = others.filter { PlanModel.keys(of: $0).contains(key) }
                    .map(\.end.deadline).max()
                #expect(elements[key]?.end == longest, "\(grant.id) \(key)")
            }
        }
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func aClockStepNeverLengthens(seed: UInt64) {
        var generator = Generator(seed: seed)
        let grants = generator.grants(15)
        var plan = Plan(live: grants)
        let before = Dictionary(uniqueKeysWithValues: grants.map { ($0.id, $0.end) })
        let now = Moment(
            wall: Timestamp(
                milliseconds: generator.pick([.min, .max, Int64(generator.int(-30...30))])
            ),
            boot: boot(generator.pick([.min, .max, Int64(generator.int(-30...30))]))
        )

        let events = plan.shortened(at: now)
        #expect(events.allSatisfy { $0.onlyTakesAway })
        for change in plan.apply(events).changes {
            guard case .move(_, let from, let until, _) = change, until < from else {
                Issue.record("\(change) at \(now)")
                continue
            }
        }

        for grant in plan.allGrants {
            let old = before[grant.id]?.deadline ?? boot(.min)
            #expect(grant.end.deadline <= old)
            #expect(grant.end.expiresAt == before[grant.id]?.expiresAt)
            if now.boot.milliseconds.magnitude <= 30, now.wall.milliseconds.magnitude <= 30 {
                let left = grant.end.expiresAt.milliseconds - now.wall.milliseconds
                #expect(grant.end.deadline == min(old, boot(now.boot.milliseconds + left)))
            }
        }
        #expect(plan.shortened(at: now).isEmpty)
    }

    @Test func manyHoldersOfOneElementAreKeptApart() throws {
        var generator = Generator(seed: 1)
        var plan = Plan()
        var ends: [Grant.ID: BootTime] = [:]
        let (source, range) = (try cidr("10.0.0.0/8"), try port("22/tcp"))
        let key = ElementKey(source: source, transport: .tcp, port: 22)
        for number in 1...5_000 as ClosedRange<Int64> {
            let id = Grant.ID(request: number, ordinal: 1)
            let end = boot(Int64(generator.int(0...100_000)))
            ends[id] = end
            _ = plan.apply([
                opened([
                    Grant(
                        id: id,
                        policy: "ssh",
                        port: range,
                        source: source,
                        requester: Requester(
                            subject: .local(uid: UInt32(number)),
                            name: "user\(number)"
                        ),
                        startsAt: Timestamp(milliseconds: 0),
                        end: GrantEnd(expiresAt: Timestamp(milliseconds: 0), deadline: end)
                    )
                ])
            ])
        }
        // In the order of the dictionary, which is no order at all.
        for id in Array(ends.keys) {
            let longest = ends.values.max()
            ends[id] = nil
            let next = ends.values.max()
            let changes = plan.apply([closed(id)]).changes
            #expect(changes.count == (longest == next ? 0 : 1))
            switch changes.first {
            case nil: break
            case .move(let moved, let from, let until, _)?:
                #expect(moved == key && from == longest && until == next)
            case .close(let closed, let from)?:
                #expect(closed == key && from == longest && next == nil)
            case .open?: Issue.record("\(changes)")
            }
        }
        #expect(plan.count == 0)
        #expect(Array(plan.elements).isEmpty)
    }
}

import Policy
import Testing
import TestSupport

@Suite struct PlanPropertyTests {
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func agreesWithTheObviousModel(seed: UInt64) {
        var generator = Generator(seed: seed)
        var plan = Plan()
        var model = PlanModel()
        for _ in 0..<25 {
            let batch = (0..<generator.int(1...5)).map { _ in generator.change() }
            let before = model.elements
            for change in batch { model.apply(change) }
            let net = plan.apply(batch).changes

            #expect(plan.elementStates == model.elements)
            #expect(Set(plan.allGrants) == Set(model.grants.values))
            #expect(plan.count == model.grants.count)
            #expect(Set(net) == changes(from: before, to: model.elements))
            #expect(Set(net.map(\.key)).count == net.count)
            expectSameAnswers(plan, model)
        }
    }

    private func changes(
        from before: [ElementKey: ElementState],
        to after: [ElementKey: ElementState]
    ) -> Set<ElementChange> {
        let keys = Set(before.keys).union(after.keys)
        return Set(
            keys.filter { before[$0]?.end != after[$0]?.end }.map {
                ElementChange(
                    key: $0,
                    before: before[$0]?.end,
                    after: after[$0]?.end,
                    label: after[$0]?.label ?? ""
                )
            }
        )
    }

    private func expectSameAnswers(_ plan: Plan, _ model: PlanModel) {
        let grants = model.grants.values
        #expect(plan.nextDeadline == grants.map(\.deadline).min())
        for now in [-1, 0, 15, 30] as [Int64] {
            let ended = grants.filter { $0.deadline <= now }.map(\.id).sorted()
            var copy = plan
            #expect(copy.takeEnded(at: now).sorted() == ended)
        }
        for request in 0...7 as ClosedRange<Int64> {
            let expected = grants.filter { $0.id.request == request }.sorted { $0.id < $1.id }
            #expect(plan.grants(ofRequest: request) == expected)
        }
        for ordinal in 0...6 {
            let id = Grant.ID(request: 3, ordinal: ordinal)
            #expect(plan[id] == model.grants[id])
        }
        for uid in 1_000...1_003 as ClosedRange<UInt32> {
            let held = grants.count { $0.policy == "ssh" && $0.requester.uid == uid }
            #expect(plan.activeCount(policy: "ssh", uid: uid) == held)
        }
        for grant in grants {
            let alike = grants.filter {
                $0.port == grant.port && $0.source == grant.source
                    && $0.requester.uid == grant.requester.uid
            }
            let newest = alike.map(\.id).max()
            #expect(
                plan.live(port: grant.port, source: grant.source, uid: grant.requester.uid)
                    == newest
            )
            #expect(plan.live(port: grant.port, source: grant.source, uid: 7) == nil)
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func opensExactlyWhatSomeLiveGrantOpens(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        var plan = Plan()
        _ = plan.apply((0..<12).map { _ in .open(generator.grant()) })
        let grants = Array(plan.allGrants)
        let elements = plan.elementStates
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
    func theInverseBringsEverythingBack(seed: UInt64) {
        var generator = Generator(seed: seed)
        var plan = Plan()
        _ = plan.apply((0..<15).map { _ in .open(generator.grant()) })
        let (grants, elements) = (Set(plan.allGrants), plan.elementStates)

        let (done, inverse) = plan.apply((0..<20).map { _ in generator.change() })
        let (undone, redo) = plan.apply(inverse)

        #expect(Set(plan.allGrants) == grants)
        #expect(plan.elementStates == elements)
        #expect(
            Set(undone.map { [$0.after, $0.before] }) == Set(done.map { [$0.before, $0.after] })
        )
        #expect(Set(undone.map(\.key)) == Set(done.map(\.key)))
        _ = plan.apply(redo)
        #expect(plan.apply(inverse).changes.count == done.count)
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func revokingOneChangesNothingOfAnother(seed: UInt64) {
        var generator = Generator(seed: seed)
        var plan = Plan()
        _ = plan.apply((0..<15).map { _ in .open(generator.grant()) })
        let victim = generator.pick(Array(plan.allGrants))
        let others = plan.allGrants.filter { $0.id != victim.id }

        _ = plan.apply([.close(victim.id)])

        #expect(Set(plan.allGrants) == Set(others))
        let elements = plan.elementStates
        for grant in others {
            for key in PlanModel.keys(of: grant) {
                let longest = others.filter { PlanModel.keys(of: $0).contains(key) }
                    .map(\.deadline).max()
                #expect(elements[key]?.end == longest, "\(grant.id) \(key)")
            }
        }
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func rebasingNeverLengthens(seed: UInt64) {
        var generator = Generator(seed: seed)
        var plan = Plan()
        _ = plan.apply((0..<15).map { _ in .open(generator.grant()) })
        let before = Dictionary(plan.allGrants.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        let now = Moment(
            wall: Timestamp(
                milliseconds: generator.pick([.min, .max, Int64(generator.int(-30...30))])
            ),
            boot: generator.pick([.min, .max, Int64(generator.int(-30...30))])
        )

        let (changes, inverse) = plan.rebase(at: now)

        for change in changes {
            #expect((change.after ?? .max) < (change.before ?? .min), "\(now)")
        }
        for grant in plan.allGrants {
            let deadline = before[grant.id]?.deadline ?? .min
            #expect(grant.deadline <= deadline)
            #expect(grant.expiresAt == before[grant.id]?.expiresAt)
            if now.boot.magnitude <= 30, now.wall.milliseconds.magnitude <= 30 {
                let left = grant.expiresAt.milliseconds - now.wall.milliseconds
                #expect(grant.deadline == min(deadline, now.boot + left))
            }
        }
        #expect(plan.rebase(at: now).changes.isEmpty)
        _ = plan.apply(inverse)
        #expect(Set(plan.allGrants) == Set(before.values))
    }

    @Test func manyHoldersOfOneElementAreKeptApart() throws {
        var generator = Generator(seed: 1)
        var plan = Plan()
        var ends: [Grant.ID: Int64] = [:]
        let (source, range) = (try cidr("10.0.0.0/8"), try port("22/tcp"))
        let key = ElementKey(source: source, transport: .tcp, port: 22)
        for number in 1...5_000 as ClosedRange<Int64> {
            let id = Grant.ID(request: number, ordinal: 1)
            ends[id] = Int64(generator.int(0...100_000))
            _ = plan.apply([
                .open(
                    Grant(
                        id: id,
                        policy: "ssh",
                        port: range,
                        source: source,
                        requester: Requester(uid: UInt32(number), user: "user\(number)"),
                        startsAt: Timestamp(milliseconds: 0),
                        expiresAt: Timestamp(milliseconds: 0),
                        deadline: ends[id] ?? 0
                    )
                )
            ])
        }
        // In the order of the dictionary, which is no order at all.
        for id in Array(ends.keys) {
            let longest = ends.values.max()
            ends[id] = nil
            let next = ends.values.max()
            let changes = plan.apply([.close(id)]).changes
            #expect(changes.map(\.key) == (longest == next ? [] : [key]))
            if let change = changes.first {
                #expect(change.before == longest)
                #expect(change.after == next)
            }
        }
        #expect(plan.count == 0)
        #expect(Array(plan.elements).isEmpty)
    }
}

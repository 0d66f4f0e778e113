import Policy
import TestSupport
import Testing

@Suite struct WaitingTests {
    // MARK: The requests that wait

    /// What waits, and when the next becomes something, follows from what happened; undoing brings
    /// all of it back.
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func agreesWithTheObviousModelAndCanBeUndone(seed: UInt64) throws {
        var random = Generator(seed: seed)
        var requests = WaitingRequests()
        var model: [Int64: WaitingRequest] = [:]
        var past: [([Int64: WaitingRequest], WaitingRequests.Undo)] = []
        for _ in 0..<25 {
            let events = (0..<random.int(1...4)).map { _ in random.waitingEvent() }
            past.append((model, requests.apply(events)))
            for event in events { apply(event, to: &model) }
            expectSame(requests, model)
        }
        while let (before, undo) = past.popLast() {
            requests.undo(undo)
            expectSame(requests, before)
        }
        #expect(requests.count == 0)
    }

    private func apply(_ event: Event, to model: inout [Int64: WaitingRequest]) {
        switch event {
        case .asked(let request): model[request.id] = request
        case .approved(let id, let approval, let state):
            guard var request = model[id] else { return }
            request.wait.state = state
            request.wait.revision += 1
            if let approval { request.wait.approvals.append(approval) }
            let times = [request.wait.duration] + [approval?.duration].compactMap(\.self)
            request.wait.duration = times.min() ?? .zero
            model[id] = request
        case .concluded(let id, _, _, _, _): model[id] = nil
        case .opened(let request): if request.wait != nil { model[request.id] = nil }
        default: break
        }
    }

    private func expectSame(_ requests: WaitingRequests, _ model: [Int64: WaitingRequest]) {
        #expect(requests.all == model.values.sorted { $0.id < $1.id })
        #expect(requests.count == model.count)
        #expect(requests.nextDue == model.values.map(\.due).min())
        for id in 1...5 as ClosedRange<Int64> {
            #expect(requests[id] == model[id])
        }
        let extensions = model.values.filter { $0.wait.extends != nil }
        #expect(requests.extensions == extensions.sorted { $0.id < $1.id })
        for person in holders {
            let own = model.values.filter { $0.requester.subject == person.subject }
            #expect(requests.count(of: person.subject) == own.count)
        }
        let now = noon + .seconds(30)
        #expect(Set(requests.due(at: now)) == Set(model.values.filter { $0.due <= now }))
    }

    // MARK: Approving

    private let people = People([
        .init(name: "Bob", local: "bob", remote: .remote(issuer: "corp", id: "b1"))
    ])

    private func policies() throws -> PolicySet {
        PolicySet(
            policies: [
                AccessPolicy(
                    name: "ssh",
                    ports: [try port("22/tcp")],
                    approvals: 2,
                    approvers: [.group("leads"), .asserted(issuer: "corp", group: "leads")],
                    pendingFor: .seconds(600)
                ),
                AccessPolicy(
                    name: "rdp",
                    ports: [try port("3389/tcp")],
                    approvals: 1,
                    pendingFor: .seconds(300)
                ),
                AccessPolicy(name: "web", ports: [try port("80/tcp")]),
            ],
            roles: RoleTable([
                .requester: [.group("sallyport")],
                .approver: [
                    .user("bob"), .group("leads"), .user("carol"),
                    .asserted(issuer: "corp", group: "leads"),
                ],
            ])
        )
    }

    private func decide(
        by identity: Identity,
        _ duration: String? = nil,
        of request: WaitingRequest
    ) throws -> PolicySet.ApprovalDecision {
        try policies().decideApproval(
            of: request,
            by: identity,
            shortenedTo: duration,
            people: people,
            at: noon
        )
    }

    @Test func countsUnderEachPolicyItsGiverMayAnswerFor() throws {
        var request = try waiting(for: ["ssh", "rdp", "web"])
        let policies = try policies()
        #expect(
            policies.needs(under: request.wait.policies).map { "\($0.policy) \($0.approvals)" }
                == ["ssh 2", "rdp 1"]
        )
        #expect(policies.pendingFor(request.wait.policies) == .seconds(300))
        let given: [(Identity, Set<String>)] = [
            // An approver whom the policy's own list does not name.
            (local("carol", uid: 1_004), ["rdp", "web"]),
            (local("erin", uid: 1_005, groups: ["leads"]), ["ssh", "rdp", "web"]),
            (root, ["ssh", "rdp", "web"]),
        ]
        var met: [[Bool]] = []
        for (identity, expected) in given {
            guard case .counts(let approval) = try decide(by: identity, of: request) else {
                Issue.record("\(identity.name) may approve")
                continue
            }
            #expect(approval.policies == expected)
            request.wait.add(approval, then: .pending)
            let needs = policies.needs(
                under: request.wait.policies,
                given: request.wait.approvals
            )
            met.append(needs.map(\.isMet))
        }
        #expect(met == [[false, true], [false, true], [true, true]])
    }

    @Test func nobodyApprovesTheirOwnUnderAnyName() throws {
        let asked = try waiting(for: ["rdp"], by: local("bob", uid: 1_001))
        let login = Origin.Login(uid: 1_001, name: "bob")
        var sudo = root
        sudo.origin = .process(.init(pid: 9, login: login))
        let remoteBob = try remote("Robert", id: "b1", groups: ["leads"])
        for identity in [local("bob", uid: 1_001), sudo, remoteBob] {
            guard case .notPermitted(let reason) = try decide(by: identity, of: asked) else {
                Issue.record("\(identity.name) must not approve it")
                continue
            }
            #expect(reason.contains("same person"))
        }
        let other = try remote("bob", id: "b2", groups: ["leads"])
        guard case .counts = try decide(by: other, of: asked) else {
            Issue.record("the name alone makes nobody the requester")
            return
        }
    }

    @Test func onePersonCountsOnceUnderAnyName() throws {
        var asked = try waiting(for: ["rdp"])
        let remoteBob = try remote("Robert", id: "b1", groups: ["leads"])
        guard case .counts(let first) = try decide(by: remoteBob, of: asked) else {
            Issue.record("remote bob is an approver")
            return
        }
        asked.wait.add(first, then: .pending)
        for identity in [remoteBob, local("bob", uid: 1_001)] {
            guard case .countsAlready = try decide(by: identity, of: asked) else {
                Issue.record("\(identity.name) counted twice")
                continue
            }
        }
    }

    @Test func whoIsNoApproverMayNot() throws {
        let asked = try waiting(for: ["ssh"])
        let mallory = local("mallory", uid: 1_009, groups: ["sallyport"])
        let elsewhere = try remote("m", id: "m1", groups: ["leads"], via: portal(policies: ["rdp"]))
        for identity in [mallory, local("carol", uid: 1_004), elsewhere] {
            guard case .notPermitted = try decide(by: identity, of: asked) else {
                Issue.record("\(identity.name) may not approve under ssh")
                continue
            }
        }
    }

    @Test(arguments: [
        ("30m", Duration.seconds(1_800)), ("1h", nil), ("2h", .zero), ("0s", .zero),
        ("soon", .zero),
    ])
    func anApprovalMayShortenAndNeverLengthen(_ text: String, _ expected: Duration?) throws {
        let asked = try waiting(for: ["rdp"])
        switch try decide(by: root, text, of: asked) {
        case .counts(let approval): #expect(approval.duration == expected)
        case .refused(let violations):
            #expect(violations.map(\.field) == ["duration"])
            #expect(expected == .zero)
        case let other: Issue.record("\(other)")
        }
    }

    // MARK: Opening

    @Test func isJudgedAgainByThePoliciesOfThen() throws {
        var asked = try waiting(for: ["rdp"])
        guard case .counts(let approval) = try decide(by: root, of: asked) else {
            Issue.record("root may approve")
            return
        }
        asked.wait.add(approval, then: .pending)
        func again(
            held: Int = 0,
            _ change: (inout AccessPolicy) throws -> Void
        ) throws -> PolicySet.Decision {
            var list = try policies().policies
            try change(&list[1])
            return PolicySet(policies: list, roles: try policies().roles).decideAgain(
                asked,
                by: alice,
                at: noon,
                active: { _ in held },
                activeOfDelegate: 0,
                renews: { _ in false }
            )
        }
        #expect(try again { _ in } == .open(asked.wait.openings, for: .seconds(3_600), from: nil))
        let changes: [(inout AccessPolicy) throws -> Void] = [
            { $0.enabled = false }, { $0.name = "other" },
            { $0.ports = [try port("3390/tcp")] },
            { $0.allowedSources = [try cidr("192.0.2.0/24")] },
            { $0.maxDuration = .seconds(1_800) },
            { $0.ticketPattern = try TicketPattern(parsing: "^OPS-[0-9]+$") },
        ]
        for (index, change) in changes.enumerated() {
            guard case .refused = try again(change) else {
                Issue.record("change \(index) must keep it from opening")
                continue
            }
        }
        guard case .refused = try again(held: 10, { _ in }) else {
            Issue.record("the requester holds as many as the policy allows")
            return
        }
        for change: (inout AccessPolicy) -> Void in [
            { $0.approvals = 2 }, { $0.requesters = [.user("bob")] },
        ] {
            guard case .notPermitted = try again(change) else {
                Issue.record("more approvals or other requesters are asked for")
                continue
            }
        }
    }

    @Test func endsWhenTheRequestSaysWhateverTimeItOpens() throws {
        var asked = try waiting(for: ["rdp"])
        #expect(asked.duration(at: noon + .seconds(9_000)) == .seconds(3_600))
        asked.wait.startsAt = noon + .seconds(60)
        #expect(asked.duration(at: noon + .seconds(660)) == .seconds(3_000))
        asked.ask.until = "2026-12-01T12:30:00Z"
        #expect(asked.duration(at: noon + .seconds(660)) == .seconds(1_140))
        #expect(asked.duration(at: noon + .seconds(1_800)) == .zero)
    }
}

/// A request for an hour under policies, which waits for ten minutes.
func waiting(
    _ id: Int64 = 1,
    for policies: [String],
    by identity: Identity = alice
) throws -> WaitingRequest {
    let ports = ["ssh": "22/tcp", "rdp": "3389/tcp", "web": "80/tcp"]
    return WaitingRequest(
        id: id,
        requester: identity.person,
        ask: Ask(targets: policies, sources: ["10.0.0.7"]),
        createdAt: noon,
        wait: Wait(
            state: .pending,
            openings: try policies.map {
                Opening(
                    policy: $0,
                    port: try port(ports[$0] ?? "1/tcp"),
                    source: try cidr("10.0.0.7/32")
                )
            },
            duration: .seconds(3_600),
            startsAt: nil,
            pendingUntil: noon + .seconds(600),
            groups: identity.groups
        )
    )
}

extension Generator {
    /// Something that happens to one of few requests, which may not wait or never have been.
    fileprivate mutating func waitingEvent() -> Event {
        let id = Int64(int(1...5))
        let holder = pick(holders)
        let person = Person(
            subject: holder.subject,
            name: holder.name,
            origin: .process(.init(pid: 7))
        )
        switch int(1...9) {
        case 1...4:
            var wait = Wait(
                state: pick([RequestState.pending, .scheduled]),
                openings: [],
                duration: .seconds(int(1...9)),
                startsAt: chance(50) ? noon + .seconds(int(0...60)) : nil,
                pendingUntil: noon + .seconds(int(0...60)),
                groups: []
            )
            wait.extends = chance(30) ? Int64(int(1...5)) : nil
            return .asked(
                WaitingRequest(
                    id: id,
                    requester: person,
                    ask: Ask(targets: [], sources: []),
                    createdAt: noon,
                    wait: wait
                )
            )
        case 5...6:
            let approval = Approval(
                by: person,
                at: noon,
                duration: chance(50) ? .seconds(int(1...9)) : nil,
                policies: []
            )
            return .approved(
                id,
                chance(80) ? approval : nil,
                then: pick([RequestState.pending, .scheduled])
            )
        case 7: return .concluded(id, .denied, at: noon, by: person, reason: "no")
        case 8:
            var request = AccessRequest(
                id: id,
                requester: person,
                ask: Ask(targets: [], sources: []),
                createdAt: noon,
                idempotencyKey: nil,
                grants: []
            )
            if chance(70) {
                request.wait = Wait(
                    state: .active,
                    openings: [],
                    duration: .zero,
                    startsAt: nil,
                    pendingUntil: noon,
                    groups: []
                )
            }
            return .opened(request)
        default: return closed(Grant.ID(request: id, ordinal: 1))
        }
    }
}

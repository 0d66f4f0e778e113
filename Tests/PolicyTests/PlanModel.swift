import Policy
import TestSupport

/// What `Plan` does, done the slow and obvious way.
struct PlanModel {
    var grants: [Grant.ID: Grant] = [:]

    mutating func apply(_ event: Event) {
        switch event {
        case .opened(let request):
            for grant in request.grants { grants[grant.id] = grant }
        case .ended(let id, _, _, _, _): grants[id] = nil
        case .extended(let id, _, let end, _, _), .takenBack(let id, let end):
            grants[id]?.end = end
        case .shortened(let id, let deadline), .carriedOver(let id, let deadline):
            grants[id]?.end.deadline = deadline
        case .asked, .approved, .concluded, .used, .noted: break
        }
    }

    /// End and label of every element: for each the grant that lasts longest.
    var elements: [ElementKey: ElementState] {
        var decisive: [ElementKey: Grant] = [:]
        for grant in grants.values {
            for key in Self.keys(of: grant) {
                guard let other = decisive[key],
                    (other.end.deadline, other.id) > (grant.end.deadline, grant.id)
                else {
                    decisive[key] = grant
                    continue
                }
            }
        }
        return decisive.mapValues {
            let who = $0.requester
            let name = who.subject.uid == nil ? who.subject.description : who.name
            return ElementState(end: $0.end.deadline, label: "\($0.id) \(name)")
        }
    }

    static func keys(of grant: Grant) -> [ElementKey] {
        grant.port.portProtocol.transports.flatMap { transport in
            (grant.port.lower...grant.port.upper).map {
                ElementKey(source: grant.source, transport: transport, port: $0)
            }
        }
    }

    /// What leads from one state of an element to another.
    static func change(
        of key: ElementKey,
        from before: ElementState?,
        to after: ElementState?
    ) -> ElementChange? {
        switch (before, after) {
        case (nil, nil): nil
        case (nil, let after?): .open(key, until: after.end, label: after.label)
        case (let before?, nil): .close(key, from: before.end)
        case (let before?, let after?):
            before.end == after.end
                ? nil : .move(key, from: before.end, until: after.end, label: after.label)
        }
    }
}

struct ElementState: Hashable {
    var end: BootTime
    var label: String
}

extension Plan {
    var elementStates: [ElementKey: ElementState] {
        Dictionary(
            elements.map { ($0.key, ElementState(end: $0.end, label: $0.label)) },
            // A key twice must not go unseen.
            uniquingKeysWith: { _, _ in ElementState(end: boot(.min), label: "twice") }
        )
    }
}

/// The people who hold the grants of the tests: two names twice, here and elsewhere.
let holders = [
    Requester(subject: .local(uid: 1_000), name: "alice"),
    Requester(subject: .local(uid: 1_001), name: "bob"),
    Requester(subject: .remote(issuer: "corp", id: "1000"), name: "alice", via: "portal"),
    Requester(subject: .remote(issuer: "corp", id: "bob"), name: "bob", via: "hub"),
]

/// The event of a request that opened grants, all of its first one's requester.
func opened(_ grants: [Grant]) -> Event {
    let requester = grants.first?.requester ?? holders[0]
    return .opened(
        AccessRequest(
            id: grants.first?.id.request ?? 0,
            requester: Person(
                subject: requester.subject,
                name: requester.name,
                via: requester.via,
                origin: .process(Origin.Process(pid: 7))
            ),
            ask: Ask(targets: [], sources: []),
            createdAt: Timestamp(milliseconds: 0),
            idempotencyKey: nil,
            grants: grants
        )
    )
}

/// The event of a grant that its requester closed.
func closed(_ id: Grant.ID) -> Event {
    .ended(id, .closedByRequester, at: Timestamp(milliseconds: 0), by: alice.person)
}

extension Generator {
    /// A grant that shares source, port, requester and end with others as often as possible.
    mutating func grant(_ id: Grant.ID) -> Grant {
        let sources = [
            "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.5/32", "::/0", "2001:db8::/32",
            "2001:db8::/64", "2001:db8::1/128",
        ]
        let ports = ["22/tcp", "22/udp", "22/any", "20-25/tcp", "24-27/any", "65530-65535/udp"]
        guard let source = try? cidr(pick(sources)), let port = try? port(pick(ports)) else {
            preconditionFailure("a text of the table above is wrong")
        }
        return Grant(
            id: id,
            policy: pick(["ssh", "rdp"]),
            port: port,
            source: source,
            requester: pick(holders),
            startsAt: Timestamp(milliseconds: 0),
            end: end()
        )
    }

    /// Grants of as many requests, one each.
    mutating func grants(_ count: Int) -> [Grant] {
        (1...count).map { grant(Grant.ID(request: Int64($0), ordinal: 1)) }
    }

    mutating func end() -> GrantEnd {
        let deadline = Int64(int(0...30))
        return GrantEnd(
            expiresAt: Timestamp(milliseconds: deadline + Int64(int(-5...5))),
            deadline: boot(deadline)
        )
    }

    /// Something that happens after `requests` requests, to grants that may have ended or never
    /// been; what opens is the next request.
    mutating func event(after requests: inout Int64) -> Event {
        let id = Grant.ID(request: Int64(int(1...Int(requests) + 1)), ordinal: int(1...3))
        switch int(1...12) {
        case 1...5:
            requests += 1
            let request = requests
            return opened((1...int(1...3)).map { grant(Grant.ID(request: request, ordinal: $0)) })
        case 6...7: return closed(id)
        case 8: return .extended(id, from: end(), until: end(), by: alice.person)
        case 9: return .takenBack(id, until: end())
        case 10: return .shortened(id, deadline: end().deadline)
        case 11: return .carriedOver(id, deadline: end().deadline)
        default: return .noted(Notice(.configurationLoaded))
        }
    }
}

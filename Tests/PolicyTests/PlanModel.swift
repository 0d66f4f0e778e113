import Policy
import TestSupport

/// What `Plan` does, done the slow and obvious way.
struct PlanModel {
    var grants: [Grant.ID: Grant] = [:]

    mutating func apply(_ change: GrantChange) {
        switch change {
        case .open(let grant): grants[grant.id] = grant
        case .close(let id): grants[id] = nil
        case .setEnd(let id, let expiresAt, let deadline):
            grants[id]?.expiresAt = expiresAt
            grants[id]?.deadline = deadline
        }
    }

    /// End and label of every element: for each the grant that lasts longest.
    var elements: [ElementKey: ElementState] {
        var decisive: [ElementKey: Grant] = [:]
        for grant in grants.values {
            for key in Self.keys(of: grant) {
                guard let other = decisive[key],
                    (other.deadline, other.id) > (grant.deadline, grant.id)
                else {
                    decisive[key] = grant
                    continue
                }
            }
        }
        return decisive.mapValues {
            ElementState(end: $0.deadline, label: "\($0.id) \($0.requester.user)")
        }
    }

    static func keys(of grant: Grant) -> [ElementKey] {
        grant.port.portProtocol.transports.flatMap { transport in
            (grant.port.lower...grant.port.upper).map {
                ElementKey(source: grant.source, transport: transport, port: $0)
            }
        }
    }
}

struct ElementState: Hashable {
    var end: Int64
    var label: String
}

extension Plan {
    var elementStates: [ElementKey: ElementState] {
        Dictionary(
            elements.map { ($0.key, ElementState(end: $0.end, label: $0.label)) },
            // A key twice must not go unseen.
            uniquingKeysWith: { _, _ in ElementState(end: .min, label: "twice") }
        )
    }
}

extension Generator {
    /// Grants that share sources, ports, requesters, requests and ends as often as possible.
    mutating func grant() -> Grant {
        let sources = [
            "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.5/32", "::/0", "2001:db8::/32",
            "2001:db8::/64", "2001:db8::1/128",
        ]
        let ports = ["22/tcp", "22/udp", "22/any", "20-25/tcp", "24-27/any", "65530-65535/udp"]
        let users = ["alice", "bob", "carol"]
        let user = int(0...2)
        guard let source = try? cidr(pick(sources)), let port = try? port(pick(ports)) else {
            preconditionFailure("a text of the table above is wrong")
        }
        let end = Int64(int(0...30))
        return Grant(
            id: Grant.ID(request: Int64(int(1...6)), ordinal: int(1...5)),
            policy: pick(["ssh", "rdp"]),
            port: port,
            source: source,
            requester: Requester(uid: UInt32(1_000 + user), user: users[user]),
            startsAt: Timestamp(milliseconds: 0),
            expiresAt: Timestamp(milliseconds: end + Int64(int(-5...5))),
            deadline: end
        )
    }

    mutating func change() -> GrantChange {
        let id = Grant.ID(request: Int64(int(1...6)), ordinal: int(1...5))
        switch int(1...10) {
        case 1...5: return .open(grant())
        case 6...8: return .close(id)
        default:
            let end = Int64(int(0...30))
            return .setEnd(id, expiresAt: Timestamp(milliseconds: end + 2), deadline: end)
        }
    }
}

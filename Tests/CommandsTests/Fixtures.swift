import API
import Linux
import Policy
import Testing

@testable import Commands

/// 2026-12-01T12:00:00Z.
let noon = Timestamp(milliseconds: 1_796_126_400_000)

extension Surroundings {
    /// Noon UTC, an hour later on the wall; user alice, 1000.
    static func fixed(_ environment: [String: String] = [:]) -> Surroundings {
        Surroundings(
            environment: { environment[$0] },
            program: nil,
            subject: .local(uid: 1000),
            time: TimeTeller(now: noon, local: oneHourAhead),
            now: { noon },
            screen: .none,
            become: { _ in Issue.record("nothing is run in this one's place") },
            confirm: nil
        )
    }
}

/// A zone one hour ahead of UTC, for instants from a week before to a week after `noon`.
@Sendable func oneHourAhead(_ instant: Timestamp) -> LocalTime {
    // Counted from midnight on 24 November, which keeps every number positive.
    let milliseconds = instant.milliseconds - noon.milliseconds + (7 * 24 + 13) * 3_600_000
    let minutes = Int(milliseconds / 60_000)
    let day = 24 + minutes / 1440
    var local = LocalTime(secondsSince1970: 0)
    (local.year, local.month, local.day) = day > 30 ? (2026, 12, day - 30) : (2026, 11, day)
    (local.hour, local.minute) = (minutes % 1440 / 60, minutes % 60)
    return local
}

let alice = user(1000, "alice")

/// A user of this host; `login` is who logged in to the session.
func user(_ uid: UInt32, _ name: String, login: Origin.Login? = nil) -> WhoDocument {
    WhoDocument(
        Person(
            subject: .local(uid: uid),
            name: name,
            origin: .process(Origin.Process(pid: 4321, login: login))
        )
    )
}

func grant(
    _ id: String,
    policy: String = "ssh",
    port: String = "22/tcp",
    source: String = "198.51.100.7",
    requester: WhoDocument = alice,
    state: GrantState = .active,
    ends: Duration? = .seconds(42 * 60),
    ended: Timestamp? = nil,
    endReason: EndReason? = nil,
    reason: String? = nil,
    packets: UInt64? = nil,
    lastUsed: Timestamp? = nil
) throws -> GrantDocument {
    GrantDocument(
        id: id,
        request: String(id.prefix { $0 != "." }),
        requester: requester,
        reason: reason,
        policy: policy,
        port: try PortRange(parsing: port),
        source: try CIDR(parsing: source),
        state: state,
        startsAt: ends == nil ? nil : noon,
        expiresAt: ends.map { noon + $0 },
        endedAt: ended,
        endReason: endReason,
        remainingSeconds: nil,
        packets: packets,
        bytes: nil,
        lastUsedAt: lastUsed
    )
}

func request(
    _ id: String,
    _ grants: [GrantDocument],
    state: RequestState = .active,
    superseded: [SupersededDocument]? = nil
) -> RequestDocument {
    RequestDocument(
        id: id,
        state: state,
        requester: alice,
        reason: nil,
        ticket: nil,
        duration: "42m",
        createdAt: noon,
        decidedAt: noon,
        grants: grants,
        superseded: superseded
    )
}

/// What `list --all` reads: a request for each grant.
func all(_ grants: [GrantDocument], next: String? = nil) -> RequestList {
    RequestList(requests: grants.map { request($0.request, [$0], state: $0.state) }, next: next)
}

/// A request of alice's that waits for one of two approvals more.
func waitingRequest(_ id: String, _ state: RequestState = .pending) throws -> RequestDocument {
    RequestDocument(
        id: id,
        state: state,
        requester: alice,
        reason: "disk full on db3",
        ticket: "OPS-1",
        duration: "45m",
        revision: 2,
        createdAt: noon + .seconds(-180),
        pendingUntil: noon + .seconds(720),
        decidedAt: nil,
        approvals: [ApprovalDocument(who: user(1001, "bob"), at: noon + .seconds(-60))],
        needs: [NeedDocument(policy: "ssh", approvals: 2, given: 1, approvers: ["group:leads"])],
        grants: [try grant("\(id).1", state: state, ends: nil)]
    )
}

let sshPolicy = PolicyDocument(
    AccessPolicy(
        name: "ssh",
        description: "SSH for operators",
        ports: [PortRange(22, 22, .tcp)].compactMap(\.self)
    )
)

let rdpPolicy = PolicyDocument(
    AccessPolicy(
        name: "rdp",
        description: "Remote desktops",
        ports: [PortRange(3389, 3389, .tcp)].compactMap(\.self)
    )
)

/// An armed agent with two policies, as a requester sees it.
func status() throws -> StatusDocument {
    StatusDocument(
        agent: AgentStatus(
            version: "0.1.0",
            pid: 812,
            startedAt: noon + .seconds(-74 * 3600 - 59),
            configuredAt: noon + .seconds(-7500),
            configuration: .files,
            configurationError: nil,
            warnings: [],
            liveGrants: 2
        ),
        gate: GateStatus(
            armed: true,
            fault: nil,
            table: "inet sallyport",
            owned: true,
            kernel: "6.18.0",
            droppedPackets: 1204,
            refusedFault: nil,
            connectionsFault: nil,
            breakGlass: [
                BreakGlassStatus(source: try CIDR(parsing: "192.0.2.10"), packets: 1),
                BreakGlassStatus(source: try CIDR(parsing: "2001:db8::/64"), packets: 0),
            ]
        ),
        ledgerFault: nil,
        auditFault: nil,
        policies: [
            PolicyStatus(
                name: "ssh",
                description: nil,
                ports: [try PortRange(parsing: "22/tcp")],
                sessions: .keep,
                enabled: true,
                activeGrants: 2,
                requests7d: 31,
                lastAccess: LastAccess(
                    at: noon + .seconds(-750),
                    who: alice,
                    ports: [try PortRange(parsing: "22/tcp")],
                    sources: [try CIDR(parsing: "198.51.100.7")]
                )
            ),
            PolicyStatus(
                name: "winrm",
                description: nil,
                ports: [
                    try PortRange(parsing: "5985-5986/tcp"), try PortRange(parsing: "443/udp"),
                ],
                sessions: .keep,
                enabled: false,
                activeGrants: 0,
                requests7d: 0,
                lastAccess: nil
            ),
        ],
        you: YouDocument(
            who: alice,
            roles: [.viewer, .requester],
            may: ["read the status", "ask for access"],
            asks: ["ssh"],
            approves: []
        )
    )
}

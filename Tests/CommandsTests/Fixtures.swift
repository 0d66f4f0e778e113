import API
import Policy

@testable import Commands

/// 2026-12-01T12:00:00Z.
let noon = Timestamp(milliseconds: 1_796_126_400_000)

extension Surroundings {
    /// Noon UTC, an hour later on the wall; user alice, 1000.
    static func fixed(_ environment: [String: String] = [:]) -> Surroundings {
        Surroundings(
            environment: environment,
            uid: 1000,
            user: { "alice" },
            time: TimeTeller(now: noon, local: oneHourAhead)
        )
    }
}

/// A zone one hour ahead of UTC, for instants from a week before to a week after `noon`.
@Sendable func oneHourAhead(_ instant: Timestamp) -> CalendarMinute {
    // Counted from midnight on 24 November, which keeps every number positive.
    let milliseconds = instant.milliseconds - noon.milliseconds + (7 * 24 + 13) * 3_600_000
    let minutes = Int(milliseconds / 60_000)
    let day = 24 + minutes / 1440
    return CalendarMinute(
        year: 2026,
        month: day > 30 ? 12 : 11,
        day: day > 30 ? day - 30 : day,
        hour: minutes % 1440 / 60,
        minute: minutes % 60
    )
}

func grant(
    _ id: String,
    policy: String = "ssh",
    port: String = "22/tcp",
    source: String = "198.51.100.7",
    user: String = "alice",
    uid: UInt32 = 1000,
    state: GrantState = .active,
    ends: Duration = .seconds(42 * 60),
    ended: Timestamp? = nil,
    endReason: EndReason? = nil,
    reason: String? = nil,
    packets: UInt64? = nil
) throws -> GrantDocument {
    GrantDocument(
        id: id,
        request: String(id.prefix { $0 != "." }),
        requester: RequesterDocument(uid: uid, user: user, pid: nil),
        reason: reason,
        policy: policy,
        port: try PortRange(parsing: port),
        source: try CIDR(parsing: source),
        state: state,
        startsAt: noon,
        expiresAt: noon + ends,
        endedAt: ended,
        endReason: endReason,
        remainingSeconds: nil,
        packets: packets,
        bytes: nil
    )
}

func request(_ id: String, _ grants: [GrantDocument]) -> RequestDocument {
    RequestDocument(
        id: id,
        state: .active,
        requester: RequesterDocument(uid: 1000, user: "alice", pid: 4321),
        reason: nil,
        ticket: nil,
        createdAt: noon,
        decidedAt: noon,
        grants: grants
    )
}

let sshPolicy = PolicyDocument(
    AccessPolicy(
        name: "ssh",
        description: "SSH for operators",
        ports: [PortRange(22, 22, .tcp)].compactMap(\.self)
    )
)

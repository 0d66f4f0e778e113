public import Policy

/// One live session, as `GET /v1/sessions` shows it.
public struct SessionDocument: Codable, Hashable, Sendable {
    /// Why it may go on.
    public enum Standing: String, Codable, Hashable, Sendable, CaseIterable {
        /// Live grants let it in.
        case granted
        /// It comes from a source that is always let in.
        case breakGlass = "break-glass"
        /// It is older than the gate, or than what the policy of its port says.
        case earlier
        /// The grant that let it in is over, and the port's sessions outlive theirs.
        case outlived
    }

    /// What it is cut by: the same as long as it lives, and never another's.
    public var id: String
    /// Why it may go on.
    public var standing: Standing
    /// The policy of the port; absent where the port has none any more.
    public var policy: String?
    /// The port it goes to, as it arrives here.
    public var port: PortRange
    /// Where it comes from.
    public var source: IPAddress
    /// The port it comes from.
    public var sourcePort: UInt16
    /// Where it goes, as it arrives here.
    public var destination: IPAddress
    /// Who serves it; absent where that is the destination itself.
    public var server: IPAddress?
    /// The port there; absent with `server`.
    public var serverPort: UInt16?
    /// The live grants that let it in; where it has outlived its grant that one, if it can be told.
    public var grants: [String]
    /// Who holds the first of the grants.
    public var requester: WhoDocument?
    /// When it began; absent where the kernel does not note that.
    public var startedAt: Timestamp?
    /// Packets in both directions; absent where the kernel does not count them.
    public var packets: UInt64?
    /// The bytes of those packets.
    public var bytes: UInt64?

    /// A session as the kernel has it.
    public init(
        _ session: Session,
        id: String,
        port: PortRange,
        standing: Standing,
        policy: String?,
        grants: [String],
        requester: WhoDocument?
    ) {
        self.id = id
        self.standing = standing
        self.policy = policy
        self.port = port
        source = session.client.address
        sourcePort = session.client.port
        destination = session.destination.address
        if session.server != session.destination {
            server = session.server.address
            serverPort = session.server.port
        }
        self.grants = grants
        self.requester = requester
        startedAt = session.startedAt
        packets = session.traffic?.packets
        bytes = session.traffic?.bytes
    }
}

/// The answer of `GET /v1/sessions`.
public struct SessionList: Codable, Hashable, Sendable {
    /// The sessions, by port and then by where they come from.
    public var sessions: [SessionDocument]

    /// Makes an answer.
    public init(sessions: [SessionDocument]) { self.sessions = sessions }
}

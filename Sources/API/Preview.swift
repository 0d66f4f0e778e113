public import Policy

/// The answer of `POST /v1/requests?dry_run=true`: what a request would open, had it been one.
public struct PreviewDocument: Codable, Hashable, Sendable {
    /// True: what is not allowed is answered with the problem that the request would get.
    public var allowed: Bool
    /// How long it would open: `45m`.
    public var duration: String
    /// When it would open; absent for at once, or as soon as enough people agree.
    public var startsAt: Timestamp?
    /// Which approvals its policies ask for first; absent where none does.
    public var needs: [NeedDocument]?
    /// What it would open, each once.
    public var grants: [OpeningDocument]
    /// The requester's grants for the same ports and sources that it would end; absent where there
    /// are none.
    public var superseded: [SupersededDocument]?

    /// Makes it of its parts.
    public init(
        duration: Duration,
        startsAt: Timestamp? = nil,
        needs: [NeedDocument]?,
        grants: [Opening],
        superseded: [SupersededDocument]?
    ) {
        allowed = true
        self.duration = duration.compactDescription
        self.startsAt = startsAt
        self.needs = needs
        self.grants = grants.map(OpeningDocument.init)
        self.superseded = superseded
    }
}

/// One grant to be.
public struct OpeningDocument: Codable, Hashable, Sendable {
    /// The policy that allows it.
    public var policy: String
    /// The ports to open.
    public var port: PortRange
    /// The host behind this machine to open them on; absent for this machine itself.
    public var host: IPAddress?
    /// The addresses to let in.
    public var source: CIDR

    /// Makes it of its parts.
    public init(_ opening: Opening) {
        policy = opening.policy
        port = opening.port
        host = opening.host
        source = opening.source
    }
}

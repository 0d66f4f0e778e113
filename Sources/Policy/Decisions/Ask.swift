/// What a person asks, as it was written: nothing in it has been checked.
public struct Ask: Hashable, Sendable {
    /// Policy names, or ports like `22/tcp`; either with a host behind this machine, `ssh@192.0.2.7`.
    public var targets: [String]
    /// Addresses or ranges that are to be let in.
    public var sources: [String]
    /// How long, like `45m`; not together with `until`.
    public var duration: String?
    /// The RFC 3339 instant of the end.
    public var until: String?
    /// The RFC 3339 instant of the start; nil for at once.
    public var at: String?
    /// Why.
    public var reason: String?
    /// The ticket the work belongs to.
    public var ticket: String?

    /// Takes the fields of a request.
    public init(
        targets: [String],
        sources: [String],
        duration: String? = nil,
        until: String? = nil,
        at: String? = nil,
        reason: String? = nil,
        ticket: String? = nil
    ) {
        self.targets = targets
        self.sources = sources
        self.duration = duration
        self.until = until
        self.at = at
        self.reason = reason
        self.ticket = ticket
    }
}

/// One grant to be.
public struct Opening: Hashable, Sendable {
    /// The policy that allows it.
    public var policy: String
    /// The ports to open.
    public var port: PortRange
    /// The host behind this machine to open them on; nil: this machine itself.
    public var host: IPAddress?
    /// The range to let in.
    public var source: CIDR

    /// Takes what a grant will open.
    public init(policy: String, port: PortRange, host: IPAddress? = nil, source: CIDR) {
        self.policy = policy
        self.port = port
        self.host = host
        self.source = source
    }

    /// What a grant opens.
    public init(_ grant: Grant) {
        self.init(
            policy: grant.policy,
            port: grant.port,
            host: grant.host,
            source: grant.source
        )
    }
}

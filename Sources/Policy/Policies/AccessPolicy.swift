/// What becomes of sessions when their grant ends.
public enum SessionMode: String, Codable, Hashable, Sendable, CaseIterable {
    /// Established connections outlive the grant.
    case keep
    /// The grant is consulted for every packet: the kernel refuses the next one after its end.
    case cut
}

/// Whether a request must say why.
public enum ReasonRule: String, Codable, Hashable, Sendable, CaseIterable {
    case required, optional
}

/// The shortest prefixes, and so the largest ranges, that one source of a request may have.
public struct WidestSource: Codable, Hashable, Sendable {
    /// The shortest IPv4 prefix, 0...32.
    public var ipv4: Int
    /// The shortest IPv6 prefix, 0...128.
    public var ipv6: Int

    /// Takes prefix lengths; the defaults are one network of a site, 24 and 64.
    public init(ipv4: Int = 24, ipv6: Int = 64) {
        self.ipv4 = ipv4
        self.ipv6 = ipv6
    }

    /// The shortest prefix of a family.
    public func prefixLength(_ family: AddressFamily) -> Int {
        family == .ipv4 ? ipv4 : ipv6
    }
}

/// A policy: who may ask for which managed ports, from where, for how long, on what conditions.
public struct AccessPolicy: Hashable, Sendable {
    /// The name, unique among the policies.
    public var name: String
    /// A sentence for people.
    public var description: String?
    /// The managed ports.
    public var ports: [PortRange]
    /// The hosts behind this machine that it is for, none within another; nil: this machine itself.
    public var hosts: [CIDR]?
    /// The sources that may be asked for.
    public var allowedSources: [CIDR]
    /// The longest time one request may open.
    public var maxDuration: Duration
    /// The time opened where the request names none; at most `maxDuration`.
    public var defaultDuration: Duration
    /// The largest range one source may be.
    public var widestSource: WidestSource
    /// Who of those that may ask at all may ask here; nil for all.
    public var requesters: [Principal]?
    /// How many others must agree to a request before it opens; 0: asking is enough.
    public var approvals: Int
    /// Who of the approvers may answer requests here; nil for all.
    public var approvers: [Principal]?
    /// How long a request waits for answers before it lapses.
    public var pendingFor: Duration
    /// Whether a request must say why.
    public var reason: ReasonRule
    /// The fewest letters of a reason, of any script.
    public var reasonMinLength: Int
    /// What a ticket must match; where it is set, a ticket is required.
    public var ticketPattern: TicketPattern?
    /// What becomes of sessions when their grant ends.
    public var sessions: SessionMode
    /// The same of UDP and UDP-Lite, which have no connections to speak of.
    public var udpSessions: SessionMode
    /// The most live grants one person may hold under this policy.
    public var maxActivePerRequester: Int
    /// Whether the ports are managed and may be asked for.
    public var enabled: Bool

    /// What the longest duration of a policy may be.
    public static let maxDurations = Duration.seconds(5 * 60)...Duration.seconds(24 * 3_600)

    /// Every source there is.
    public static let anySource: [CIDR] = AddressFamily.allCases.compactMap {
        CIDR(IPAddress(high: 0, low: 0, family: $0), prefixLength: 0)
    }

    /// Takes the limits of a policy; the defaults are those of the policy file.
    ///
    /// `defaultDuration` left out is `maxDuration`.
    public init(
        name: String,
        description: String? = nil,
        ports: [PortRange],
        hosts: [CIDR]? = nil,
        allowedSources: [CIDR] = anySource,
        maxDuration: Duration = .seconds(3 * 3_600),
        defaultDuration: Duration? = nil,
        widestSource: WidestSource = WidestSource(),
        requesters: [Principal]? = nil,
        approvals: Int = 0,
        approvers: [Principal]? = nil,
        pendingFor: Duration = .seconds(15 * 60),
        reason: ReasonRule = .optional,
        reasonMinLength: Int = 0,
        ticketPattern: TicketPattern? = nil,
        sessions: SessionMode = .keep,
        udpSessions: SessionMode = .cut,
        maxActivePerRequester: Int = 10,
        enabled: Bool = true
    ) {
        self.name = name
        self.description = description
        self.ports = ports
        self.hosts = hosts
        self.allowedSources = allowedSources
        self.maxDuration = maxDuration
        self.defaultDuration = defaultDuration ?? maxDuration
        self.widestSource = widestSource
        self.requesters = requesters
        self.approvals = approvals
        self.approvers = approvers
        self.pendingFor = pendingFor
        self.reason = reason
        self.reasonMinLength = reasonMinLength
        self.ticketPattern = ticketPattern
        self.sessions = sessions
        self.udpSessions = udpSessions
        self.maxActivePerRequester = maxActivePerRequester
        self.enabled = enabled
    }
}

public import Policy

/// One policy, with every default filled in, as `GET /v1/policies/{name}` shows it.
///
/// Field names are those of the policy file.
public struct PolicyDocument: Codable, Hashable, Sendable {
    /// The name.
    public var name: String
    /// What it is for; absent where the file does not say.
    public var description: String?
    /// Its managed ports.
    public var ports: [PortRange]
    /// The hosts behind this machine that it is for; absent where it is for this machine itself.
    public var hosts: [CIDR]?
    /// The ranges a source must lie in.
    public var allowedSources: [CIDR]
    /// The longest duration: `3h`.
    public var maxDuration: String
    /// The duration of a request that names none: `1h`.
    public var defaultDuration: String
    /// The largest range of one source.
    public var widestSource: WidestSource
    /// Who of the requesters may ask; absent where all may.
    public var requesters: [String]?
    /// How many others must agree before a request opens.
    public var approvals: Int
    /// Who of the approvers may answer; absent where all may.
    public var approvers: [String]?
    /// How long a request waits for answers: `15m`.
    public var pendingFor: String
    /// Whether a reason is required.
    public var reason: ReasonRule
    /// How many letters a reason has to have.
    public var reasonMinLength: Int
    /// The pattern a ticket has to match; absent where none is required.
    public var ticketPattern: TicketPattern?
    /// What becomes of sessions when a grant ends.
    public var sessions: SessionMode
    /// The same of UDP sessions.
    public var udpSessions: SessionMode
    /// How many live grants one requester may hold.
    public var maxActivePerRequester: Int
    /// Whether its ports are managed.
    public var enabled: Bool

    enum CodingKeys: String, CodingKey {
        case name, description, ports, hosts, requesters, approvals, approvers, reason, sessions,
            enabled
        case allowedSources = "allowed_sources"
        case maxDuration = "max_duration"
        case defaultDuration = "default_duration"
        case widestSource = "widest_source"
        case udpSessions = "udp_sessions"
        case pendingFor = "pending_for"
        case reasonMinLength = "reason_min_length"
        case ticketPattern = "ticket_pattern"
        case maxActivePerRequester = "max_active_per_requester"
    }

    /// Makes it of its parts.
    public init(_ policy: AccessPolicy) {
        name = policy.name
        description = policy.description
        ports = policy.ports
        hosts = policy.hosts
        allowedSources = policy.allowedSources
        maxDuration = policy.maxDuration.compactDescription
        defaultDuration = policy.defaultDuration.compactDescription
        widestSource = policy.widestSource
        requesters = policy.requesters?.map(\.description)
        approvals = policy.approvals
        approvers = policy.approvers?.map(\.description)
        pendingFor = policy.pendingFor.compactDescription
        reason = policy.reason
        reasonMinLength = policy.reasonMinLength
        ticketPattern = policy.ticketPattern
        sessions = policy.sessions
        udpSessions = policy.udpSessions
        maxActivePerRequester = policy.maxActivePerRequester
        enabled = policy.enabled
    }
}

/// The answer of `GET /v1/policies`.
public struct PolicyList: Codable, Hashable, Sendable {
    /// The policies, in the order of the files.
    public var policies: [PolicyDocument]

    /// Makes it of its parts.
    public init(policies: [PolicyDocument]) { self.policies = policies }
}

/// The answer to a change of a policy.
public struct PolicyChangeDocument: Codable, Hashable, Sendable {
    /// The policy as it is now; absent where it was removed.
    public var policy: PolicyDocument?
    /// The path of its file.
    public var file: String
    /// How it differs from what it was: `max_duration 3h -> 1h`; empty where nothing was changed.
    public var changes: [String]
    /// The grants that were ended, because they are no longer allowed.
    public var endedGrants: [String]
    /// The waiting requests that need no more approvals: they open at once, or at their start.
    public var openedRequests: [String]
    /// The waiting requests that it allows no longer, and that are denied.
    public var deniedRequests: [String]
    /// Ports that were managed and are no longer, and so are open to everybody.
    public var openPorts: [OpenPort]
    /// What has to be known before it is too late; absent where there is nothing.
    public var warning: String?

    /// Makes it of its parts; the warning follows from them.
    public init(
        policy: PolicyDocument?,
        file: String,
        changes: [String],
        endedGrants: [String],
        openedRequests: [String] = [],
        deniedRequests: [String] = [],
        openPorts: [OpenPort]
    ) {
        self.policy = policy
        self.file = file
        self.changes = changes
        self.endedGrants = endedGrants
        self.openedRequests = openedRequests
        self.deniedRequests = deniedRequests
        self.openPorts = openPorts
        warning = openPorts.warning
    }
}

extension [OpenPort] {
    /// What has to be known where these are managed no longer; nil where there are none.
    fileprivate var warning: String? {
        guard !isEmpty else { return nil }
        let list = map(\.description).joined(separator: ", ")
        return
            "OPEN TO EVERYBODY: \(list) is no longer managed; whoever reaches "
            + (contains { $0.hosts != nil } ? "these hosts reaches it" : "this host reaches it")
    }
}

/// The body of `PUT /v1/policies`.
public struct PolicyFilesBody: Encodable, Hashable, Sendable {
    /// The texts of all policy files by their names: `management.yaml`.
    public var files: [String: String]

    /// Takes the texts.
    public init(files: [String: String]) { self.files = files }
}

/// The answer to applied policies.
public struct PoliciesChangeDocument: Codable, Hashable, Sendable {
    /// How the policies differ from what they were, a text for each that does; empty where nothing
    /// was changed.
    public var changes: [String]
    /// The grants that were ended, because they are no longer allowed.
    public var endedGrants: [String]
    /// The waiting requests that need no more approvals: they open at once, or at their start.
    public var openedRequests: [String]
    /// The waiting requests that are allowed no longer, and denied; where it has to be confirmed, all
    /// that becomes of waiting requests does so with the confirmation.
    public var deniedRequests: [String]
    /// Ports that were managed and are no longer, and so are open to everybody.
    public var openPorts: [OpenPort]
    /// When all this is rolled back unless it is confirmed; absent where it is for good.
    public var confirmUntil: Timestamp?
    /// What has to be known before it is too late; absent where there is nothing.
    public var warning: String?

    /// Makes it of its parts; the warning follows from them.
    public init(
        changes: [String],
        endedGrants: [String],
        openedRequests: [String],
        deniedRequests: [String],
        openPorts: [OpenPort],
        confirmUntil: Timestamp?
    ) {
        self.changes = changes
        self.endedGrants = endedGrants
        self.openedRequests = openedRequests
        self.deniedRequests = deniedRequests
        self.openPorts = openPorts
        self.confirmUntil = confirmUntil
        warning = openPorts.warning
    }
}

/// What waits for its confirmation, or waited.
public enum UnconfirmedChange: String, Codable, Hashable, Sendable, CaseIterable {
    /// Other policies.
    case policies
    /// The arming of the gate.
    case arming
}

/// The answer to a confirmation.
public struct ConfirmationDocument: Codable, Hashable, Sendable {
    /// What stays for good now.
    public var confirmed: UnconfirmedChange
    /// The grants that were ended with it, because they are no longer allowed.
    public var endedGrants: [String]

    /// Takes both.
    public init(confirmed: UnconfirmedChange, endedGrants: [String]) {
        self.confirmed = confirmed
        self.endedGrants = endedGrants
    }
}

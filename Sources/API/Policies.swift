public import Policy

/// One policy, with every default filled in, as `GET /v1/policies/{name}` shows it.
///
/// Field names are those of the policy file.
public struct PolicyDocument: Codable, Hashable, Sendable {
    public var name: String
    public var description: String?
    public var ports: [PortRange]
    public var allowedSources: [CIDR]
    public var maxDuration: String
    public var defaultDuration: String
    public var widestSource: WidestSource
    public var requesters: [String]?
    public var reason: ReasonRule
    public var reasonMinLength: Int
    public var ticketPattern: String?
    public var sessions: SessionMode
    public var maxActivePerRequester: Int
    public var enabled: Bool

    enum CodingKeys: String, CodingKey {
        case name, description, ports, requesters, reason, sessions, enabled
        case allowedSources = "allowed_sources"
        case maxDuration = "max_duration"
        case defaultDuration = "default_duration"
        case widestSource = "widest_source"
        case reasonMinLength = "reason_min_length"
        case ticketPattern = "ticket_pattern"
        case maxActivePerRequester = "max_active_per_requester"
    }

    public init(_ policy: AccessPolicy) {
        name = policy.name
        description = policy.description
        ports = policy.ports
        allowedSources = policy.allowedSources
        maxDuration = policy.maxDuration.compactDescription
        defaultDuration = policy.defaultDuration.compactDescription
        widestSource = policy.widestSource
        requesters = policy.requesters?.map(\.description)
        reason = policy.reason
        reasonMinLength = policy.reasonMinLength
        ticketPattern = policy.ticketPattern
        sessions = policy.sessions
        maxActivePerRequester = policy.maxActivePerRequester
        enabled = policy.enabled
    }
}

/// The answer of `GET /v1/policies`.
public struct PolicyList: Codable, Hashable, Sendable {
    public var policies: [PolicyDocument]

    public init(policies: [PolicyDocument]) { self.policies = policies }
}

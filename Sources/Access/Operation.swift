public import API
public import Policy

/// Everything that can be asked of the agent, and who may ask it.
///
/// One table for every way in: what is not here can be reached by none.
public enum Operation: String, Hashable, Sendable, CaseIterable {
    case readStatus = "read the status"
    case readDelegation = "read the delegation"
    case discover = "discover open ports"
    case examine = "examine the host"
    case listPolicies = "list policies"
    case readPolicy = "read a policy"
    case reloadPolicies = "reload the policies"
    case changePolicy = "change a policy"
    case removePolicy = "remove a policy"
    case open = "ask for access"
    case listRequests = "list requests"
    case readRequest = "read a request"
    case approveRequest = "approve a request"
    case denyRequest = "deny a request"
    case cancelRequest = "cancel a request"
    case revokeRequest = "end a request"
    case extendRequest = "extend a request"
    case listGrants = "list grants"
    case closeGrant = "close a grant"
    case readAudit = "read the audit trail"
    case verifyAudit = "verify the audit trail"
    case followEvents = "follow events"

    /// Who may: one of these roles is enough.
    ///
    /// Whose requests and grants a caller may see and change is decided where they are known.
    public var roles: Set<Role> {
        switch self {
        // A delegate about itself; no person.
        case .readDelegation: []
        case .readStatus, .listPolicies, .readPolicy: Set(Role.allCases)
        case .reloadPolicies, .changePolicy, .removePolicy: [.admin]
        case .open, .cancelRequest, .extendRequest, .revokeRequest, .closeGrant:
            [.requester, .admin]
        case .approveRequest, .denyRequest: [.approver, .admin]
        case .listRequests, .readRequest, .listGrants, .readAudit, .followEvents: Set(Role.allCases)
        case .discover, .examine, .verifyAudit: [.viewer, .approver, .admin]
        }
    }

    /// Whether it is for a delegate about itself, and so for no person.
    public var isForDelegates: Bool { self == .readDelegation }

    /// Whether it asks for access, which a delegate may do only so often in a minute.
    public var asksForAccess: Bool { [.open, .extendRequest].contains(self) }

    /// Throws where none of the caller's roles allows it.
    public func require(of caller: Caller) throws(Problem) {
        guard roles.isDisjoint(with: caller.roles) else { return }
        guard !roles.isEmpty else {
            throw Problem(.notPermitted, "cannot \(rawValue): this is for a delegate about itself")
        }
        let names = roles.map(\.rawValue).sorted().joined(separator: " or ")
        throw Problem(.notPermitted, "cannot \(rawValue): this takes the role \(names)")
    }

    /// Throws where it is not for a delegate that does not say for whom it asks.
    public func require(ofDelegate name: String) throws(Problem) {
        guard isForDelegates else {
            throw Problem(
                .notAuthenticated,
                "cannot \(rawValue): \(name) has to say who asks, with header Sallyport-Person"
            )
        }
    }
}

public import Policy

/// Who makes a request, and what this person may do.
public struct Caller: Hashable, Sendable {
    /// Who it is: as the kernel told it when the connection was accepted, or as a delegate says.
    public var identity: Identity
    /// Never empty: without any role there is no access.
    public var roles: Set<Role>

    /// Makes a caller.
    public init(identity: Identity, roles: Set<Role>) {
        self.identity = identity
        self.roles = roles
    }

    /// Whether the caller may see the requests and grants of somebody.
    public func maySee(requestsOf subject: Subject) -> Bool {
        subject == identity.subject || maySeeAll
    }

    /// Whether the caller may see everybody's requests and grants.
    public var maySeeAll: Bool { !roles.isDisjoint(with: [.viewer, .approver, .admin]) }
}

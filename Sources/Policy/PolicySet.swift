/// The policies in force and who holds which role: everything a request is judged by.
public struct PolicySet: Hashable, Sendable {
    /// All policies in the order of their files, those that are not enabled included.
    public let policies: [AccessPolicy]
    /// Who holds which role.
    public let roles: RoleTable

    /// Takes policies that agree with each other: no name and no port twice.
    public init(policies: [AccessPolicy], roles: RoleTable) {
        self.policies = policies
        self.roles = roles
    }

    /// The policy of a name, enabled or not.
    public func policy(named name: String) -> AccessPolicy? {
        policies.first { $0.name == name }
    }

    /// The ports that are closed unless granted: those of the enabled policies.
    public var managedPorts: [PortRange] {
        policies.filter(\.enabled).flatMap(\.ports)
    }
}

/// What a person may do; rights only add up.
public enum Role: String, Codable, Hashable, Sendable, CaseIterable {
    case admin, approver, requester, viewer
}

/// A user or all members of a group, as role tables and policies name them.
///
/// The text form is `NAME` for a user and `group:NAME` for a group of this host, and
/// `ISSUER-group:NAME` for a group that an issuer asserts.
public enum Principal: TextForm {
    case user(String)
    case group(String)
    case asserted(issuer: String, group: String)

    /// Reads `NAME`, `group:NAME` or `ISSUER-group:NAME`.
    ///
    /// A name has 1...256 characters, no colon, no control character and no space at its ends;
    /// within it space is possible, as names from a directory have it.
    public init(parsing text: String) throws(ParseError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts.last ?? ""
        let scalars = name.unicodeScalars.prefix(257)
        guard let first = scalars.first, let last = scalars.last, scalars.count <= 256,
            !first.properties.isWhitespace, !last.properties.isWhitespace,
            !scalars.contains(where: { $0.steersOutput || $0 == ":" })
        else { throw Self.unreadable(text) }
        let suffix = "-group"
        if parts.count == 1 {
            self = .user(String(name))
        } else if parts[0] == "group" {
            self = .group(String(name))
        } else if parts[0].hasSuffix(suffix),
            Subject.isIssuerName(String(parts[0].dropLast(suffix.count)))
        {
            let issuer = String(parts[0].dropLast(suffix.count))
            self = .asserted(issuer: issuer, group: String(name))
        } else {
            throw Self.unreadable(text)
        }
    }

    private static func unreadable(_ text: String) -> ParseError {
        ParseError(
            text,
            "write a user name, group:NAME for the members of a group, or ISSUER-group:NAME for "
                + "those an issuer counts to it"
        )
    }

    /// The text form.
    public var description: String {
        switch self {
        case .user(let name): name
        case .group(let name): "group:\(name)"
        case .asserted(let issuer, let group): "\(issuer)-group:\(group)"
        }
    }

    /// Whether the identity is this user or a member of this group.
    ///
    /// Names of this host mean nobody from elsewhere, and the other way round.
    public func matches(_ identity: Identity) -> Bool {
        switch (self, identity.subject) {
        case (.user(let name), .local): identity.name == name
        case (.group(let name), .local): identity.groups.contains(name)
        case (.asserted(let issuer, let group), .remote(let asserting, _)):
            issuer == asserting && identity.groups.contains(group)
        default: false
        }
    }
}

/// Which users and groups hold which role.
public struct RoleTable: Hashable, Sendable {
    private let principals: [Role: [Principal]]
    /// The users that only speak for others.
    private let delegates: Set<String>

    /// Takes the holders of each role, and the delegates; a role left out has no holders.
    public init(_ principals: [Role: [Principal]], delegates: [Delegate] = []) {
        self.principals = principals
        self.delegates = Set(delegates.map(\.user))
    }

    /// Everybody who is named for some role.
    package var allPrincipals: some Sequence<Principal> { principals.values.lazy.joined() }

    /// The roles of an identity.
    ///
    /// Uid 0 is always admin. A delegate's own user has none, whatever its groups; the people it
    /// speaks for have theirs only as far as its ceiling goes.
    public func roles(of identity: Identity) -> Set<Role> {
        if identity.subject == .local(uid: 0) { return roles(matching: identity).union([.admin]) }
        if identity.subject.uid != nil {
            return delegates.contains(identity.name) ? [] : roles(matching: identity)
        }
        guard let delegate = identity.via else { return [] }
        return roles(matching: identity).intersection(delegate.ceiling).subtracting([.admin])
    }

    private func roles(matching identity: Identity) -> Set<Role> {
        var roles: Set<Role> = []
        for (role, holders) in principals where holders.contains(where: { $0.matches(identity) }) {
            roles.insert(role)
        }
        return roles
    }
}

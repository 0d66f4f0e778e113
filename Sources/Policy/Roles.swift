/// Who asks: the credentials the kernel recorded when the connection was made.
public struct Identity: Hashable, Sendable {
    /// The user id.
    public var uid: UInt32
    /// The user's name; where the id has none, the id in digits.
    public var user: String
    /// The names of all groups of the process.
    public var groups: Set<String>
    /// The process id.
    public var pid: Int32

    /// Takes the credentials of one peer.
    public init(uid: UInt32, user: String, groups: Set<String>, pid: Int32) {
        self.uid = uid
        self.user = user
        self.groups = groups
        self.pid = pid
    }
}

/// What a person may do; rights only add up.
public enum Role: String, Codable, Hashable, Sendable, CaseIterable {
    case admin, approver, requester, viewer
}

/// A user or all members of a group, as role tables and policies name them.
///
/// The text form is `NAME` or `group:NAME`.
public enum Principal: TextForm {
    case user(String)
    case group(String)

    /// Reads `NAME` or `group:NAME`.
    ///
    /// A name has 1...256 characters, no colon, no control character and no space at its ends;
    /// within it space is possible, as names from a directory have it.
    public init(parsing text: String) throws(ParseError) {
        let isGroup = text.hasPrefix("group:")
        let name = isGroup ? text.dropFirst("group:".count) : text[...]
        let scalars = name.unicodeScalars.prefix(257)
        guard let first = scalars.first, let last = scalars.last, scalars.count <= 256,
            !first.properties.isWhitespace, !last.properties.isWhitespace,
            !scalars.contains(where: { $0.steersOutput || $0 == ":" })
        else {
            throw ParseError(text, "write a user name, or group:NAME for the members of a group")
        }
        self = isGroup ? .group(String(name)) : .user(String(name))
    }

    /// The text form.
    public var description: String {
        switch self {
        case .user(let name): name
        case .group(let name): "group:\(name)"
        }
    }

    /// Whether the identity is this user or a member of this group.
    public func matches(_ identity: Identity) -> Bool {
        switch self {
        case .user(let name): identity.user == name
        case .group(let name): identity.groups.contains(name)
        }
    }
}

/// Which users and groups hold which role.
public struct RoleTable: Hashable, Sendable {
    private let principals: [Role: [Principal]]

    /// Takes the holders of each role; a role left out has none.
    public init(_ principals: [Role: [Principal]]) { self.principals = principals }

    /// The roles of an identity; uid 0 is always admin.
    public func roles(of identity: Identity) -> Set<Role> {
        var roles = Set(
            principals.filter { $0.value.contains { $0.matches(identity) } }.keys
        )
        if identity.uid == 0 { roles.insert(.admin) }
        return roles
    }
}

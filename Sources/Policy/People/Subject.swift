/// Who somebody is, for good: the owner of requests, and what limits, idempotency keys and fairness
/// are counted by.
///
/// The text form is `unix:1000` for a user of this host, and `oidc:corp:248289761001` for somebody
/// whom an issuer knows under an id that it gives to nobody else (OpenID Connect Core, section 2:
/// `sub`). The two are never equal, whatever names they go by.
public enum Subject: TextForm {
    /// A user of this host.
    case local(uid: UInt32)
    /// Somebody a delegate speaks for; boxed, because most grants are of local users.
    indirect case remote(issuer: String, id: String)

    /// Takes an issuer's name and an id of its own.
    ///
    /// - Parameters:
    ///   - issuer: 1...63 lower-case letters, digits and hyphens, as the configuration names it.
    ///   - id: 1...255 visible ASCII characters (OpenID Connect Core, section 2).
    /// - Throws: What is wrong with either, for the person who wrote it.
    public init(issuer: String, id: String) throws(ParseError) {
        guard Self.isIssuerName(issuer) else {
            throw ParseError(issuer, "an issuer has 1...63 lower-case letters, digits and hyphens")
        }
        guard (1...255).contains(id.utf8.count), id.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw ParseError(id, "the id of a person has 1...255 visible ASCII characters") }
        self = .remote(issuer: issuer, id: id)
    }

    /// Reads `unix:1000` or `oidc:ISSUER:ID`.
    public init(parsing text: String) throws(ParseError) {
        let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        switch (parts.first, parts.count) {
        case ("unix", 2):
            guard let uid = UInt32(parts[1]), String(uid) == parts[1] else {
                throw ParseError(text, "a user of this host is written unix:UID")
            }
            self = .local(uid: uid)
        case ("oidc", 3):
            try self.init(issuer: String(parts[1]), id: String(parts[2]))
        default:
            throw ParseError(text, "write unix:UID or oidc:ISSUER:ID")
        }
    }

    /// The text form.
    public var description: String {
        switch self {
        case .local(let uid): "unix:\(uid)"
        case .remote(let issuer, let id): "oidc:\(issuer):\(id)"
        }
    }

    /// The user id of a user of this host; nil for anybody else.
    public var uid: UInt32? { if case .local(let uid) = self { uid } else { nil } }

    /// Whether a text can be the name of an issuer.
    package static func isIssuerName(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D
            }
    }
}

import Linux
import Policy

extension AgentConfiguration {
    /// A user or group that the configuration names.
    struct Name: Hashable {
        var principal: Principal
        /// Whether it is the user of a delegate.
        var isDelegate: Bool
        var place: Place
        var key: String

        init(_ placed: PlacedPrincipal, isDelegate: Bool) {
            principal = placed.principal
            self.isDelegate = isDelegate
            place = placed.field.place
            key = placed.field.key
        }
    }

    /// How the system's users and groups are found by their names.
    struct NameLookup {
        var uid: (String) -> UInt32?
        var gid: (String) -> UInt32?

        static var system: NameLookup {
            NameLookup(uid: NameService.uid, gid: NameService.gid)
        }
    }

    /// What is valid but means nothing on this host: users and groups that it does not know.
    ///
    /// Asks the name service, which may ask a directory server and take seconds.
    ///
    /// - Returns: A warning for each place where such a name stands, in the order of the files.
    public func warnings() -> [ConfigurationError.Fault] { warnings(.system) }

    func warnings(_ lookUp: NameLookup) -> [ConfigurationError.Fault] {
        var known: [Principal: String?] = [:]
        let found = names.compactMap { name -> ConfigurationError.Fault? in
            let warning =
                known[name.principal] ?? lookUp.warning(about: name.principal)
            known[name.principal] = .some(warning)
            let isRoot = name.isDelegate && warning == nil && lookUp.uid("\(name.principal)") == 0
            guard let message = isRoot ? Self.rootInDisguise : warning else { return nil }
            return ConfigurationError.Fault(
                file: name.place.file,
                line: name.place.line,
                column: name.place.column,
                key: name.key,
                message: message
            )
        }
        let order = Dictionary(
            texts.enumerated().map { ($1.path, $0) },
            uniquingKeysWith: { first, _ in first }
        )
        return found.sorted {
            (order[$0.file] ?? 0, $0.line, $0.column) < (order[$1.file] ?? 0, $1.line, $1.column)
        }
    }

    private static let rootInDisguise =
        "this is root (uid 0) by another name, which is let in as no delegate; name a user of its "
        + "own"
}

extension AgentConfiguration.NameLookup {
    fileprivate func warning(about principal: Principal) -> String? {
        switch principal {
        case .user(let name):
            uid(name) == nil ? "this host knows no user \(name); it means nobody" : nil
        case .group(let name):
            gid(name) == nil ? "this host knows no group \(name); it means nobody" : nil
        // Whom an issuer counts to it, only the issuer knows.
        case .asserted: nil
        }
    }
}

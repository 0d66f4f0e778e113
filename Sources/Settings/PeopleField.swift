import Policy

/// The people of `people:` and where their names stand, for the checks across the parts.
struct PlacedPeople {
    var people = People()
    /// The users of this host.
    var users: [PlacedPrincipal] = []
    /// The issuers that know them by their other name.
    var issuers: [(name: String, field: Field)] = []

    /// Nobody.
    init() {}

    /// Reads `people:`, a list of those who go by two names.
    init(_ field: Field) {
        let found = field.list("- name: alice", Self.entry) ?? []
        for (what, names) in [
            ("name", found.map { ($0.entry.name, $0.fields["name"]) }),
            ("user", found.map { ($0.entry.local, $0.fields["local"]) }),
            ("remote name", found.map { ("\($0.entry.remote)", $0.fields["remote"]) }),
        ] {
            let placed = names.compactMap { name, field in
                field.map { (name: name, key: $0.key, place: $0.place) }
            }
            refuseRepeated(placed, "the \(what) of the person", field.faults)
        }
        people = People(found.map(\.entry))
        for (entry, fields) in found {
            guard let local = fields["local"], let remote = fields["remote"] else { continue }
            users.append(PlacedPrincipal(principal: .user(entry.local), field: local))
            if case .remote(let issuer, _) = entry.remote { issuers.append((issuer, remote)) }
        }
    }

    private static func entry(
        _ field: Field
    ) -> (entry: People.Entry, fields: [String: Field])? {
        guard let fields = field.mapping(["name", "local", "remote"]) else { return nil }
        let name = field.required("name", in: fields)?.text()
        let local = field.required("local", in: fields)?.principal()
        let remote = field.required("remote", in: fields)?.value(Subject.self)
        if let remote, remote.uid != nil {
            fields["remote"]?.fault("must be somebody whom an issuer knows, like oidc:corp:2482")
            return nil
        }
        guard let name, let local, let remote else { return nil }
        guard case .user(let user) = local.principal else {
            local.field.fault("must be a user of this host, and not \(local.principal)")
            return nil
        }
        return (People.Entry(name: name, local: user, remote: remote), fields)
    }
}

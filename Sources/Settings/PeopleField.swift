import Policy

extension People {
    /// Reads `people:`, a list of those who go by two names.
    init(_ field: Field) {
        let entries = field.list("- name: alice", Self.entry) ?? []
        for (what, names) in [
            ("a person", entries.map { ($0.entry.name, $0.fields["name"] ?? field) }),
            ("a person's", entries.map { ($0.entry.local, $0.fields["local"] ?? field) }),
            (
                "a person's",
                entries.map { ("\($0.entry.remote)", $0.fields["remote"] ?? field) }
            ),
        ] {
            refuseRepeated(
                names.map { (name: $0, key: $1.key, place: $1.place) },
                what,
                field.faults
            )
        }
        self.init(entries.map(\.entry))
    }

    private static func entry(_ field: Field) -> (entry: Entry, fields: [String: Field])? {
        guard let fields = field.mapping(["name", "local", "remote"]) else { return nil }
        let name = field.required("name", in: fields)?.text()
        let local = field.required("local", in: fields)?.principal()
        let remote = field.required("remote", in: fields)?.value(Subject.self)
        guard let name, let local, let remote else { return nil }
        guard case .user(let user) = local.principal else {
            local.field.fault("must be a user of this host, and not \(local.principal)")
            return nil
        }
        guard remote.uid == nil else {
            fields["remote"]?.fault("must be somebody whom an issuer knows, like oidc:corp:2482")
            return nil
        }
        return (Entry(name: name, local: user, remote: remote), fields)
    }
}

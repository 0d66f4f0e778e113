import Policy

/// What `sallyport.yaml` says of people, and where, for the checks across its parts and the policies.
struct Parts {
    var roles: [Role: [Principal]] = [:]
    var delegates: [PlacedDelegate] = []
    /// The field of the policy folder, where there is one.
    var policyDirectory: Field?
    private var principals: [PlacedPrincipal] = []
    private var people = PlacedPeople()

    /// Reads the fields of the file; what is said of the agent goes into its configuration.
    init(_ root: Field?, folder: String, _ configuration: inout AgentConfiguration) {
        let keys = ["policy_dir", "agent", "roles", "people", "break_glass", "delegates", "audit"]
        guard let fields = root?.mapping(keys) else { return }
        policyDirectory = fields["policy_dir"]
        if let path = policyDirectory?.text() {
            configuration.policyDirectory = path.hasPrefix("/") ? path : folder + path
        }
        if let agent = fields["agent"]?.mapping(["socket", "state_dir"]) {
            // The kernel's sun_path holds 108 bytes, the last of them zero: unix(7).
            if let path = agent["socket"]?.absolutePath(longest: 107) {
                configuration.socket = path
            }
            if let path = agent["state_dir"]?.absolutePath(longest: 4_000) {
                configuration.stateDirectory = path
            }
        }
        if let keep = fields["audit"]?.mapping(["keep"])?["keep"] {
            configuration.auditKeep = keep.duration(
                in: .seconds(86_400) ... .seconds(86_400 * 36_500)
            )
        }
        if let fields = fields["roles"]?.mapping(Role.allCases.map(\.rawValue)) {
            for role in Role.allCases {
                let holders = fields[role.rawValue]?.principals(orNone: true) ?? []
                roles[role] = holders.map(\.principal)
                principals += holders
                guard role == .admin else { continue }
                for case let holder in holders where holder.issuer != nil {
                    holder.field.fault(
                        "nobody who comes through a delegate can be admin; name users and groups "
                            + "of this host"
                    )
                }
            }
        }
        if let field = fields["people"] { people = PlacedPeople(field) }
        configuration.people = people.people
        if let sources = fields["break_glass"]?.mapping(["sources"])?["sources"] {
            configuration.breakGlass = sources.list("[192.0.2.10/32]", Self.breakGlassSource) ?? []
        }
        delegates = fields["delegates"]?.list("- name: portal", PlacedDelegate.init) ?? []
    }

    private static func breakGlassSource(_ field: Field) -> CIDR? {
        guard let source = field.value(CIDR.self) else { return nil }
        if source.prefixLength == 0 {
            field.fault("\(source) would open every managed port to everybody")
        }
        if let kind = source.nobodysKind {
            field.fault(
                "nobody comes from \(source): its addresses are \(kind); name where you would be"
            )
        }
        return source
    }

    /// Finds delegates that cannot be told apart, and names that mean nothing.
    func refuseConflicts(with policies: [PlacedPolicy], _ faults: Faults) {
        refuseRepeated(
            delegates.compactMap { $0.name.map { ($0.0, $0.1.key, $0.1.place) } },
            "the name of the delegate",
            faults
        )
        refuseRepeated(
            delegates.compactMap { $0.user.map { ($0.0, $0.1.key, $0.1.place) } },
            "the user of the delegate",
            faults
        )
        let known = policies.map(\.policy.name)
        for (name, field) in delegates.flatMap(\.policies) where !known.contains(name) {
            let meant = nearest(to: name, among: known).map { "; did you mean \($0)?" } ?? ""
            field.fault("there is no policy \(name)\(meant)")
        }
        let issuers = Set(delegates.flatMap(\.delegate.issuers))
        let groups = (principals + policies.flatMap(\.principals)).compactMap { placed in
            placed.issuer.map { (issuer: $0, field: placed.field, ending: "-group") }
        }
        let names = people.issuers.map { (issuer: $0.name, field: $0.field, ending: "") }
        for (issuer, field, ending) in groups + names where !issuers.contains(issuer) {
            let meant =
                nearest(to: issuer, among: issuers.sorted())
                .map { "; did you mean \($0)\(ending)?" } ?? ""
            field.fault("no delegate speaks for people of \(issuer)\(meant)")
        }
    }

    /// The users and groups of this host that are named here or in policies.
    func names(with policies: [PlacedPolicy]) -> [AgentConfiguration.Name] {
        let users = delegates.compactMap { delegate in
            delegate.user.map { PlacedPrincipal(principal: .user($0.0), field: $0.1) }
        }
        let others = principals + people.users + policies.flatMap(\.principals)
        return users.map { AgentConfiguration.Name($0, isDelegate: true) }
            + others.map { AgentConfiguration.Name($0, isDelegate: false) }
    }
}

extension PlacedPrincipal {
    /// Who asserts the group, where it is not one of this host.
    fileprivate var issuer: String? {
        if case .asserted(let issuer, _) = principal { issuer } else { nil }
    }
}

/// A delegate and where its parts stand.
struct PlacedDelegate {
    var delegate: Delegate
    var name: (String, Field)?
    var user: (String, Field)?
    var policies: [(String, Field)]

    init?(_ field: Field) {
        let keys = [
            "name", "user", "issuers", "ceiling", "policies", "own_address_only", "max_login_age",
            "limits",
        ]
        guard let fields = field.mapping(keys) else { return nil }
        let found = { (key: String, read: (Field) -> String?) in
            field.required(key, in: fields).flatMap { field in read(field).map { ($0, field) } }
        }
        name = found("name") { $0.name() }
        user = found("user", Self.user)
        policies =
            fields["policies"]?.nonEmptyList("[ssh]") { field in
                field.text().map { ($0, field) }
            } ?? []
        let issuers = field.required("issuers", in: fields)?.nonEmptyList("[corp]") { $0.name() }
        let ceiling = field.required("ceiling", in: fields)?
            .nonEmptyList("[viewer, requester]", Self.role)
        delegate = Delegate(
            name: name?.0 ?? "",
            user: user?.0 ?? "",
            issuers: issuers ?? [],
            ceiling: Set(ceiling ?? []),
            policies: fields["policies"] == nil ? nil : Set(policies.map(\.0))
        )
        if let isOnly = fields["own_address_only"]?.boolean() { delegate.ownAddressOnly = isOnly }
        let ages = Duration.seconds(60)...Duration.seconds(30 * 86_400)
        if let age = fields["max_login_age"]?.duration(in: ages) { delegate.maxLoginAge = age }
        readLimits(fields["limits"])
    }

    private mutating func readLimits(_ field: Field?) {
        let keys = ["requests_per_minute", "per_person_per_minute", "live_grants"]
        guard let fields = field?.mapping(keys) else { return }
        let limit = { (key: String, default: Int) in
            fields[key]?.integer(in: 1...100_000) ?? `default`
        }
        let old = delegate.limits
        delegate.limits = Delegate.Limits(
            requestsPerMinute: limit(keys[0], old.requestsPerMinute),
            perPersonPerMinute: limit(keys[1], old.perPersonPerMinute),
            liveGrants: limit(keys[2], old.liveGrants)
        )
    }

    private static func user(_ field: Field) -> String? {
        guard let principal = field.principal()?.principal else { return nil }
        guard case .user(let name) = principal, name != "root" else {
            field.fault("must be a user of its own, and not \(principal)")
            return nil
        }
        // A user without a name goes by its number: "0" is root.
        guard name.contains(where: { !$0.isASCII || !$0.isNumber }) else {
            field.fault("must be the name of a user, and not a number")
            return nil
        }
        return name
    }

    private static func role(_ field: Field) -> Role? {
        let roles: [Role] = [.viewer, .requester, .approver]
        switch field.text() {
        case nil: return nil
        case Role.admin.rawValue?:
            field.fault("nobody who comes through a delegate can be admin; leave the word out")
            return nil
        case "editor"?:
            field.fault("editor is not supported by this version; leave the word out")
            return nil
        default: return field.word(roles.map(\.rawValue)).flatMap(Role.init)
        }
    }
}

extension Field {
    fileprivate func absolutePath(longest: Int) -> String? {
        guard let path = text() else { return nil }
        guard path.hasPrefix("/"), path.utf8.count <= longest else {
            fault("must be an absolute path of at most \(longest) bytes")
            return nil
        }
        return path
    }
}

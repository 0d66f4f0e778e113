public import Policy

/// The agent's configuration: `sallyport.yaml` and the policy files beside it.
public struct AgentConfiguration: Hashable, Sendable {
    /// The path of the socket.
    public var socket = "/run/sallyport/sallyport.sock"
    /// The folder of the ledger.
    public var stateDirectory = "/var/lib/sallyport"
    /// The folder of the policy files.
    public var policyDirectory: String
    /// Who holds which role.
    public var roles = RoleTable([:])
    /// Sources that are always let in to every managed port.
    public var breakGlass: [CIDR] = []
    /// The policies in the order of their files.
    public var policies: [AccessPolicy] = []

    /// The policies and roles, to decide by.
    public var policySet: PolicySet { PolicySet(policies: policies, roles: roles) }

    /// Reads a configuration file and the policy files it refers to.
    ///
    /// A policy folder that is not absolute is sought beside the file; where none is named it is
    /// `policy.d`. All `*.yaml` in it are read in the order of their names. The error names every
    /// fault of every file.
    public static func load(file: String) throws(ConfigurationError) -> AgentConfiguration {
        let faults = Faults()
        let folder =
            file.contains("/")
            ? String(file[..<(file.lastIndex(of: "/") ?? file.startIndex)]) + "/" : ""
        var configuration = AgentConfiguration(policyDirectory: folder + "policy.d")
        let root = Field(file: file, faults)
        let policyDirectory = configuration.read(root, folder: folder)
        let files = policyFiles(
            in: configuration.policyDirectory,
            named: policyDirectory,
            by: file,
            faults
        ).map { path in (path, Field(file: path, faults).map(AccessPolicy.read) ?? []) }
        let policies = files.flatMap(\.1)
        refuseConflicts(among: policies, faults)
        try faults.check()
        // A file cut short, or a folder that is not mounted, must not open the ports to everybody.
        for (path, policies) in files where policies.isEmpty { refuseNoPolicies(in: path, faults) }
        if files.isEmpty { refuseNoPolicies(in: configuration.policyDirectory, faults) }
        try faults.check()
        configuration.policies = policies.map(\.policy)
        return configuration
    }

    /// Reads the text of one policy file, as `policy check` does; `named` stands for the file in
    /// the faults.
    public static func checkPolicies(
        text: String,
        named file: String
    ) throws(ConfigurationError) -> [AccessPolicy] {
        let faults = Faults()
        let policies = Field(text: text, file: file, faults).map(AccessPolicy.read) ?? []
        refuseConflicts(among: policies, faults)
        try faults.check()
        if policies.isEmpty { refuseNoPolicies(in: file, faults) }
        try faults.check()
        return policies.map(\.policy)
    }
}

private func refuseNoPolicies(in path: String, _ faults: Faults) {
    faults.add(
        Place(file: path, line: 0, column: 0),
        "policies",
        "there is no policy here, and without one its ports are open to everybody; "
            + "`enabled: false` in each says that this is meant"
    )
}

extension AgentConfiguration {
    /// Reads the fields of `sallyport.yaml`; answers that of the policy folder.
    private mutating func read(_ root: Field?, folder: String) -> Field? {
        guard let fields = root?.mapping(["policy_dir", "agent", "roles", "break_glass"]) else {
            return nil
        }
        if let path = fields["policy_dir"]?.text() {
            policyDirectory = path.hasPrefix("/") ? path : folder + path
        }
        if let agent = fields["agent"]?.mapping(["socket", "state_dir"]) {
            // The kernel's sun_path holds 108 bytes, the last of them zero: unix(7).
            socket = agent["socket"]?.absolutePath(longest: 107) ?? socket
            stateDirectory = agent["state_dir"]?.absolutePath(longest: 4_000) ?? stateDirectory
        }
        if let fields = fields["roles"]?.mapping(Role.allCases.map(\.rawValue)) {
            var principals: [Role: [Principal]] = [:]
            for role in Role.allCases {
                principals[role] = fields[role.rawValue]?.list("[\"group:ops\"]") { $0.principal() }
            }
            roles = RoleTable(principals)
        }
        if let sources = fields["break_glass"]?.mapping(["sources"])?["sources"] {
            breakGlass = sources.list("[192.0.2.10/32]", Self.breakGlassSource) ?? []
        }
        return fields["policy_dir"]
    }

    private static func breakGlassSource(_ field: Field) -> CIDR? {
        guard let source = field.value(CIDR.self) else { return nil }
        if source.prefixLength == 0 {
            field.fault("\(source) would open every managed port to everybody")
        }
        return source
    }

    /// The paths of the policy files in the order of their names.
    private static func policyFiles(
        in folder: String,
        named field: Field?,
        by file: String,
        _ faults: Faults
    ) -> [String] {
        let names: [String]
        switch folderNames(folder) {
        case .success(let found):
            names = found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        case .failure(let error):
            let place = field?.place ?? Place(file: file, line: 0, column: 0)
            faults.add(place, "policy_dir", "cannot read the folder \(folder): \(error)")
            return []
        }
        let visible = names.filter { !$0.hasPrefix(".") }
        for name in visible where name.hasSuffix(".yml") {
            let path = "\(folder)/\(name)"
            faults.begin(file: path)
            faults.add(
                Place(file: path, line: 0, column: 0),
                "",
                "would not be read: the name of a policy file ends in .yaml"
            )
        }
        return visible.filter { $0.hasSuffix(".yaml") }.map { "\(folder)/\($0)" }
    }
}

extension Field {
    /// Opens a file and answers its root; nil where it is empty or at fault.
    fileprivate init?(file: String, _ faults: Faults) {
        faults.begin(file: file)
        switch fileText(file, longest: YAMLDocument.longest) {
        case .success(let text): self.init(text: text, file: file, faults)
        case .failure(let error):
            faults.add(Place(file: file, line: 0, column: 0), "", "cannot read the file: \(error)")
            return nil
        }
    }

    fileprivate init?(text: String, file: String, _ faults: Faults) {
        faults.begin(file: file)
        guard text.utf8.count <= YAMLDocument.longest else {
            faults.add(
                Place(file: file, line: 0, column: 0),
                "",
                "is longer than the \(YAMLDocument.longest) bytes that are read"
            )
            return nil
        }
        let document = YAMLDocument(text: text, file: file, faults: faults)
        guard let root = document.root else { return nil }
        self.init(node: root, key: "", file: file, document: document, faults: faults)
    }

    fileprivate func absolutePath(longest: Int) -> String? {
        guard let path = text() else { return nil }
        guard path.hasPrefix("/"), path.utf8.count <= longest else {
            fault("must be an absolute path of at most \(longest) bytes")
            return nil
        }
        return path
    }
}
extension AgentConfiguration { public var delegates: [Delegate] { [] }; public func assertedGroups(of d: Delegate) -> [String: [String]] { [:] } }

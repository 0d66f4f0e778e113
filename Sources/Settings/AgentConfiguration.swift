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
    /// Who is one person under two names.
    public var people = People()
    /// Sources that are always let in to every managed port.
    public var breakGlass: [CIDR] = []
    /// How long events stay in the audit trail; nil for ever.
    public var auditKeep: Duration?
    /// The programs that speak for people whom issuers know.
    public var delegates: [Delegate] = []
    /// The policies in the order of their files.
    public var policies: [AccessPolicy] = []
    /// The users and groups that it names, in the order of the files.
    var names: [Name] = []
    /// The files it was read from, this one's first.
    var texts: [Text] = []

    /// A file as it was read.
    struct Text: Hashable {
        var path: String
        var text: String
    }

    /// The policies and roles, to decide by.
    public var policySet: PolicySet { PolicySet(policies: policies, roles: roles) }

    /// Reads a configuration file and the policy files it refers to.
    ///
    /// A policy folder that is not absolute is sought beside the file; where none is named it is
    /// `policy.d`. All `*.yaml` in it are read in the order of their names. The error names every
    /// fault of every file.
    public static func load(file: String) throws(ConfigurationError) -> AgentConfiguration {
        let (configuration, fault) = read(file: file, in: .disk)
        if let fault { throw fault }
        return configuration
    }

    /// Reads a configuration file and the policy files it refers to.
    ///
    /// Where anything is wrong, what was read is not to be put in force: of it only the paths, and
    /// the break-glass sources, mean what the file says.
    static func read(
        file: String,
        in tree: FileTree
    ) -> (configuration: AgentConfiguration, fault: ConfigurationError?) {
        let faults = Faults()
        let folder =
            file.contains("/")
            ? String(file[..<(file.lastIndex(of: "/") ?? file.startIndex)]) + "/" : ""
        var configuration = AgentConfiguration(policyDirectory: folder + "policy.d")
        let root = configuration.field(ofFile: file, in: tree, faults)
        let parts = Parts(root, folder: folder, &configuration)
        if faults.contains(key: "break_glass") { configuration.breakGlass = [] }
        let files = configuration.policyFiles(
            in: tree,
            named: parts.policyDirectory,
            by: file,
            faults
        )
        .map { path in
            (path, configuration.field(ofFile: path, in: tree, faults).map(AccessPolicy.read) ?? [])
        }
        let policies = files.flatMap(\.1)
        refuseConflicts(among: policies, faults)
        parts.refuseConflicts(with: policies, faults)
        // A file cut short, or a folder that is not mounted, must not open the ports to everybody.
        if faults.error == nil {
            for (path, policies) in files where policies.isEmpty {
                refuseNoPolicies(in: tree.label + path, faults)
            }
            if files.isEmpty {
                refuseNoPolicies(in: tree.label + configuration.policyDirectory, faults)
            }
        }
        configuration.policies = policies.map(\.policy)
        configuration.delegates = parts.delegates.map(\.delegate)
        configuration.roles = RoleTable(parts.roles, delegates: configuration.delegates)
        configuration.names = parts.names(with: policies).map { name in
            var name = name
            name.place.file.removeFirst(tree.label.count)
            return name
        }
        return (configuration, faults.error)
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
        if faults.error == nil, policies.isEmpty { refuseNoPolicies(in: file, faults) }
        if let error = faults.error { throw error }
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
    /// Opens a file and answers its root; nil where it is empty or at fault.
    private mutating func field(ofFile path: String, in tree: FileTree, _ faults: Faults) -> Field?
    {
        let name = tree.label + path
        faults.begin(file: name)
        do throws(FileError) {
            let text = try tree.text(path)
            texts.append(Text(path: path, text: text))
            return Field(text: text, file: name, faults)
        } catch {
            faults.add(Place(file: name, line: 0, column: 0), "", "cannot read the file: \(error)")
            return nil
        }
    }

    /// The paths of the policy files in the order of their names.
    private func policyFiles(
        in tree: FileTree,
        named field: Field?,
        by file: String,
        _ faults: Faults
    ) -> [String] {
        let names: [String]
        do throws(FileError) {
            names = try tree.names(in: policyDirectory)
        } catch {
            let place = field?.place ?? Place(file: tree.label + file, line: 0, column: 0)
            faults.add(place, "policy_dir", "cannot read the folder \(policyDirectory): \(error)")
            return []
        }
        for name in names where name.hasSuffix(".yml") {
            let path = "\(policyDirectory)/\(name)"
            faults.begin(file: path)
            faults.add(
                Place(file: path, line: 0, column: 0),
                "",
                "would not be read: the name of a policy file ends in .yaml"
            )
        }
        return names.filter { $0.hasSuffix(".yaml") }.map { "\(policyDirectory)/\($0)" }
    }

    /// For each issuer of a delegate the groups that mean anything here: those that roles or the
    /// requesters of policies name.
    public func assertedGroups(of delegate: Delegate) -> [String: [String]] {
        var groups: [String: Set<String>] = [:]
        for issuer in delegate.issuers { groups[issuer] = [] }
        let requesters = policies.lazy.flatMap { $0.requesters ?? [] }
        for case .asserted(let issuer, let group) in Array(roles.allPrincipals) + requesters {
            groups[issuer]?.insert(group)
        }
        return groups.mapValues { $0.sorted() }
    }
}

extension Field {
    /// The root of a text; nil where it is empty or at fault.
    init?(text: String, file: String, _ faults: Faults) {
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
}

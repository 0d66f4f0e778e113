public import API
public import Access
import Logging
public import Policy
import Settings

extension Agent {
    /// All policies that the caller's delegate may ask under.
    public func policies(for caller: Caller) async throws -> PolicyList {
        let policies = await committer.configuration.policies
        return PolicyList(
            policies: policies.filter(caller.mayAsk(under:)).map(PolicyDocument.init)
        )
    }

    /// One policy.
    public func policy(named name: String, for caller: Caller) async throws -> PolicyDocument {
        let policies = await committer.configuration.policies.filter(caller.mayAsk(under:))
        guard let policy = policies.first(where: { $0.name == name }) else {
            let names = policies.map(\.name).joined(separator: ", ")
            throw Problem(
                .notFound,
                "there is no policy \"\(printable(name))\"; there are: \(names)"
            )
        }
        return PolicyDocument(policy)
    }

    /// What a text would be as a policy file.
    public func check(policyText: String) async throws -> PolicyList {
        do throws(ConfigurationError) {
            let policies = try AgentConfiguration.checkPolicies(text: policyText, named: "-")
            return PolicyList(policies: policies.map(PolicyDocument.init))
        } catch {
            throw Problem(error)
        }
    }

    /// Reads the configuration again; answers the policies in force then.
    public func reload(by caller: Caller) async throws -> PolicyList {
        try await reload(by: caller.identity.person)
        return try await policies(for: caller)
    }

    /// Reads the configuration again.
    ///
    /// Where it is invalid the running one stays; grants survive.
    ///
    /// - Parameter person: Who wants it; nil for a signal.
    /// - Throws: `Problem` with every fault of the files.
    public func reload(by person: Person?) async throws {
        let configuration: AgentConfiguration
        do throws(ConfigurationError) {
            configuration = try source.read()
        } catch {
            await committer.refuse(error)
            try? await note(Notice(.configurationRefused, by: person, detail: "\(error)"))
            throw Problem(error)
        }
        let old = await committer.configuration
        do {
            try await committer.adopt(configuration)
        } catch {
            throw Problem(.kernelRefused, "the old policies stay: \(error)")
        }
        source.remember(configuration)
        let managed = configuration.policySet.managedPorts.map(\.range)
        let open = old.policySet.managedPorts.map(\.range)
            .filter { port in !managed.contains { $0.contains(port) } }
        for port in open {
            logger.warning(
                "\(port) is no longer managed as before: what of it no policy names is open"
            )
        }
        try? await note(
            Notice(
                .configurationLoaded,
                by: person,
                detail: (["\(configuration.policies.count) policies"]
                    + open.map { "\($0) no longer managed" }).joined(separator: "; ")
            )
        )
    }
}

extension Caller {
    func mayAsk(under policy: AccessPolicy) -> Bool {
        identity.via?.mayAsk(under: policy.name) ?? true
    }
}

extension Problem {
    fileprivate init(_ error: ConfigurationError) {
        self.init(
            .configurationInvalid,
            error.faults.count == 1
                ? "\(error)" : "the configuration has \(error.faults.count) faults",
            violations: error.faults.map {
                Violation(
                    field: "\($0.file):\($0.line):\($0.column)",
                    value: $0.key,
                    allowed: "",
                    message: $0.message
                )
            }
        )
    }
}

import API
import Access
import Policy
import Settings

/// The changes of the configuration: each is made in one go, so that none comes between the reading
/// of the files and what is made of it.
extension Committer {
    /// Reads the files anew and puts them in force.
    ///
    /// - Returns: The configuration before and after.
    /// - Throws: `ConfigurationError`, or where the kernel refuses; then the old one stays.
    func reload(
        from source: any ConfigurationSource,
        on terms: ChangeTerms
    ) throws -> (old: AgentConfiguration, new: AgentConfiguration) {
        try requireNoTrial()
        let old = configuration
        let new: AgentConfiguration
        do throws(ConfigurationError) {
            new = try source.read()
        } catch {
            refuse(error)
            throw error
        }
        try requireWayBack(under: new, on: terms) { _ in false }
        try adopt(new)
        return (old, new)
    }

    /// Changes a policy in its file and puts that in force; where the kernel refuses, the file is
    /// made again what it was.
    ///
    /// - Parameters:
    ///   - name: The policy's name.
    ///   - definition: The keys of the policy file, `name` included; nil to remove the policy.
    ///   - condition: What must hold of the policy.
    ///   - terms: On which terms.
    /// - Returns: What was changed, and what becomes of the requests that wait under the policy.
    /// - Throws: `Problem`; then nothing was.
    func change(
        policy name: String,
        to definition: String?,
        if condition: Precondition,
        on terms: ChangeTerms
    ) throws(Problem) -> (PolicyChange, WaitingFates) {
        try requireNoTrial()
        let names = configuration.policies.map(\.name)
        let policy = configuration.policies.first { $0.name == name }
        try condition.require(of: policy)
        if policy == nil, definition == nil { throw Problem(noPolicy: name, among: names) }
        if definition == nil { try requireNoDelegate(names: name) }
        let change: PolicyChange
        do throws(PolicyChangeError) {
            change = try configuration.changing(policy: name, to: definition)
        } catch {
            throw Problem(error)
        }
        guard change.old != change.new else { return (change, WaitingFates()) }
        let now = clocks.now()
        let new = change.configuration.policySet
        try requireWayBack(under: change.configuration, on: terms) {
            !terms.keepsGrants && $0.policy == name && !new.allows($0, at: now)
        }
        do throws(PolicyChangeError) {
            try change.make()
        } catch {
            throw Problem(error)
        }
        do {
            try adopt(change.configuration)
        } catch {
            var text = "the old policies stay: \(error)"
            do throws(PolicyChangeError) {
                try change.takeBack()
            } catch {
                text += "; but \(change.file) is the new one: \(error)"
            }
            throw Problem(.kernelRefused, text)
        }
        return (change, fates(under: name, at: clocks.now()))
    }

    /// A delegate that names a policy is bound to it, and the file that says so is nobody's but the
    /// administrator's.
    private func requireNoDelegate(names policy: String) throws(Problem) {
        guard
            let delegate = configuration.delegates.first(where: {
                $0.policies?.contains(policy) == true
            })
        else { return }
        throw Problem(
            .wrongState,
            "cannot remove \(policy): delegate \(delegate.name) names it in sallyport.yaml; take it "
                + "out there first, and reload: sallyport policy reload"
        )
    }
}

extension Precondition {
    fileprivate func require(of policy: AccessPolicy?) throws(Problem) {
        switch (self, policy) {
        case (.none, _), (.isAbsent, nil), (.exists, _?): return
        case (.matches(let tags), let policy?) where tags.contains(policy.tag): return
        case (.isAbsent, _?):
            throw Problem(.changedMeanwhile, "there is a policy of this name already")
        case (_, nil): throw Problem(.changedMeanwhile, "there is no policy of this name")
        case (.matches, _?):
            throw Problem(
                .changedMeanwhile,
                "the policy is not what it was when it was read; read it again"
            )
        }
    }
}

extension Problem {
    init(_ error: ConfigurationError) { self.init(faults: error.faults) }

    private init(faults: [ConfigurationError.Fault]) {
        self.init(
            .configurationInvalid,
            faults.count == 1
                ? "\(faults[0])" : "the configuration has \(faults.count) faults",
            violations: faults.map {
                Violation(
                    field: $0.file.isEmpty ? $0.key : $0.place,
                    value: $0.file.isEmpty ? "" : $0.key,
                    allowed: "",
                    message: $0.message
                )
            }
        )
    }

    init(_ error: PolicyChangeError) {
        switch error {
        case .invalid(let faults): self.init(faults: faults)
        case .filesDiffer:
            self.init(
                .wrongState,
                "cannot change the policies: the files were edited and are not what is in force; "
                    + "reload first: sallyport policy reload"
            )
        case .notEditable(let reason): self.init(.wrongState, reason)
        case .notWritten(let reason): self.init(.configurationNotWritten, reason)
        }
    }
}

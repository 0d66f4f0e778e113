public import API
public import Access
import Linux
import Logging
public import Policy
public import Settings

extension Agent {
    /// Reads the configuration again; answers the policies in force then.
    public func reload(on terms: ChangeTerms, by caller: Caller) async throws -> PolicyList {
        try await reload(on: terms, by: caller.identity.person)
        return try await policies(for: caller)
    }

    /// Reads the configuration again.
    ///
    /// Where it is invalid the running one stays; grants survive.
    ///
    /// - Parameters:
    ///   - terms: On which terms.
    ///   - person: Who wants it; nil for a signal.
    /// - Throws: `Problem` with every fault of the files.
    public func reload(on terms: ChangeTerms = ChangeTerms(), by person: Person?) async throws {
        let old: AgentConfiguration
        let new: AgentConfiguration
        do {
            (old, new) = try await committer.reload(from: source, on: terms)
        } catch let error as ConfigurationError {
            try? await note(Notice(.configurationRefused, by: person, detail: "\(error)"))
            throw Problem(error)
        } catch let refusal as Problem {
            logger.warning("not reloaded: \(refusal.detail)")
            throw refusal
        } catch {
            throw Problem(.kernelRefused, "the old policies stay: \(error)")
        }
        try? await noteLoaded(new, after: old, by: person, terms.remarks)
        await committer.keepConfiguration(in: source)
        checkNamesLater()
    }

    /// Records that the configuration the agent began with is not the one that was last recorded, if
    /// so, and keeps it.
    ///
    /// - Parameter old: What was in force then, and is not any more; nil where there is no such.
    public func noteStart(after old: AgentConfiguration?) async {
        let configuration = await committer.configuration
        if let old {
            try? await noteLoaded(configuration, after: old, by: nil, ["changed before the start"])
        }
        await committer.keepConfiguration(in: source)
    }

    private func noteLoaded(
        _ new: AgentConfiguration,
        after old: AgentConfiguration,
        by person: Person?,
        _ remarks: [String]
    ) async throws {
        let open = old.policySet.ports(notManagedBy: new.policySet)
        warn(ofOpenPorts: open)
        let policies = counted(new.policies.count, "policy", "policies")
        let detail =
            [policies] + remarks + new.differences(from: old)
            + open.map { "\($0) no longer managed" }
        try await note(
            Notice(.configurationLoaded, by: person, detail: detail.joined(separator: "; "))
        )
    }

    /// Looks up the users and groups that the configuration names, which may take long, and says
    /// which of them this host does not know.
    public func checkNames() async {
        let configuration = await committer.configuration
        let faults = await onOwnThread { configuration.warnings() } ?? []
        for fault in faults { logger.warning("\(fault)") }
        await committer.warn(faults.map(\.description), about: configuration)
    }

    /// The same, with nobody to wait for it.
    func checkNamesLater() {
        Task(executorPreference: committer.executor) { await self.checkNames() }
    }
}

extension AgentConfiguration {
    /// How the policies differ from those of another configuration, a text for each that does.
    func differences(from old: AgentConfiguration) -> [String] {
        func named(_ policies: [AccessPolicy]) -> [String: AccessPolicy] {
            Dictionary(policies.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        }
        let (before, after) = (named(old.policies), named(policies))
        let changed = policies.compactMap { policy -> String? in
            guard let old = before[policy.name] else { return "\(policy.name) is new" }
            let changes = AccessPolicy.differences(from: old, to: policy)
            return changes.isEmpty ? nil : "\(policy.name): " + changes.joined(separator: ", ")
        }
        return changed + before.keys.filter { after[$0] == nil }.sorted().map { "\($0) is gone" }
    }
}

/// Runs what may block for long on a thread of its own; nil where none can be had.
func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
    await withCheckedContinuation { continuation in
        do throws(SystemError) {
            try OwnThread.start { continuation.resume(returning: body()) }
        } catch {
            continuation.resume(returning: nil)
        }
    }
}

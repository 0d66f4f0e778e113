import Linux
public import Policy
import SystemPackage

/// A change of one policy in its file, worked out and checked but not made.
public struct PolicyChange: Sendable {
    /// What is to be in force with it.
    public let configuration: AgentConfiguration
    /// The policy as it was; nil where it is new.
    public let old: AccessPolicy?
    /// The policy as it is to be; nil where it is removed.
    public let new: AccessPolicy?
    let edit: FileEdit

    /// The path of its file.
    public var file: String { edit.file }

    /// Writes the file, which is on the disk then, or removes it.
    ///
    /// Mode and owner stay, as far as the agent may set them.
    ///
    /// - Throws: ``PolicyChangeError/notWritten(_:)``; then the file is what it was.
    public func make() throws(PolicyChangeError) { try edit.make() }

    /// Makes the file again what it was.
    ///
    /// - Throws: ``PolicyChangeError/notWritten(_:)``.
    public func takeBack() throws(PolicyChangeError) { try edit.takeBack() }
}

/// Why a policy is not changed.
public enum PolicyChangeError: Error, Hashable, Sendable {
    /// The policy is not valid, or does not go with the rest of the configuration. Faults within the
    /// policy have no file, and keys as in the policy file.
    case invalid([ConfigurationError.Fault])
    /// The files are not what is in force: they were edited, or never could be used.
    case filesDiffer
    /// The file is written in a way that a program does not change; says which and why.
    case notEditable(String)
    /// The file could not be written; says which and why.
    case notWritten(String)

    fileprivate static func notSafe(_ file: String) -> Self {
        .notEditable("cannot change the policy in \(file) safely; edit it there, and reload")
    }
}

extension AgentConfiguration {
    /// Works out a change of one policy in its file.
    ///
    /// A policy that stands in a file with others is changed there, and every other line is left as
    /// it is; a new one gets a file of its own, `NAME.yaml`.
    ///
    /// - Parameters:
    ///   - name: The policy's name.
    ///   - definition: The mapping of its keys, which are those of the policy file, `name` included;
    ///     nil to remove the policy.
    /// - Returns: The change, to be made.
    /// - Throws: Why it cannot be.
    public func changing(
        policy name: String,
        to definition: String?
    ) throws(PolicyChangeError) -> PolicyChange {
        try requireUnchangedFiles()
        var new: AccessPolicy?
        if let definition { new = try Self.policy(definition) }
        let old = policies.first { $0.name == name }
        let place = texts.indices.dropFirst().first { index in
            PolicyFileText(texts[index].text)?.index(of: name) != nil
        }
        if old != nil, place == nil {
            throw .notEditable(
                "cannot change the policy: it stands in a file whose list is in brackets; write "
                    + "that one policy under the other, or edit it there, and reload"
            )
        }
        let file = place.map { texts[$0].path } ?? "\(policyDirectory)/\(name).yaml"
        let status = try status(of: file, isThere: place != nil)
        let before = place.map { texts[$0].text }
        let after = try after(before, name, old, new, file)
        var files = Dictionary(texts.map { ($0.path, $0.text) }, uniquingKeysWith: { $1 })
        files[file] = after
        let (changed, fault) = Self.read(
            file: texts[0].path,
            in: FileTree(label: "", texts: files)
        )
        if let fault {
            throw .invalid(fault.faults.map { $0.within(policy: name, of: file, after) })
        }
        guard changed.isWhatIsMeant(self, with: new, inPlaceOf: name) else {
            throw .notSafe(file)
        }
        return PolicyChange(
            configuration: changed,
            old: old,
            new: new,
            edit: FileEdit(file: file, before: before, after: after, status: status)
        )
    }

    /// What is in force has to be what is on the disk.
    private func requireUnchangedFiles() throws(PolicyChangeError) {
        guard let file = texts.first?.path else { throw .filesDiffer }
        let (onDisk, fault) = Self.read(file: file, in: .disk)
        guard onDisk.texts == texts else { throw .filesDiffer }
        if let fault { throw .invalid(fault.faults) }
    }

    /// Reads a definition as if it stood in a policy file.
    private static func policy(_ definition: String) throws(PolicyChangeError) -> AccessPolicy {
        let faults = Faults()
        let placed = Field(text: definition, file: "", faults).flatMap(AccessPolicy.read(policy:))
        if let placed { refuseConflicts(among: [placed], faults) }
        guard faults.error == nil, let placed else { throw .invalid(faults.error?.faults ?? []) }
        return placed.policy
    }

    /// Mode and owner of a file that is to be changed; nil where there is to be none and is none.
    private func status(of file: String, isThere: Bool) throws(PolicyChangeError) -> Stat? {
        let status: Stat?
        do throws(SystemError) {
            status = try fileStatus(file, followsLink: false)
        } catch {
            status = nil
        }
        guard (status != nil) == isThere else {
            throw .notEditable(
                "cannot make \(file): it is there already, and the policy is not in it; write the "
                    + "policy there, and reload"
            )
        }
        guard status.map({ $0.type == .regular }) ?? true else {
            throw .notEditable(
                "cannot change \(file): it is a link; edit what it leads to, and reload"
            )
        }
        return status
    }

    /// The text of the file with the change; nil where nothing of it is left.
    private func after(
        _ before: String?,
        _ name: String,
        _ old: AccessPolicy?,
        _ new: AccessPolicy?,
        _ file: String
    ) throws(PolicyChangeError) -> String? {
        guard let before, let text = PolicyFileText(before), let index = text.index(of: name),
            let old
        else {
            let lines = new?.lines(head: "  - ", indent: 4)
            return lines.map { (["policies:"] + $0).joined(separator: "\n") + "\n" }
        }
        if new == old { return before }
        if new == nil, text.count == 1 { return nil }
        let after =
            new.map { text.replacing(index, old, with: $0) } ?? text.removing(index)
        guard let after else {
            throw .notSafe(file)
        }
        return after
    }

    /// Whether this is another configuration with one policy replaced, and nothing else different.
    private func isWhatIsMeant(
        _ other: AgentConfiguration,
        with new: AccessPolicy?,
        inPlaceOf name: String
    ) -> Bool {
        let meant = other.policies.filter { $0.name != name } + [new].compactMap(\.self)
        guard policies.count == meant.count, Set(policies) == Set(meant) else { return false }
        var rest = self
        (rest.policies, rest.names, rest.texts) = (other.policies, other.names, other.texts)
        return rest == other
    }
}

extension ConfigurationError.Fault {
    /// The fault as one of a policy's definition, if it is within that policy.
    fileprivate func within(policy name: String, of file: String, _ text: String?) -> Self {
        guard self.file == file, let index = text.flatMap(PolicyFileText.init)?.index(of: name),
            key.hasPrefix("policies[\(index)].")
        else { return self }
        var fault = self
        fault.key = String(key.dropFirst("policies[\(index)].".count))
        (fault.file, fault.line, fault.column) = ("", 0, 0)
        return fault
    }
}

public import API
public import Access
import Crypto
import FoundationEssentials
import Linux
import Logging
import Policy
import Settings

extension Agent {
    /// All policies that the caller's delegate may ask under.
    public func policies(for caller: Caller) async throws -> PolicyList {
        let policies = await committer.configuration.policies
        return PolicyList(
            policies: policies.filter(caller.mayAsk(under:)).map(PolicyDocument.init)
        )
    }

    /// One policy, and the tag of what it is now.
    public func policy(
        named name: String,
        for caller: Caller
    ) async throws -> (policy: PolicyDocument, tag: String) {
        let policies = await committer.configuration.policies.filter(caller.mayAsk(under:))
        guard let policy = policies.first(where: { $0.name == name }) else {
            throw Problem(noPolicy: name, among: policies.map(\.name))
        }
        return (PolicyDocument(policy), policy.tag)
    }

    /// Changes a policy in its file, puts it in force, and ends what it allows no longer.
    public func change(
        policy name: String,
        to definition: JSONValue?,
        if condition: Precondition,
        on terms: ChangeTerms,
        by caller: Caller
    ) async throws -> PolicyChanged {
        let person = caller.identity.person
        let change: PolicyChange
        let waiting: WaitingFates
        let before = await committer.configuration.policySet
        do throws(Problem) {
            let text = try definition?.definition(ofPolicy: name)
            (change, waiting) = try await committer.change(
                policy: name,
                to: text,
                if: condition,
                on: terms
            )
        } catch {
            var error = error
            if error.code == .configurationInvalid {
                error.violations = error.violations?.map { violation in
                    var violation = violation
                    if violation.value.isEmpty {
                        violation.value = definition?.text(at: violation.field) ?? ""
                    }
                    return violation
                }
                let faults = error.violations ?? []
                try? await note(
                    Notice(
                        .configurationRefused,
                        by: person,
                        policy: name,
                        detail: faults.map { "\($0.field): \($0.message)" }.joined(separator: "; ")
                    )
                )
            }
            throw error
        }
        let open = before.ports(notManagedBy: change.configuration.policySet)
        let changes = AccessPolicy.differences(from: change.old, to: change.new)
        var ended: [Grant.ID] = []
        if change.old != change.new {
            warn(ofOpenPorts: open)
            let notice = Notice(
                change.new == nil ? .policyRemoved : .policyChanged,
                by: person,
                policy: name,
                detail: (changes + open.map { "\($0) no longer managed" } + terms.remarks)
                    .joined(separator: "; ")
            )
            ended = try await record(
                notice,
                from: [change.old].compactMap(\.self),
                to: change.configuration,
                sparing: terms.keepsGrants ? nil : []
            )
            await committer.keepConfiguration(in: source)
            checkNamesLater()
        }
        return PolicyChanged(
            document: PolicyChangeDocument(
                policy: change.new.map(PolicyDocument.init),
                file: change.file,
                changes: changes,
                endedGrants: ended.map(\.description),
                openedRequests: waiting.opened.map(\.description),
                deniedRequests: waiting.denied.map(\.description),
                openPorts: open
            ),
            tag: change.new?.tag,
            isNew: change.old == nil
        )
    }

    /// Records a change, and with it the ends of the grants that are no longer allowed.
    ///
    /// - Parameters:
    ///   - notice: What is to be known.
    ///   - old: The policies that were replaced, as they were.
    ///   - new: What is in force now.
    ///   - spared: Grants that go on all the same; nil for all.
    /// - Returns: The grants that were ended.
    /// - Throws: `Problem` where it cannot be recorded.
    func record(
        _ notice: Notice,
        from old: [AccessPolicy],
        to new: AgentConfiguration,
        sparing spared: Set<String>?
    ) async throws -> [Grant.ID] {
        var strangers: [String: Set<Subject>] = [:]
        if spared != nil {
            for policy in old {
                guard let next = new.policySet.policy(named: policy.name) else { continue }
                strangers[policy.name] = await holders(of: policy, nowOutside: next, new.roles)
            }
        }
        return try await committer.submit { [strangers] committer, now throws(Problem) in
            let ended = committer.plan.allGrants.filter { grant in
                guard let spared, old.contains(where: { $0.name == grant.policy }),
                    !spared.contains(grant.id.description)
                else { return false }
                return !new.policySet.allows(grant, at: now)
                    || strangers[grant.policy]?.contains(grant.requester.subject) == true
            }
            .map(\.id).sorted()
            let events = ended.map {
                Event.ended($0, .policyChanged, at: now.wall, by: notice.by)
            }
            return Submission(events: [.noted(notice)] + events) { ended }
        }
    }

    /// Who holds grants of a policy and is not among its requesters any more.
    ///
    /// Of people from elsewhere nobody here knows the groups: where one was taken out that could
    /// have let them ask, they are counted out.
    private func holders(
        of old: AccessPolicy,
        nowOutside new: AccessPolicy,
        _ roles: RoleTable
    ) async -> Set<Subject> {
        guard new.requesters != old.requesters, new.requesters != nil else { return [] }
        let grants = await committer.plan.allGrants.filter { $0.policy == new.name }
        let subjects = Set(grants.map(\.requester.subject))
        // The name service may take long.
        let outside = await onOwnThread {
            subjects.filter { subject in
                switch subject {
                case .local(let uid):
                    guard let user = NameService.user(uid) else { return true }
                    let groups = NameService.memberships(ofUser: user)
                    let identity = Identity(
                        subject: subject,
                        name: user,
                        groups: Set(groups.compactMap(NameService.group)),
                        origin: .process(.init(pid: 0))
                    )
                    return !new.mayAsk(identity, roles: roles.roles(of: identity))
                case .remote(let issuer, _): return !new.admitsAll(of: issuer, admittedBy: old)
                }
            }
        }
        return outside ?? subjects
    }

    /// Says loudly which ports are open to everybody now.
    func warn(ofOpenPorts ports: [OpenPort]) {
        for port in ports {
            logger.warning("\(port) is no longer managed: it is open to everybody")
        }
    }
}

extension AccessPolicy {
    /// The tag that stands for what the policy is (RFC 9110, section 8.8.3).
    var tag: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        // Texts and numbers can always be encoded.
        let data = (try? encoder.encode(PolicyDocument(self))) ?? Data()
        let digits = SHA256.hash(data: data).prefix(16).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        return "\"\(digits.joined())\""
    }
}

extension JSONValue {
    /// What stands at a key as faults name it, `ports[1]`, clipped for people.
    fileprivate func text(at key: String) -> String? {
        let value = key.split { ".[]".contains($0) }.reduce(Optional(self)) { value, part in
            guard let items = value?.list else { return value?[String(part)] }
            return Int(part).flatMap { items.indices.contains($0) ? items[$0] : nil }
        }
        return value.map { printable($0.text ?? $0.description) }
    }

    /// The text of a policy's definition, with the name that its path gives it.
    fileprivate func definition(ofPolicy name: String) throws(Problem) -> String {
        guard case .object = self else {
            throw Problem(.badRequest, "cannot read the body: it is not an object")
        }
        var definition = self
        guard definition["name"] ?? .text(name) == .text(name) else {
            throw Problem(
                .configurationInvalid,
                "the policy cannot be given another name",
                violations: [
                    Violation(
                        field: "name",
                        value: definition["name"]?.text ?? "",
                        allowed: name,
                        message: "must be \(name), or be left out"
                    )
                ]
            )
        }
        definition["name"] = .text(name)
        return definition.description
    }
}

extension Caller {
    func mayAsk(under policy: AccessPolicy) -> Bool {
        identity.via?.mayAsk(under: policy.name) ?? true
    }
}

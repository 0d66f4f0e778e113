/// How many must agree to a request under one policy, and how many have.
public struct Need: Hashable, Sendable {
    /// The policy.
    public var policy: String
    /// How many must agree.
    public var approvals: Int
    /// How many have, whom the policy lets answer.
    public var given: Int
    /// Who of the approvers may answer; nil for all.
    public var approvers: [Principal]?

    /// Takes the parts.
    public init(policy: String, approvals: Int, given: Int, approvers: [Principal]?) {
        self.policy = policy
        self.approvals = approvals
        self.given = given
        self.approvers = approvers
    }

    /// Whether enough have agreed.
    public var isMet: Bool { given >= approvals }
}

extension PolicySet {
    /// What policy says to an approval.
    public enum ApprovalDecision: Hashable, Sendable {
        /// It counts.
        case counts(Approval)
        /// It does not: these limits are broken.
        case refused([Violation])
        /// It does not: the caller may not approve this, for the reason given.
        case notPermitted(String)
        /// It does not count twice, for the reason given.
        case countsAlready(String)
    }

    /// The approvals that a request takes under some policies; those that ask for none are left out.
    public func needs(under names: [String], given approvals: [Approval] = []) -> [Need] {
        names.compactMap(policy(named:)).filter { $0.approvals > 0 }.map { policy in
            Need(
                policy: policy.name,
                approvals: policy.approvals,
                given: approvals.count { $0.policies.contains(policy.name) },
                approvers: policy.approvers
            )
        }
    }

    /// Whether others have to agree to some of this.
    public func takeApprovals(_ openings: [Opening]) -> Bool {
        openings.contains { (policy(named: $0.policy)?.approvals ?? 0) > 0 }
    }

    /// How long a request under some policies waits for answers: as long as the most impatient of
    /// them lets it.
    public func pendingFor(_ names: [String]) -> Duration {
        names.compactMap(policy(named:)).map(\.pendingFor).min() ?? .zero
    }

    /// Why too few have agreed for a request to open; nil where enough have.
    public func refusal(ofApprovalsOf request: WaitingRequest) -> String? {
        needs(under: request.wait.policies, given: request.wait.approvals).first { !$0.isMet }.map {
            "cannot open \($0.policy): it asks for \($0.approvals) approvals now, and "
                + "\($0.given) were given"
        }
    }

    /// Those of some policies whose requests an identity may answer.
    public func answerable(_ names: [String], by identity: Identity) -> Set<String> {
        let held = roles.roles(of: identity)
        return Set(
            names.filter { name in
                policy(named: name)?.mayAnswer(identity, roles: held) == true
                    && identity.via?.mayAsk(under: name) != false
            }
        )
    }

    /// Decides whether somebody's approval of a waiting request counts.
    ///
    /// Nobody approves their own request, not under another name either, and nobody counts twice.
    ///
    /// - Parameters:
    ///   - request: The request as it is.
    ///   - identity: Who approves.
    ///   - holder: Whose grants are lengthened, where it is an extension.
    ///   - shorter: The time the request is to be shortened to, as it was written.
    ///   - people: Who is known under two names.
    ///   - now: The instant by the wall clock.
    /// - Returns: The approval, or why it does not count.
    public func decideApproval(
        of request: WaitingRequest,
        by identity: Identity,
        holder: Requester? = nil,
        shortenedTo shorter: String?,
        people: People,
        at now: Timestamp
    ) -> ApprovalDecision {
        let refusal = "cannot approve request \(request.id)"
        let person = identity.person
        if people.areSame(request.requester, person) {
            return .notPermitted(
                "\(refusal): \(request.requester.name) asked for it, who is the same person; "
                    + "somebody else has to agree"
            )
        }
        if let holder, people.areSame(holder, person) {
            return .notPermitted(
                "\(refusal): it lengthens grants of \(holder.name), who is the same person; "
                    + "somebody else has to agree"
            )
        }
        let policies = request.wait.policies
        let answerable = answerable(policies, by: identity)
        guard !answerable.isEmpty else {
            return .notPermitted(
                "\(refusal): \(identity.name) is not among the approvers of \(listed(policies))"
            )
        }
        if let earlier = request.wait.approvals.first(where: { people.areSame($0.by, person) }) {
            return .countsAlready(
                "\(refusal) again: \(earlier.by.name) has approved it, and one person counts once"
            )
        }
        var approval = Approval(by: person, at: now, duration: nil, policies: answerable)
        if let shorter {
            switch Self.shortened(request.wait.duration, to: shorter) {
            case .success(let duration): approval.duration = duration
            case .failure(let violation): return .refused([violation])
            }
        }
        return .counts(approval)
    }

    /// A time that is not longer than another; nil where it is the same.
    private static func shortened(
        _ duration: Duration,
        to text: String
    ) -> Result<Duration?, Violation> {
        let most = "at most \(duration.compactDescription)"
        do throws(ParseError) {
            let shorter = try Duration(parsing: text)
            guard shorter <= duration else {
                return .failure(
                    Violation(
                        field: "duration",
                        value: shorter.compactDescription,
                        allowed: most,
                        message:
                            "cannot approve for \(shorter.compactDescription): an approval may "
                            + "shorten a request, which is for \(duration.compactDescription)"
                    )
                )
            }
            return .success(shorter == duration ? nil : shorter)
        } catch {
            return .failure(
                Violation(
                    field: "duration",
                    value: error.value,
                    allowed: error.suggestion ?? most,
                    message: "cannot read \(error.value) as a duration: \(error.message)"
                )
            )
        }
    }
}

extension AccessPolicy {
    /// Whether an identity with these roles may answer requests here; an admin always may.
    public func mayAnswer(_ identity: Identity, roles: Set<Role>) -> Bool {
        if roles.contains(.admin) { return true }
        guard roles.contains(.approver) else { return false }
        return approvers?.contains { $0.matches(identity) } ?? true
    }
}

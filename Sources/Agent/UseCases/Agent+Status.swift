public import API
public import Access
import Gate
import Ledger
import Linux
public import Policy
import Settings
import Synchronization

extension Agent: AccessService {
    /// The roles of somebody who connected.
    public func roles(of identity: Identity) -> Set<Role> {
        committer.roles.withLock { $0 }.roles(of: identity)
    }

    /// The delegate that runs as a user of this host.
    public func delegate(runningAs user: String) async -> Delegate? {
        await committer.configuration.delegates.first { $0.user == user }
    }

    /// The users that delegates run as, now and after each reload.
    public func delegateUsers() async -> AsyncStream<[String]> {
        await committer.delegateUsers()
    }

    /// Whose people and which groups mean anything to a delegate.
    public func delegation(of delegate: Delegate) async -> DelegationDocument {
        DelegationDocument(
            delegate,
            groups: await committer.configuration.assertedGroups(of: delegate)
        )
    }

    /// Tells the audit trail that somebody was refused before any use case was asked.
    public func note(_ refusal: Refusal) async {
        let who = refusal.who
        let (kind, crowd): (AuditKind, NoticeThrottle.Crowd) =
            switch refusal.kind {
            case .caller: (.refused, who.via.map { .delegate($0) } ?? .person(who.subject))
            case .stranger: (.refused, .strangers)
            case .delegate(let name): (.delegateRefused, .delegate(name))
            }
        await committer.note(
            Notice(kind, by: who, detail: printable(refusal.detail)),
            of: crowd
        )
    }

    /// The agent, the gate and the policies, each as far as the caller may see it, and what the
    /// caller may do.
    public func status(for caller: Caller) async throws -> StatusDocument {
        let pastFault = await history.value
        let state = await committer.summary
        let policies = state.policies.filter(caller.maySee)
        let figures = await committer.figures(
            of: policies.map(\.name),
            by: caller.maySeeAll ? nil : caller.identity.subject
        )
        var ledgerFault = state.ledgerFault ?? pastFault.map { "\($0)" }
        var statuses: [PolicyStatus] = []
        for policy in policies {
            let (liveGrants, used) = figures[policy.name] ?? (0, nil)
            var last: StoredRequest?
            do throws(LedgerError) {
                if let used { last = try await ledger.request(used.newest) }
            } catch {
                ledgerFault = ledgerFault ?? "\(error)"
            }
            statuses.append(
                PolicyStatus(
                    name: policy.name,
                    description: policy.description,
                    ports: policy.ports,
                    hosts: policy.hosts,
                    sessions: policy.sessions,
                    enabled: policy.enabled,
                    activeGrants: liveGrants,
                    requests7d: used?.requests ?? 0,
                    lastAccess: last.flatMap { LastAccess($0, under: policy.name) }
                )
            )
        }
        return StatusDocument(
            agent: AgentStatus(
                version: version,
                pid: ThisProcess.id,
                startedAt: startedAt,
                configuredAt: state.configuredAt,
                configuration: state.origin,
                configurationError: caller.maySeeAllPolicies ? state.configurationError : nil,
                warnings: caller.maySeeAllPolicies ? state.warnings : [],
                liveGrants: caller.maySeeAllPolicies
                    ? state.liveGrants : statuses.map(\.activeGrants).reduce(0, +)
            ),
            gate: await gateStatus(for: caller, state.disarmed),
            ledgerFault: ledgerFault,
            auditFault: caller.maySeeAll ? auditFault : nil,
            unconfirmed: state.trial.flatMap(UnconfirmedDocument.init),
            policies: statuses,
            you: YouDocument(caller, policies)
        )
    }

    /// What the kernel holds; where it cannot be read, only why.
    func gateReport() -> GateReport {
        do throws(GateError) {
            return try gate.inspect()
        } catch {
            return GateReport(fault: "\(error)", droppedPackets: 0, breakGlass: [])
        }
    }

    private func gateStatus(
        for caller: Caller,
        _ disarmed: Disarmament?
    ) async -> GateStatus {
        var report =
            disarmed == nil
            ? gateReport() : GateReport(fault: nil, droppedPackets: 0, breakGlass: [])
        if let disarmed { report.fault = disarmed.sentence }
        var breakGlass: [BreakGlassStatus] = []
        for (source, packets) in caller.maySeeAll ? report.breakGlass : [] {
            let all = await committer.allBreakGlassPackets(of: source, with: packets)
            breakGlass.append(BreakGlassStatus(source: source, packets: all))
        }
        return GateStatus(
            armed: report.fault == nil,
            fault: report.fault,
            disarmed: disarmed.map { DisarmedDocument(at: $0.at, by: $0.by) },
            table: "inet sallyport",
            owned: gate.isOwned,
            kernel: (try? firstLine(of: "/proc/sys/kernel/osrelease")) ?? "unknown",
            droppedPackets: report.droppedPackets,
            refusedFault: refusals.fault,
            connectionsFault: connections.fault,
            breakGlass: breakGlass
        )
    }
}

extension Agent {
    /// How the gate is, in one line for the service manager.
    public func gateLine() async -> String {
        let state = await committer.summary
        var line = "gate armed"
        if let disarmed = state.disarmed {
            line = "THE GATE IS DISARMED: \(disarmed.sentence)"
        } else {
            do throws(GateError) {
                if let fault = try gate.inspect().fault { line = "THE GATE IS NOT ARMED: \(fault)" }
            } catch {
                line = "THE GATE IS NOT ARMED: \(error)"
            }
        }
        guard let trial = state.trial, let until = trial.until else { return line }
        return line + "; \(trial.what) waits until \(until) for its confirmation"
    }
}

extension Disarmament {
    /// Why the gate is not there, for people.
    var sentence: String {
        guard let at else { return "it is disarmed, and was not armed yet" }
        return by.map { "\($0) disarmed it at \(at)" }
            ?? "it was disarmed at \(at): nobody confirmed in time that it had been armed"
    }
}

extension UnconfirmedDocument {
    fileprivate init?(_ trial: Trial) {
        guard let until = trial.until else { return nil }
        self.init(change: trial.change, at: trial.since, by: trial.by, until: until)
    }
}

extension Trial {
    var change: UnconfirmedChange { policies == nil ? .arming : .policies }
}

extension Caller {
    /// Whether the status shows a policy: to who is but a requester only what may be asked under.
    fileprivate func maySee(_ policy: AccessPolicy) -> Bool {
        mayAsk(under: policy)
            && (maySeeAll || policy.enabled && policy.mayAsk(identity, roles: roles))
    }

    var maySeeAllPolicies: Bool { maySeeAll && identity.via?.policies == nil }
}

extension YouDocument {
    /// What a caller may do; the policies are those the caller may see.
    fileprivate init(_ caller: Caller, _ policies: [AccessPolicy]) {
        let (who, roles) = (caller.identity, caller.roles)
        self.init(
            who: WhoDocument(who.person),
            roles: roles,
            may: Operation.allCases.filter { !$0.roles.isDisjoint(with: roles) }.map(\.rawValue),
            asks: policies.filter { $0.enabled && $0.mayAsk(who, roles: roles) }.map(\.name),
            approves: policies.filter {
                $0.enabled && $0.approvals > 0 && $0.mayAnswer(who, roles: roles)
            }.map(\.name)
        )
    }
}

extension LastAccess {
    /// What a request opened under a policy.
    fileprivate init?(_ request: StoredRequest, under policy: String) {
        let grants = request.grants.map(\.grant).filter { $0.policy == policy }
        guard let at = grants.map(\.startsAt).max() else { return nil }
        self.init(
            at: at,
            who: WhoDocument(request.requester),
            ports: Set(grants.map(\.port)).sorted(),
            hosts: Set(grants.compactMap(\.host)).sorted(),
            sources: Set(grants.map(\.source)).sorted()
        )
    }
}

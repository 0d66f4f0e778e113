import API
import Gate
import Glibc
import Ledger
import Logging
import Policy
import Server
import Settings

extension Agent: AccessService {
    func roles(of identity: Identity) -> Set<Role> {
        configuration.policySet.roles.roles(of: identity)
    }

    func status() async throws -> StatusDocument {
        let now = clocks.now().wall
        let figures = try await reading { ledger throws(LedgerError) in
            try await ledger.figures(since: now + .seconds(-7 * 24 * 3600))
        }
        let used = Dictionary(figures.map { ($0.policy, $0) }) { first, _ in first }
        var active: [String: Int] = [:]
        for grant in plan.allGrants { active[grant.policy, default: 0] += 1 }
        return StatusDocument(
            agent: AgentStatus(
                version: version,
                pid: getpid(),
                startedAt: startedAt,
                configuredAt: configuredAt,
                configurationError: configurationError,
                liveGrants: plan.count
            ),
            gate: gateStatus(),
            policies: configuration.policies.map { policy in
                PolicyStatus(
                    name: policy.name,
                    description: policy.description,
                    ports: policy.ports,
                    sessions: policy.sessions,
                    enabled: policy.enabled,
                    activeGrants: active[policy.name] ?? 0,
                    requests7d: used[policy.name]?.requests ?? 0,
                    lastAccess: used[policy.name].map {
                        LastAccess(at: $0.lastAt, user: $0.lastUser)
                    }
                )
            }
        )
    }

    private func gateStatus() -> GateStatus {
        var report = GateReport(fault: nil, droppedPackets: 0, breakGlass: [])
        do throws(GateError) {
            report = try gate.inspect()
        } catch {
            report.fault = "\(error)"
        }
        return GateStatus(
            armed: report.fault == nil,
            fault: report.fault,
            table: "inet sallyport",
            owned: gate.isOwned,
            kernel: readSmallFile("/proc/sys/kernel/osrelease") ?? "unknown",
            droppedPackets: report.droppedPackets,
            breakGlass: report.breakGlass.map {
                BreakGlassStatus(source: $0.source, packets: $0.packets)
            }
        )
    }

    // MARK: Requests and grants

    func request(id: Int64, for caller: Caller) async throws -> RequestDocument {
        let stored = try await reading { ledger throws(LedgerError) in try await ledger.request(id)
        }
        guard let stored, caller.maySee(requestsOf: stored.requester.uid) else {
            throw Problem.noSuch("request \(id)")
        }
        return document(of: stored)
    }

    func requests(_ filter: RequestFilter, for caller: Caller) async throws -> RequestList {
        let filter = filter.forLedger(caller)
        let stored = try await reading { ledger throws(LedgerError) in
            try await ledger.requests(filter)
        }
        let isLast = stored.count < filter.limit
        return RequestList(
            requests: stored.map(document(of:)),
            next: isLast ? nil : stored.last.map { "\($0.id)" }
        )
    }

    func grants(
        _ filter: RequestFilter,
        includeEnded: Bool,
        for caller: Caller
    ) async throws -> GrantList {
        var wanted = filter.forLedger(caller)
        if !includeEnded { wanted.state = .active }
        // A page holds whole requests, and so at least the largest there can be.
        wanted.limit = RequestLimits.grants + 1
        var stored = try await reading { [wanted] ledger throws(LedgerError) in
            try await ledger.grants(wanted)
        }
        var next: String?
        if stored.count == wanted.limit, let cut = stored.last?.id.request {
            stored.removeAll { $0.id.request == cut }
            next = stored.last.map { "\($0.id.request)" }
        }
        return GrantList(grants: stored.map(document(of:)), next: next)
    }

    private func document(of request: StoredRequest) -> RequestDocument {
        RequestDocument(
            id: "\(request.id)",
            state: request.state,
            requester: RequesterDocument(
                uid: request.requester.uid,
                user: request.requester.user,
                pid: request.pid
            ),
            reason: request.reason,
            ticket: request.ticket,
            createdAt: request.createdAt,
            decidedAt: request.createdAt,
            grants: request.grants.map(document(of:))
        )
    }

    private func document(of stored: StoredGrant) -> GrantDocument {
        var document = GrantDocument(stored)
        guard stored.state == .active, let live = plan[stored.id] else { return document }
        let left = max(0, live.deadline - clocks.now().boot)
        document.remainingSeconds = left / 1000
        // A wide range of ports is not worth as many questions to the kernel.
        let keys = live.elementKeys
        if keys.count <= 16, let traffic = try? keys.compactMap(gate.traffic(of:)) {
            document.packets = traffic.map(\.packets).reduce(0, &+)
            document.bytes = traffic.map(\.bytes).reduce(0, &+)
        }
        return document
    }

    private func reading<Answer>(
        _ body: (Ledger) async throws(LedgerError) -> Answer
    ) async throws(Problem) -> Answer {
        do { return try await body(ledger) } catch { throw Problem(.ledgerUnavailable, "\(error)") }
    }

    // MARK: Policies

    func policies(for caller: Caller) -> PolicyList {
        PolicyList(policies: configuration.policies.map(PolicyDocument.init))
    }

    func policy(named name: String, for caller: Caller) throws -> PolicyDocument {
        guard let policy = configuration.policySet.policy(named: name) else {
            let names = configuration.policies.map(\.name).joined(separator: ", ")
            throw Problem(.notFound, "there is no policy \"\(name)\"; there are: \(names)")
        }
        return PolicyDocument(policy)
    }

    func check(policyText: String) throws -> PolicyList {
        do throws(ConfigurationError) {
            let policies = try AgentConfiguration.checkPolicies(text: policyText, named: "-")
            return PolicyList(policies: policies.map(PolicyDocument.init))
        } catch {
            throw Problem(error)
        }
    }

    func reload(by caller: Caller) async throws -> PolicyList {
        try await reload()
        return policies(for: caller)
    }

    /// Reads the configuration again.
    ///
    /// Where it is invalid the running one stays; grants survive.
    func reload() async throws {
        let old = configuration
        do throws(ConfigurationError) {
            configuration = try loadConfiguration()
        } catch {
            configurationError = "\(error)"
            logger.error("the configuration was not reloaded: \(error)")
            throw Problem(error)
        }
        do throws(GateError) {
            try armWithoutElements()
        } catch {
            configuration = old
            throw Problem(.kernelRefused, "the old policies stay: \(error)")
        }
        configuredAt = clocks.now().wall
        configurationError = nil
        let managed = configuration.policySet.managedPorts
        for port in old.policySet.managedPorts
        where !managed.contains(where: { $0.contains(port) }) {
            logger.warning(
                "\(port) is no longer managed as before: what of it no policy names is open"
            )
        }
        logger.info("configuration loaded: \(configuration.policies.count) policies")
    }
}

extension Caller {
    /// Whether the caller may see the requests and grants of a user.
    func maySee(requestsOf uid: UInt32) -> Bool {
        uid == identity.uid || !roles.isDisjoint(with: [.viewer, .approver, .admin])
    }
}

extension RequestFilter {
    /// The conditions as the ledger takes them; who only is a requester sees but their own.
    fileprivate func forLedger(_ caller: Caller) -> LedgerFilter {
        LedgerFilter(
            state: state,
            policy: policy,
            user: requester,
            uid: caller.maySee(requestsOf: .max) ? nil : caller.identity.uid,
            before: before,
            limit: limit
        )
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

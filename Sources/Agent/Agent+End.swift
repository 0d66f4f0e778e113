import API
import Gate
import Ledger
import Logging
import Policy
import Settings
import Server

extension Agent {
    /// Closes all live grants of a request.
    func revoke(request id: Int64, by caller: Caller) async throws -> RequestDocument {
        try await requireSeen(request: id, by: caller)
        try await commit(closesOnly: true) { agent, now throws(Problem) in
            let grants = try agent.liveGrants(ofRequest: id, for: caller, to: "close")
            return (agent.change(closing: grants, by: caller, at: now.wall), ())
        }
        return try await request(id: id, for: caller)
    }

    /// Closes one grant.
    func close(grant id: Grant.ID, by caller: Caller) async throws -> GrantDocument {
        try await requireSeen(request: id.request, grant: id, by: caller)
        try await commit(closesOnly: true) { agent, now throws(Problem) in
            let grants = try agent.liveGrants(ofRequest: id.request, for: caller, to: "close")
                .filter { $0.id == id }
            guard !grants.isEmpty else { throw .notLive("grant \(id)") }
            return (agent.change(closing: grants, by: caller, at: now.wall), ())
        }
        let request = try await request(id: id.request, for: caller)
        guard let grant = request.grants.first(where: { $0.id == id.description }) else {
            throw Problem.noSuch("grant \(id)")
        }
        return grant
    }

    /// Moves the end of a request's live grants.
    func extend(
        request id: Int64,
        by addition: Duration,
        by caller: Caller
    ) async throws -> RequestDocument {
        try await requireSeen(request: id, by: caller)
        try await commit(closesOnly: false) { agent, now throws(Problem) in
            let grants = try agent.liveGrants(ofRequest: id, for: caller, to: "extend")
            let decision = agent.configuration.policySet.decideExtension(
                of: grants,
                by: addition,
                requester: caller.identity,
                at: now.wall
            )
            switch decision {
            case .notPermitted(let reason):
                throw Problem(.notPermitted, reason)
            case .refused(let violations):
                throw Problem(
                    .outsidePolicy,
                    Problem.summary(of: violations),
                    violations: violations
                )
            case .extend(let ends):
                let change = Change(
                    ledger: ends.map {
                        .extend(
                            $0.id,
                            expiresAt: $0.expiresAt,
                            deadline: $0.deadline,
                            by: caller.identity
                        )
                    },
                    grants: ends.map {
                        .setEnd($0.id, expiresAt: $0.expiresAt, deadline: $0.deadline)
                    }
                )
                return (change, ())
            }
        }
        return try await request(id: id, for: caller)
    }

    /// Books the grants whose time is over; the kernel has closed them by itself.
    func reap() async {
        do {
            // Every commit begins with them.
            try await commit(closesOnly: true) { _, _ throws(Problem) in (Change(), ()) }
        } catch {
            logger.error("cannot book ended grants: \(error)")
        }
    }

    /// Shortens what a step of the wall clock shortens, and sets the kernel's timeouts again: they
    /// stand still in suspend.
    func clockStepped() async {
        isClockStepped = true
        await reap()
    }

    /// Puts back what another process has changed in the table, elements of grants included.
    func rulesetChanged() {
        do {
            if let fault = try gate.inspect().fault {
                logger.warning("another process changed the gate (\(fault)); making it anew")
            }
            try reassert()
        } catch {
            logger.error("cannot make the gate anew: \(error)")
        }
    }

    private func change(closing grants: [Grant], by caller: Caller, at now: Timestamp) -> Change {
        Change(
            ledger: grants.map { grant in
                let isOwn = grant.requester.uid == caller.identity.uid
                return .end(
                    grant.id,
                    .revoked,
                    isOwn ? .closedByRequester : .closedByAdmin,
                    at: now,
                    by: caller.identity
                )
            },
            grants: grants.map { .close($0.id) }
        )
    }

    /// Throws where there is no such request or grant, or none that the caller may know of.
    private func requireSeen(
        request id: Int64,
        grant: Grant.ID? = nil,
        by caller: Caller
    ) async throws {
        // What is live can be closed also while the ledger cannot be read.
        let isLive = grant.map { plan[$0] != nil } ?? !plan.grants(ofRequest: id).isEmpty
        guard !isLive else { return }
        let request = try await request(id: id, for: caller)
        guard let grant, !request.grants.contains(where: { $0.id == grant.description }) else {
            return
        }
        throw Problem.noSuch("grant \(grant)")
    }

    /// The live grants of a request that the caller may change.
    private func liveGrants(
        ofRequest id: Int64,
        for caller: Caller,
        to verb: String
    ) throws(Problem) -> [Grant] {
        let grants = plan.grants(ofRequest: id)
        guard let owner = grants.first?.requester else { throw .notLive("request \(id)") }
        guard caller.maySee(requestsOf: owner.uid) else { throw .noSuch("request \(id)") }
        guard owner.uid == caller.identity.uid || caller.roles.contains(.admin) else {
            throw Problem(
                .notPermitted,
                "cannot \(verb) request \(id): it is \(owner.user)'s; its requester and admins may"
            )
        }
        return grants
    }
}

extension Problem {
    /// One limit is told in the detail; of several each is told as a violation.
    static func summary(of violations: [Violation]) -> String {
        violations.count == 1
            ? violations[0].message : "\(violations.count) limits are exceeded; nothing was changed"
    }

    static func noSuch(_ what: String) -> Problem { Problem(.notFound, "there is no \(what)") }

    static func notLive(_ what: String) -> Problem {
        Problem(.wrongState, "\(what) is not live; `sallyport list --all` shows what has ended")
    }
}

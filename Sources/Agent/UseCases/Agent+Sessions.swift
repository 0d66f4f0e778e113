public import API
public import Access
import Crypto
import Gate
import Ledger
import Policy

extension Agent {
    /// The live sessions of managed ports that the caller may see.
    public func sessions(
        ofGrant grant: String?,
        for caller: Caller
    ) async throws -> SessionList {
        if let grant { try await requireGrant(grant, for: caller) }
        var sessions = try await knownSessions().filter { caller.maySee($0) }
        if let grant {
            sessions.removeAll { known in
                !known.grants.contains { "\($0.id)" == grant || "\($0.id.request)" == grant }
            }
        }
        return SessionList(sessions: sessions.map(\.document).sorted())
    }

    /// Throws where there is no such grant or request that the caller may see.
    private func requireGrant(_ text: String, for caller: Caller) async throws {
        let id = Grant.ID(text)
        guard let request = id?.request ?? Int64(text), request > 0 else {
            throw Problem(
                .badRequest,
                "cannot read query parameter grant=\(printable(text)): write the id of a grant or "
                    + "a request, like 17.1 or 17"
            )
        }
        let stored = try await stored(request: request, for: caller)
        guard let id, let stored, !stored.grants.contains(where: { $0.grant.id == id }) else {
            return
        }
        throw Problem.noSuch("grant \(id)")
    }

    /// Ends one session.
    public func cut(session id: String, by caller: Caller) async throws -> SessionDocument {
        let known = try await knownSessions().first { $0.document.id == id }
        guard let known, caller.maySee(known) else {
            throw Problem(
                .notFound,
                "there is no session \(printable(id)); `sallyport sessions` shows those that live"
            )
        }
        let session = known.found.session
        guard caller.roles.contains(.admin) || caller.mayCut(known) else {
            let why =
                known.isAlwaysLetIn
                ? "it comes from a break-glass source"
                : known.grants.isEmpty
                    ? "no grant of yours let it in" : "it is let in by a grant of somebody else's"
            throw Problem(.notPermitted, "cannot cut session \(id): \(why); admins may")
        }
        guard known.document.standing != .granted || !session.transport.isDatagrams else {
            throw Problem(
                .wrongState,
                "cannot cut session \(id): it is of datagrams, and the next would begin it anew as "
                    + "long as grant \(known.document.grants[0]) lets it in; close that: "
                    + "`sallyport close \(known.document.grants[0])`"
            )
        }
        try await end([known])
        try await record(
            Notice(
                .cut,
                by: caller.identity.person,
                about: known.grants.first,
                policy: known.document.policy,
                port: known.document.port.description,
                host: session.host,
                source: session.client.address.description,
                detail:
                    "\(session.client) to \(session.destination), \(known.document.standing.rawValue)"
            )
        )
        return known.document
    }

    /// The sessions that grants let in which are about to be closed.
    func sessions(of grants: [Grant]) async throws -> [KnownSession] {
        try await knownSessions().filter { known in
            known.document.standing != .earlier && known.document.standing != .breakGlass
                && grants.contains { grant in
                    let isYounger = known.found.session.startedAt.map { $0 >= grant.startsAt }
                    return isYounger != false
                        && grant.elementKeys.contains { $0.letsIn(known.found.session) }
                }
        }
    }

    /// Ends those of some sessions that nothing lets in any more; answers which.
    func endUncovered(
        among sessions: [KnownSession],
        of grants: [Grant],
        by caller: Caller
    ) async throws -> [KnownSession] {
        var over: [KnownSession] = []
        for known in sessions where await !committer.isLetIn(known.found.session) {
            over.append(known)
        }
        guard !over.isEmpty else { return [] }
        try await end(over)
        let untold = await committer.takeUntoldEnds(of: over) { $0.found.identity }
        for grant in grants {
            let ended = untold.filter { known in
                grant.elementKeys.contains { $0.letsIn(known.found.session) }
            }
            guard !ended.isEmpty else { continue }
            try await record(
                Notice(
                    .cut,
                    by: caller.identity.person,
                    about: grant,
                    policy: grant.policy,
                    port: grant.port.description,
                    source: grant.source.description,
                    detail: Session.ended(ended.map(\.found.session))
                )
            )
        }
        return over
    }

    /// Tells the audit trail, also where there have been many like it.
    private func record(_ notice: Notice) async throws {
        try await committer.submit { _, _ throws(Problem) in
            Submission(events: [.noted(notice)]) {}
        }
    }

    private func end(_ sessions: [KnownSession]) async throws(Problem) {
        let gate = gate
        let found = sessions.map(\.found)
        let outcome = await onOwnThread {
            Result { () throws(GateError) in try gate.end(found) }
        }
        do throws(GateError) {
            try outcome?.get()
        } catch {
            throw Problem(.kernelRefused, "\(error)")
        }
        guard outcome != nil else {
            throw Problem(.internalError, "no thread can be had to end the session; try again")
        }
    }

    /// All live sessions, with what is known of their grants.
    private func knownSessions() async throws -> [KnownSession] {
        let gate = gate
        let found = await onOwnThread {
            Result { () throws(GateError) in try gate.sessions(to: nil) }
        }
        let sessions: [FoundSession]
        do throws(GateError) {
            sessions = try found?.get() ?? []
        } catch {
            throw Problem(.kernelRefused, "\(error)")
        }
        var known: [KnownSession] = []
        var past: [String: [StoredGrant]] = [:]
        for found in sessions {
            guard let standing = await committer.standing(of: found.session),
                let port = found.session.port
            else { continue }
            var grants = standing.grants
            if standing.standing == .outlived, let policy = standing.policy {
                if past[policy] == nil { past[policy] = try await pastGrants(under: policy) }
                grants = found.session.letIn(by: past[policy] ?? []).map { [$0] } ?? []
            }
            known.append(KnownSession(found, standing, grants, port))
        }
        return known
    }

    /// The newest grants of a policy that are over; none where there are more than can be looked at,
    /// and so nothing could be told from them.
    private func pastGrants(under policy: String) async throws -> [StoredGrant] {
        let most = 4_096
        let grants = try await reading { () throws(LedgerError) in
            try await ledger.grants(LedgerFilter(policy: policy, limit: most))
        }
        return grants.count < most ? grants.filter { $0.state != .active } : []
    }
}

/// A session, and what is known of it.
struct KnownSession: Sendable {
    var found: FoundSession
    /// The live grants that let it in, or the one that did.
    var grants: [Grant]
    /// Whether it comes from a break-glass source, and needs no grant.
    var isAlwaysLetIn: Bool
    var document: SessionDocument

    fileprivate init(
        _ found: FoundSession,
        _ standing: SessionStanding,
        _ grants: [Grant],
        _ port: PortRange
    ) {
        self.found = found
        self.grants = grants
        isAlwaysLetIn = standing.isAlwaysLetIn
        document = SessionDocument(
            found.session,
            id: found.id,
            port: port,
            standing: standing.standing,
            policy: standing.policy,
            grants: grants.map(\.id.description),
            requester: grants.first.map { WhoDocument($0.requester) }
        )
    }
}

extension FoundSession {
    /// What it is cut by: half of one is nothing, and no two have the same.
    fileprivate var id: String {
        SHA256.hash(data: Array(identity.utf8)).prefix(6).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}

extension Session {
    /// The grant that let it in, of all that are over; nil where it cannot be told.
    ///
    /// Where the kernel notes when a connection began, the one that was live then; else the only one
    /// that ever could have.
    fileprivate func letIn(by past: [StoredGrant]) -> Grant? {
        let could = past.filter { stored in
            guard stored.grant.elementKeys.contains(where: { $0.letsIn(self) }) else {
                return false
            }
            guard let startedAt else { return true }
            // Of the handshake the kernel notes the beginning, which is let in first.
            return stored.grant.startsAt <= startedAt + .seconds(1)
                && stored.endedAt.map { startedAt <= $0 } ?? true
        }
        return could.count == 1 ? could[0].grant : nil
    }
}

extension SessionDocument: Comparable {
    /// By port, then by where it comes from.
    public static func < (a: Self, b: Self) -> Bool {
        (a.port, a.source, a.sourcePort, a.id) < (b.port, b.source, b.sourcePort, b.id)
    }
}

extension WhoDocument {
    /// Who holds a grant.
    init(_ requester: Requester) {
        self.init(
            Person(
                subject: requester.subject,
                name: requester.name,
                via: requester.via,
                origin: .process(.init(pid: 0))
            )
        )
        pid = nil
    }
}

extension Caller {
    /// Whether the caller may see a session: a requester what their own grants let in.
    fileprivate func maySee(_ known: KnownSession) -> Bool {
        guard known.document.policy.map({ identity.via?.mayAsk(under: $0) != false }) ?? maySeeAll
        else { return false }
        return maySeeAll
            || known.grants.contains { maySee(requestOf: $0.requester.subject, under: [$0.policy]) }
    }

    /// Whether the caller may cut a session: all that lets it in is theirs.
    fileprivate func mayCut(_ known: KnownSession) -> Bool {
        !known.isAlwaysLetIn && !known.grants.isEmpty
            && known.grants.allSatisfy { mayChange(requestsOf: $0.requester.subject) }
    }
}

import API
import Gate
import Logging
import Policy
import Settings

/// The sessions that end with what let them in.
extension Committer {
    /// Has the sessions end that closed elements let in, to ports whose sessions end with their
    /// grants; of other ports nothing is even looked at.
    ///
    /// The kernel refuses their next packet by itself. This is for the ends to know.
    func endSessions(of changes: some Sequence<ElementChange>) {
        let closed = changes.compactMap { change -> ElementKey? in
            guard case .close(let key, _) = change else { return nil }
            return key
        }
        guard !closed.isEmpty else { return }
        let ports = configuration.policySet.managedPorts.filter(\.cutsSessions)
        guard !ports.isEmpty else { return }
        endedElements.formUnion(
            closed.filter { key in
                ports.contains { $0.sessions(of: key.transport) == .cut && $0.range.has(key) }
            }
        )
        guard !endedElements.isEmpty, !isEndingSessions else { return }
        isEndingSessions = true
        Task(executorPreference: executor) { await self.endSessionsOfClosed() }
    }

    private func endSessionsOfClosed() async {
        var all: Set<ElementKey> = []
        while !endedElements.isEmpty {
            let closed = endedElements
            endedElements = []
            all.formUnion(closed)
            await endSessions(letInBy: closed)
        }
        isEndingSessions = false
        // Those that were being made while the others were listed.
        try? await Task.sleep(for: .seconds(1))
        await endSessions(letInBy: all)
    }

    private func endSessions(letInBy closed: Set<ElementKey>) async {
        await endSessions(to: Set(closed.map(TransportPort.init))) { session in
            session.elementKeys.contains(where: closed.contains)
        }
    }

    /// Ends the sessions that nothing lets in, to ports whose sessions end with their grants: what
    /// ended while no agent ran.
    func endLeftSessions() async {
        if configuration.policySet.managedPorts.contains(where: \.cutsSessions) {
            await endSessions(to: nil) { _ in true }
        }
    }

    /// Ends sessions that nothing lets in any more, in a thread that may take its time.
    private func endSessions(
        to ports: Set<TransportPort>?,
        where isMeant: (Session) -> Bool
    ) async {
        let gate = gate
        let found = await onOwnThread {
            Result { () throws(GateError) in try gate.sessions(to: ports) }
        }
        do throws(GateError) {
            let over = try found?.get().filter { found in
                let mode = configuration.policySet.policy(managing: found.session)
                    .map { $0.sessions(of: found.session.transport) }
                return mode == .cut && isMeant(found.session) && !isLetIn(found.session)
            }
            guard let over, !over.isEmpty else { return }
            let outcome = await onOwnThread {
                Result { () throws(GateError) in try gate.end(over) }
            }
            noteEnds(of: takeUntoldEnds(of: over, \.identity).map(\.session))
            try outcome?.get()
        } catch {
            logger.error("cannot end all sessions whose grant is over: \(error)")
        }
    }

    /// Whether something lets a session in now.
    func isLetIn(_ session: Session) -> Bool {
        session.isEarlier || !plan.grants(lettingIn: session).isEmpty
            || configuration.breakGlass.contains { $0.contains(session.client.address) }
    }

    /// Those of ended sessions that the audit trail was not told of yet: whoever closes a grant with
    /// its sessions ends the same ones, and the kernel may list for a while what was ended.
    func takeUntoldEnds<Ended>(of ended: [Ended], _ identity: (Ended) -> String) -> [Ended] {
        let now = clocks.now().boot
        toldEnds = toldEnds.filter { now - $0.value < .seconds(10) }
        return ended.filter { toldEnds.updateValue(now, forKey: identity($0)) == nil }
    }

    /// Tells the audit trail of sessions that ended with what let them in; one row for each source.
    private func noteEnds(of sessions: [Session]) {
        let bySource = Dictionary(grouping: sessions) { session in
            [session.client.address, session.host].map { $0?.description ?? "" }
                + [session.port?.description ?? ""]
        }
        for sessions in bySource.values {
            let session = sessions[0]
            let notice = Notice(
                .cut,
                policy: configuration.policySet.policy(managing: session)?.name,
                port: session.port?.description,
                host: session.host,
                source: session.client.address.description,
                detail: Session.ended(sessions)
            )
            submit(
                { _, _ throws(Problem) in Submission(events: [.noted(notice)]) {} },
                reply: { _ in }
            )
        }
    }

    /// Why a session may go on, under which policy, and what grants let it in.
    func standing(of session: Session) -> SessionStanding? {
        let policy = configuration.policySet.policy(managing: session)
        let grants = plan.grants(lettingIn: session).compactMap { plan[$0] }
        let isAlways = configuration.breakGlass.contains { $0.contains(session.client.address) }
        let standing: SessionDocument.Standing =
            session.isEarlier
            ? .earlier : !grants.isEmpty ? .granted : isAlways ? .breakGlass : .outlived
        // What has no right is on its way out.
        if standing == .outlived, policy?.sessions(of: session.transport) != .keep { return nil }
        return SessionStanding(
            standing: standing,
            policy: policy?.name,
            grants: standing == .granted ? grants : [],
            isAlwaysLetIn: isAlways
        )
    }
}

extension Session {
    /// What the audit trail tells of sessions that ended with their grant.
    static func ended(_ sessions: [Session]) -> String {
        "\(counted(sessions.count, "session", "sessions")) ended with the grant, from port "
            + sessions.prefix(5).map { "\($0.client.port)" }.joined(separator: ", ")
            + (sessions.count > 5 ? " and others" : "")
    }
}

/// Why a session may go on.
struct SessionStanding: Sendable {
    var standing: SessionDocument.Standing
    var policy: String?
    /// The live grants that let it in.
    var grants: [Grant]
    /// Whether it needs none of them.
    var isAlwaysLetIn: Bool
}

extension TransportPort {
    fileprivate init(_ key: ElementKey) { self.init(transport: key.transport, port: key.port) }
}

extension ManagedPort {
    /// Whether sessions of one of its protocols end with their grant.
    fileprivate var cutsSessions: Bool {
        range.portProtocol.transports.contains { sessions(of: $0) == .cut }
    }
}

extension PortRange {
    fileprivate func has(_ key: ElementKey) -> Bool {
        lower <= key.port && key.port <= upper && portProtocol.transports.contains(key.transport)
    }
}

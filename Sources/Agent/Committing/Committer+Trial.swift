import API
import Access
import Gate
import Linux
import Policy
import Settings

/// Changes that are undone unless they are confirmed in time, and those that would lock their author
/// out.
extension Committer {
    /// What came of applied policies.
    struct Applied: Sendable {
        /// What was in force before.
        var old: AgentConfiguration
        var change: PolicyReplacement
        /// What becomes of requests that wait.
        var fates = WaitingFates()
        /// Grants that the old policies did not allow either.
        var spared: [Grant.ID] = []
        /// When it is rolled back unless it is confirmed.
        var until: Timestamp?
    }

    /// Puts other policy files in the place of all there are, and in force.
    ///
    /// What is in force until then is durable before anything changes, so that a crash in between
    /// leaves the old or the new policies, whole.
    ///
    /// - Parameters:
    ///   - files: The texts by their names.
    ///   - terms: On which terms.
    ///   - person: Who wants it.
    ///   - source: Where what is in force is kept.
    /// - Returns: What came of it.
    /// - Throws: `Problem`; then nothing was changed.
    func apply(
        policies files: [String: String],
        on terms: ChangeTerms,
        by person: Person,
        remembering source: any ConfigurationSource
    ) throws(Problem) -> Applied {
        try requireNoTrial()
        let old = configuration
        let change: PolicyReplacement
        do throws(PolicyChangeError) {
            change = try old.replacingPolicies(with: files)
        } catch {
            throw Problem(error)
        }
        let now = clocks.now()
        let spared = plan.allGrants.filter { !old.policySet.allows($0, at: now) }.map(\.id)
        let new = change.configuration.policySet
        try requireWayBack(under: change.configuration, on: terms) {
            !terms.keepsGrants && !new.allows($0, at: now) && !spared.contains($0.id)
        }
        guard change.changesTexts else { return Applied(old: old, change: change) }
        let names = Set((old.policies + new.policies).map(\.name))
        let trial = Trial(
            of: Trial.Policies(of: change, sparing: spared, keepingGrants: terms.keepsGrants),
            for: terms.confirmWithin,
            by: person.name,
            at: now,
            bootID: clocks.bootID
        )
        do throws(SystemError) {
            try source.keep(trial)
        } catch {
            throw Problem(notKept: error)
        }
        do {
            try change.make()
            try adopt(change.configuration)
            if terms.confirmWithin == nil { try source.keep(nil as Trial?) }
        } catch {
            var text = "the old policies stay: \(error)"
            do {
                try change.takeBack()
                if configuration != old { try adopt(old) }
                try source.keep(nil as Trial?)
            } catch {
                text +=
                    "; but their files are made what they were only when the agent starts anew: "
                    + "\(error)"
            }
            if case .notWritten(let reason)? = error as? PolicyChangeError {
                throw Problem(.configurationNotWritten, reason)
            }
            throw Problem(error is GateError ? .kernelRefused : .configurationNotWritten, text)
        }
        if terms.confirmWithin != nil {
            self.trial = trial
            wakeAtNextEnd()
        }
        var fates = WaitingFates()
        for name in names {
            let these = self.fates(under: name, at: now)
            fates.opened += these.opened
            fates.denied += these.denied
        }
        fates.opened = Set(fates.opened).sorted()
        fates.denied = Set(fates.denied).sorted()
        return Applied(
            old: old,
            change: change,
            fates: fates,
            spared: spared,
            until: trial.until
        )
    }

    /// Takes the gate away.
    func disarm(
        by person: Person,
        remembering source: any ConfigurationSource
    ) throws(Problem) -> Bool {
        let wasArmed = disarmed == nil
        do {
            if wasArmed {
                let disarmament = Disarmament(at: clocks.now().wall, by: person.name)
                try set(disarmed: disarmament) { (new) throws(SystemError) in try source.keep(new) }
            }
            // What was tried was the arming.
            if let trial, trial.policies == nil {
                try source.keep(nil as Trial?)
                self.trial = nil
            }
        } catch let error as SystemError {
            throw Problem(notKept: error)
        } catch {
            throw Problem(.kernelRefused, "the gate stays armed: \(error)")
        }
        return wasArmed
    }

    /// Arms the gate; answers whether it was taken away before.
    func arm(
        on terms: ChangeTerms,
        by person: Person,
        remembering source: any ConfigurationSource
    ) throws(Problem) -> Bool {
        guard disarmed != nil else {
            do {
                // It may be behind all the same.
                try reassert()
            } catch {
                throw Problem(.kernelRefused, "the gate is not armed: \(error)")
            }
            return false
        }
        if terms.confirmWithin != nil { try requireNoTrial() }
        try requireWayBack(under: configuration, on: terms, isArming: true) { _ in false }
        do {
            if let time = terms.confirmWithin {
                let trial = Trial(
                    of: nil,
                    for: time,
                    by: person.name,
                    at: clocks.now(),
                    bootID: clocks.bootID
                )
                try source.keep(trial)
                self.trial = trial
            }
            do {
                try set(disarmed: nil) { (none) throws(SystemError) in try source.keep(none) }
            } catch {
                if terms.confirmWithin != nil {
                    try source.keep(nil as Trial?)
                    self.trial = nil
                }
                throw error
            }
        } catch let error as SystemError {
            throw Problem(notKept: error)
        } catch {
            throw Problem(.kernelRefused, "the gate stays disarmed: \(error)")
        }
        wakeAtNextEnd()
        submit({ _, _ throws(Problem) in Submission(events: []) {} }, reply: { _ in })
        return true
    }

    /// Leaves for good what was tried.
    func confirm(remembering source: any ConfigurationSource) throws(Problem) -> Trial {
        guard let trial else {
            throw Problem(.wrongState, "nothing waits for a confirmation")
        }
        guard !trial.isOver(at: clocks.now(), bootID: clocks.bootID) else {
            throw Problem(
                .wrongState,
                "too late: \(trial.what) was not confirmed in time and is rolled back"
            )
        }
        do throws(SystemError) {
            try source.keep(nil as Trial?)
        } catch {
            throw Problem(notKept: error)
        }
        self.trial = nil
        judgeWaitingRequestsAnew()
        wakeAtNextEnd()
        return trial
    }

    /// Undoes what was tried, where its time is over.
    ///
    /// - Returns: What was undone, and what was in force until then; nil where nothing had to be.
    /// - Throws: Why it could not be, wholly; then it has to be tried again.
    func rollBackIfDue(
        remembering source: any ConfigurationSource
    ) throws -> (Trial, AgentConfiguration)? {
        guard let trial, trial.isOver(at: clocks.now(), bootID: clocks.bootID) else { return nil }
        let old = configuration
        if trial.policies == nil {
            if disarmed == nil {
                let disarmament = Disarmament(at: clocks.now().wall, by: nil)
                try set(disarmed: disarmament) { (new) throws(SystemError) in try source.keep(new) }
            }
        } else {
            let restored = try trial.restored(from: old)
            // What is in force first: a disk that cannot be written must not lock anybody out.
            if restored != old { try adopt(restored) }
            try trial.putBack()
        }
        try source.keep(nil as Trial?)
        self.trial = nil
        judgeWaitingRequestsAnew()
        return (trial, old)
    }

    /// Whether whoever could not roll back is to try again: each end of a grant leads to an attempt,
    /// and only one of them goes on.
    func mayRollBackLater(because error: any Error) -> Bool {
        log("cannot roll back what was not confirmed: \(error)")
        defer { isRollingBackLater = true }
        return !isRollingBackLater
    }

    func rollsBackNow() { isRollingBackLater = false }

    /// Throws where a change waits for its confirmation.
    func requireNoTrial() throws(Problem) {
        guard let trial else { return }
        let until = trial.until.map { "until \($0)" } ?? ""
        throw Problem(
            .changeUnconfirmed,
            "\(trial.what), which \(trial.by) made, waits \(until) for its confirmation; nothing else "
                + "is changed before that: confirm it (sallyport policy confirm), or wait until it is "
                + "rolled back"
        )
    }

    // MARK: Who would lock themselves out

    /// Throws where a change would close the port of its author's own session.
    ///
    /// - Parameters:
    ///   - new: What is to be in force.
    ///   - terms: The session that its author works in, as the client says, and whether they insist.
    ///   - isArming: Whether the change is that the gate is armed.
    ///   - ends: Whether a live grant ends with the change.
    /// - Throws: `Problem` of kind `wouldLockOut`.
    func requireWayBack(
        under new: AgentConfiguration,
        on terms: ChangeTerms,
        isArming: Bool = false,
        ending ends: (Grant) -> Bool
    ) throws(Problem) {
        guard !terms.isForced, let session = terms.session, isArming == (disarmed != nil)
        else { return }
        let now = clocks.now()
        let grants = plan.allGrants.filter { $0.end.deadline > now.boot }
        func isLetIn(_ configuration: AgentConfiguration, _ grants: [Grant]) -> Bool {
            configuration.policySet.lets(
                session,
                breakGlass: configuration.breakGlass,
                grants: grants
            )
        }
        let left = grants.filter { !ends($0) }
        guard isArming || isLetIn(configuration, grants), !isLetIn(new, left),
            // An old variable in a terminal of tmux is nobody's session.
            (try? gate.isRunning(session)) == true
        else { return }
        // A host's port can be asked for once there is the policy that names the host.
        let way =
            isArming || new.policySet.isFar(session)
            ? "" : "open it first (sallyport open \(session.port)/tcp --from \(session.source)), "
        throw Problem(
            .wouldLockOut,
            "it would close \(session.port)/tcp to \(session.source), where your own session comes "
                + "from, and no grant lets you back in: \(way)add \(session.source) to break_glass in "
                + "sallyport.yaml, or insist with --force"
        )
    }
}

extension ChangeTerms {
    /// What the audit trail is told of them.
    var remarks: [String] { isForced ? ["with --force"] : [] }
}

extension Trial {
    /// What is tried, for people.
    var what: String { policies == nil ? "the arming of the gate" : "a change of the policies" }
}

extension PolicySet {
    /// Whether the policy of a grant allows it still, but for who asked.
    func allows(_ grant: Grant, at now: Moment) -> Bool {
        policy(named: grant.policy)?.allows(grant, at: now) ?? false
    }
}

extension Problem {
    fileprivate init(notKept error: SystemError) {
        self.init(
            .configurationNotWritten,
            "nothing was changed: cannot write in the state directory: \(error)"
        )
    }
}

public import API
public import Access
import Linux
import Logging
import Policy
import Settings

extension Agent {
    /// Puts other policy files in the place of all there are, and in force.
    public func apply(
        policies files: [String: String],
        on terms: ChangeTerms,
        by caller: Caller
    ) async throws -> PoliciesChangeDocument {
        let person = caller.identity.person
        let applied: Committer.Applied
        do throws(Problem) {
            applied = try await committer.apply(
                policies: files,
                on: terms,
                by: person,
                remembering: source
            )
        } catch {
            if error.code == .configurationInvalid {
                let faults = (error.violations ?? []).map { "\($0.field): \($0.message)" }
                try? await note(
                    Notice(
                        .configurationRefused,
                        by: person,
                        detail: faults.joined(separator: "; ")
                    )
                )
            }
            throw error
        }
        let (old, new) = (applied.old, applied.change.configuration)
        let changes = new.differences(from: old)
        let open = old.policySet.ports(notManagedBy: new.policySet)
        var ended: [Grant.ID] = []
        if applied.change.changesTexts {
            warn(ofOpenPorts: open)
            let detail =
                changes + open.map { "\($0) no longer managed" }
                + (applied.until.map { ["rolled back at \($0) unless confirmed"] } ?? [])
                + terms.remarks
            // What is tried ends nothing: that could not be rolled back.
            ended = try await record(
                Notice(.policiesApplied, by: person, detail: detail.joined(separator: "; ")),
                from: old.policies(changedIn: new),
                to: new,
                sparing: terms.keepsGrants || applied.until != nil
                    ? nil : Set(applied.spared.map(\.description))
            )
            await committer.keepConfiguration(in: source)
            checkNamesLater()
        }
        return PoliciesChangeDocument(
            changes: changes,
            endedGrants: ended.map(\.description),
            openedRequests: applied.fates.opened.map(\.description),
            deniedRequests: applied.fates.denied.map(\.description),
            openPorts: open,
            confirmUntil: applied.until
        )
    }

    /// Leaves for good what waits for a confirmation.
    public func confirm(by caller: Caller) async throws -> ConfirmationDocument {
        let trial = try await committer.confirm(remembering: source)
        let person = caller.identity.person
        guard let policies = trial.policies else {
            try? await note(Notice(.armingConfirmed, by: person))
            return ConfirmationDocument(confirmed: .arming, endedGrants: [])
        }
        let new = await committer.configuration
        let ended = try await record(
            Notice(.policiesConfirmed, by: person, detail: "applied by \(trial.by)"),
            from: (try? trial.restored(from: new))?.policies(changedIn: new) ?? [],
            to: new,
            sparing: policies.keepsGrants ? nil : Set(policies.spared)
        )
        await committer.keepConfiguration(in: source)
        return ConfirmationDocument(
            confirmed: .policies,
            endedGrants: ended.map(\.description)
        )
    }

    /// Arms the gate where it was taken away.
    public func arm(on terms: ChangeTerms, by caller: Caller) async throws -> StatusDocument {
        let person = caller.identity.person
        if try await committer.arm(on: terms, by: person, remembering: source) {
            let trial = await committer.trial
            let until = terms.confirmWithin.flatMap { _ in trial?.until }
            let detail = until.map { "disarmed again at \($0) unless confirmed" }
            logger.notice("the gate is armed\(detail.map { ", and \($0)" } ?? "")")
            let remarks = [detail].compactMap(\.self) + terms.remarks
            try? await note(
                Notice(
                    .armed,
                    by: person,
                    detail: remarks.isEmpty ? nil : remarks.joined(separator: "; ")
                )
            )
        }
        return try await status(for: caller)
    }

    /// Takes the gate away, until somebody arms it.
    ///
    /// It is recorded first: what opens everything has to be known.
    public func disarm(by caller: Caller) async throws -> StatusDocument {
        let person = caller.identity.person
        if await committer.disarmed == nil {
            let ports = await committer.configuration.policySet.managedPorts.map(\.range)
            let list = ports.map(\.description).joined(separator: ", ")
            let notice = Notice(.disarmed, by: person, detail: "open to everybody: \(list)")
            try await committer.submit { _, _ throws(Problem) in
                Submission(events: [.noted(notice)]) {}
            }
        }
        do {
            if let fault = await committer.ledgerFault {
                throw Problem(.ledgerUnavailable, "the gate stays as it is: \(fault)")
            }
            if try await committer.disarm(by: person, remembering: source) {
                logger.critical("THE GATE IS DISARMED by \(person.name)")
            }
        } catch {
            try? await note(Notice(.armed, detail: "it could not be disarmed: \(error)"))
            throw error
        }
        return try await status(for: caller)
    }

    /// Undoes what was not confirmed in time.
    public func rollBack() async {
        do {
            guard let (trial, old) = try await committer.rollBackIfDue(remembering: source) else {
                return
            }
            try await tell(undone: trial, from: old)
        } catch {
            guard await committer.mayRollBackLater(because: error) else { return }
            Task(executorPreference: committer.executor) {
                try? await Task.sleep(for: .seconds(1))
                await self.committer.rollsBackNow()
                // What else is due waits behind it.
                await self.grantsEnded()
            }
        }
    }

    /// Records that a change was undone, and ends what only the undone policies allowed.
    ///
    /// - Parameters:
    ///   - trial: What was undone.
    ///   - old: What was in force; nil where an earlier run had it in force.
    /// - Throws: `Problem` where it cannot be recorded.
    func tell(undone trial: Trial, from old: AgentConfiguration?) async throws {
        guard let policies = trial.policies else {
            logger.critical("THE GATE IS DISARMED: nobody confirmed in time that it was armed")
            return try await note(
                Notice(.disarmed, detail: "its arming by \(trial.by) was not confirmed in time")
            )
        }
        let new = await committer.configuration
        // What was in force need not be what was tried: a rollback may have taken several attempts.
        let tried = trial.tried(from: new) ?? old
        let changes = tried.map { new.differences(from: $0) } ?? []
        let what = trial.until == nil ? "was not finished" : "was not confirmed in time"
        logger.warning("the change of the policies by \(trial.by) \(what): rolled back")
        let detail = ["the change by \(trial.by) \(what)"] + changes
        _ = try await record(
            Notice(.policiesRolledBack, detail: detail.joined(separator: "; ")),
            from: tried?.policies(changedIn: new) ?? [],
            to: new,
            sparing: Set(policies.spared)
        )
        await committer.keepConfiguration(in: source)
        checkNamesLater()
    }
}

extension AgentConfiguration {
    /// The policies that are others in another configuration, or not there.
    func policies(changedIn other: AgentConfiguration) -> [AccessPolicy] {
        policies.filter { other.policySet.policy(named: $0.name) != $0 }
    }
}

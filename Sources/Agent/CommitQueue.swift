import API
import Gate
import Ledger
import Logging
import Policy
import Settings

/// What one use case wants done, worked out against the plan as it is when its turn comes.
struct Change: Sendable {
    /// What the ledger must hold before the kernel is touched.
    var ledger: [LedgerChange] = []
    /// What follows for the plan, and from the plan for the kernel.
    var grants: [GrantChange] = []
}

/// A change on its way, and how to answer who asked for it.
struct Prepared: Sendable {
    let change: Change
    /// Whether it only takes access away: then it reaches the kernel even if it cannot be recorded.
    let closesOnly: Bool
    /// Answers; nil says that all is done.
    let answer: @Sendable (Problem?) -> Void
}

extension Agent {
    /// Carries a change through the one path every change takes: decide, write durably, commit to
    /// the kernel, answer.
    ///
    /// All that waits while a commit is under way shares the next durable write and the next kernel
    /// transaction.
    ///
    /// - Parameters:
    ///   - closesOnly: Whether the change only takes access away.
    ///   - step: Decides, and works out the change and the answer; called when its turn comes.
    /// - Returns: The answer, once all is durable and in the kernel.
    /// - Throws: What `step` throws; `Problem` of kind `ledgerUnavailable` or `kernelRefused`.
    func commit<Answer: Sendable>(
        closesOnly: Bool,
        _ step: @escaping @Sendable (isolated Agent, Moment) throws(Problem) -> (Change, Answer)
    ) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            waiting.append { agent, now in
                do throws(Problem) {
                    let (change, answer) = try step(agent, now)
                    return Prepared(change: change, closesOnly: closesOnly) { problem in
                        if let problem {
                            continuation.resume(throwing: problem)
                        } else {
                            continuation.resume(returning: answer)
                        }
                    }
                } catch {
                    continuation.resume(throwing: error)
                    return nil
                }
            }
            guard !isCommitting else { return }
            isCommitting = true
            Task(executorPreference: executor) { await self.commitWaiting() }
        }
    }

    private func commitWaiting() async {
        while !waiting.isEmpty {
            let batch = waiting
            waiting = []
            await commit(batch)
        }
        isCommitting = false
        watch.setNextEnd(plan.nextDeadline)
    }

    private func commit(_ batch: [@Sendable (isolated Agent, Moment) -> Prepared?]) async {
        let now = clocks.now()
        if isClockStepped {
            isClockStepped = false
            isKernelBehind = true
            _ = plan.rebase(at: now)
        }
        var accepted: [Prepared] = []
        var elements: [ElementChange] = []
        for prepare in [Self.expire] + batch {
            guard let prepared = prepare(self, now) else { continue }
            let (changes, inverse) = plan.apply(prepared.change.grants)
            elements += changes
            inFlight.append(inverse)
            accepted.append(prepared)
        }
        do throws(LedgerError) {
            try await record(accepted.flatMap(\.change.ledger), at: now.wall)
        } catch {
            for inverse in inFlight.reversed() { _ = plan.apply(inverse) }
            inFlight = []
            closeUnrecorded(accepted, because: error)
            return
        }
        let inverses = inFlight
        inFlight = []
        do throws(GateError) {
            try bringKernel(to: elements)
        } catch {
            await takeBack(accepted, inverses, because: error)
            return
        }
        for prepared in accepted { prepared.answer(nil) }
    }

    /// Ends the grants whose time is over, before anything is decided; the kernel has closed them.
    private static let expire: @Sendable (isolated Agent, Moment) -> Prepared? = { agent, now in
        let ended = agent.plan.takeEnded(at: now.boot)
        guard !ended.isEmpty else { return nil }
        let change = Change(
            ledger: ended.map { .end($0, .expired, .expired, at: now.wall, by: nil) },
            grants: ended.map(GrantChange.close)
        )
        return Prepared(change: change, closesOnly: true) { _ in }
    }

    /// Writes to the ledger what is to be recorded, and before it what could not be until now.
    ///
    /// The end of a grant that is not live in the ledger, as when somebody has edited it, is left
    /// out: nothing else could be recorded ever again.
    ///
    /// - Parameters:
    ///   - changes: What is to be recorded.
    ///   - time: When it happened.
    /// - Throws: Where the ledger cannot be written; then nothing of it is recorded.
    private func record(
        _ changes: [LedgerChange],
        at time: Timestamp
    ) async throws(LedgerError) {
        guard !(unrecorded.isEmpty && changes.isEmpty) else { return }
        var pending = unrecorded + changes
        var isRecorded = false
        while !isRecorded {
            do throws(LedgerError) {
                try await ledger.commit(pending, at: time)
                isRecorded = true
            } catch {
                let rest = pending.filter { $0.endedGrant == nil || $0.endedGrant != error.grant }
                guard rest.count < pending.count else { throw error }
                logger.error("\(error)")
                pending = rest
            }
        }
        unrecorded = []
        keysInCommit = []
    }

    /// Refuses what opens, and closes in the kernel what closes.
    ///
    /// A full disk must not keep a port open. What was closed is recorded as soon as the ledger can
    /// be written.
    private func closeUnrecorded(_ accepted: [Prepared], because error: LedgerError) {
        keysInCommit = []
        logger.error("\(error)")
        let closings = accepted.filter(\.closesOnly)
        // Not those of grants that were to be opened in the same commit: nothing has opened.
        unrecorded += closings.flatMap(\.change.ledger)
            .filter { $0.endedGrant.map { plan[$0] != nil } ?? false }
        let (elements, _) = plan.apply(closings.flatMap(\.change.grants))
        var detail = "access is closed, but that is not recorded yet: \(error)"
        do throws(GateError) {
            try bringKernel(to: elements)
        } catch {
            detail = "\(error); and \(detail)"
        }
        for prepared in accepted {
            prepared.answer(
                Problem(
                    .ledgerUnavailable,
                    prepared.closesOnly ? detail : "nothing was opened or extended: \(error)"
                )
            )
        }
        healLater()
    }

    /// Undoes what opened or lengthened: the kernel did not take it.
    private func takeBack(
        _ accepted: [Prepared],
        _ inverses: [[GrantChange]],
        because error: GateError
    ) async {
        let now = clocks.now()
        for (prepared, inverse) in zip(accepted, inverses).reversed() where !prepared.closesOnly {
            // What was closed since, or to make room for it, stays closed.
            let undoing = inverse.filter { $0.changesLiveGrant(of: plan) }
            _ = plan.apply(undoing)
            unrecorded += undoing.compactMap { $0.record(at: now.wall) }
        }
        do throws(LedgerError) {
            try await record([], at: now.wall)
        } catch {
            logger.error("\(error)")
        }
        for prepared in accepted {
            prepared.answer(
                Problem(
                    .kernelRefused,
                    prepared.closesOnly
                        ? "the grant is ended, but the kernel did not take it: \(error); "
                            + "it closes by itself at the end of its time, and the agent tries again"
                        : "nothing was opened or extended: \(error)"
                )
            )
        }
        healLater()
    }

    /// Commits changes of elements; where that fails, reads the kernel back and makes it what the
    /// plan says.
    func bringKernel(to changes: [ElementChange]) throws(GateError) {
        guard !isKernelBehind else { return try reassert() }
        do throws(GateError) {
            try gate.apply(changes, now: clocks.now().boot)
        } catch {
            logger.warning("\(error); making the table anew")
            try reassert()
        }
    }

    /// Makes the table in the kernel what configuration and plan say it should be, without what is
    /// still on its way into the ledger.
    func reassert() throws(GateError) {
        var recorded = plan
        for inverse in inFlight.reversed() { _ = recorded.apply(inverse) }
        isKernelBehind = true
        do throws(GateError) {
            try gate.arm(
                managed: configuration.policySet.managedPorts,
                breakGlass: configuration.breakGlass,
                plan: recorded,
                now: { clocks.now().boot }
            )
            isKernelBehind = false
        } catch {
            healLater()
            throw error
        }
    }

    /// Makes all of the table anew but what is open, which stays as it is.
    func armWithoutElements() throws(GateError) {
        let wasMissing = try gate.arm(
            managed: configuration.policySet.managedPorts,
            breakGlass: configuration.breakGlass,
            plan: nil,
            now: { clocks.now().boot }
        )
        if wasMissing || isKernelBehind { try reassert() }
    }

    /// Tries again in a while what the ledger or the kernel did not take.
    func healLater() {
        guard !isHealing else { return }
        isHealing = true
        Task(executorPreference: executor) {
            try? await Task.sleep(for: .seconds(1))
            await self.heal()
        }
    }

    private func heal() async {
        isHealing = false
        do {
            try reassert()
            guard !unrecorded.isEmpty else { return }
            try await commit(closesOnly: true) { _, _ throws(Problem) in (Change(), ()) }
        } catch {
            logger.error("\(error)")
        }
    }
}

extension LedgerChange {
    /// The grant whose end this records.
    fileprivate var endedGrant: Grant.ID? {
        if case .end(let id, _, _, at: _, by: _) = self { id } else { nil }
    }
}

extension GrantChange {
    /// Whether this closes, or moves the end of, a grant that is live.
    fileprivate func changesLiveGrant(of plan: Plan) -> Bool {
        switch self {
        case .open: false
        case .close(let id), .setEnd(let id, _, _): plan[id] != nil
        }
    }

    /// What the ledger must hold when this undoes what it holds already.
    fileprivate func record(at now: Timestamp) -> LedgerChange? {
        switch self {
        case .open: nil
        case .close(let id): .end(id, .failed, .kernelRefused, at: now, by: nil)
        case .setEnd(let id, let expiresAt, let deadline):
            .extend(id, expiresAt: expiresAt, deadline: deadline, by: nil)
        }
    }
}

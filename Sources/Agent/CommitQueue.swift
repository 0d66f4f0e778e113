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
    /// Whether the whole table is to be made anew.
    var rearms = false
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
        var accepted: [Prepared] = []
        var elements: [ElementChange] = []
        var inverses: [[GrantChange]] = []
        for prepare in batch {
            guard let prepared = prepare(self, now) else { continue }
            let (changes, inverse) = plan.apply(prepared.change.grants)
            elements += changes
            inverses.append(inverse)
            accepted.append(prepared)
        }
        do throws(LedgerError) {
            try await record(
                accepted.flatMap(\.change.ledger),
                at: now.wall,
                isAlone: batch.count == 1
            )
        } catch {
            for inverse in inverses.reversed() { _ = plan.apply(inverse) }
            closeUnrecorded(accepted, because: error)
            return
        }
        do throws(GateError) {
            if accepted.contains(where: \.change.rearms) {
                try reassert()
            } else {
                try bringKernel(to: elements)
            }
        } catch {
            await takeBack(accepted, inverses, because: error)
            return
        }
        for prepared in accepted { prepared.answer(nil) }
    }

    /// Writes to the ledger what is to be recorded, and before it what could not be until now.
    ///
    /// - Parameter isAlone: Whether nobody else waits. Then the disk is waited for on the spot, which
    ///   saves two changes of thread; a crowd is better served by reading the next requests meanwhile.
    private func record(
        _ changes: [LedgerChange],
        at time: Timestamp,
        isAlone: Bool = false
    ) async throws(LedgerError) {
        guard !(unrecorded.isEmpty && changes.isEmpty) else { return }
        if isAlone {
            try ledger.commitBlocking(unrecorded + changes, at: time)
        } else {
            try await ledger.commit(unrecorded + changes, at: time)
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
        _ = plan.apply(closings.flatMap(\.change.grants))
        unrecorded += closings.flatMap(\.change.ledger)
        var detail = "access is closed, but that is not recorded yet: \(error)"
        do throws(GateError) {
            try reassert()
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
            // What was closed to make room for it stays closed.
            let undoing = inverse.filter { if case .open = $0 { false } else { true } }
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
    private func bringKernel(to changes: [ElementChange]) throws(GateError) {
        do throws(GateError) {
            try gate.apply(changes, now: clocks.now().boot)
        } catch {
            logger.warning("\(error); making the table anew")
            try reassert()
        }
    }

    /// Makes the table in the kernel what configuration and plan say it should be.
    ///
    /// Only for a commit, and before the first one: in between the plan may hold grants that the
    /// ledger does not have yet.
    func reassert() throws(GateError) {
        do throws(GateError) {
            try gate.arm(
                managed: configuration.policySet.managedPorts,
                breakGlass: configuration.breakGlass,
                plan: plan,
                now: { clocks.now().boot }
            )
        } catch {
            healLater()
            throw error
        }
    }

    /// Makes all of the table anew but what is open, which stays as it is.
    func armWithoutElements() throws(GateError) {
        try gate.arm(
            managed: configuration.policySet.managedPorts,
            breakGlass: configuration.breakGlass,
            plan: nil,
            now: { clocks.now().boot }
        )
    }

    /// Tries again in a while what the ledger or the kernel did not take.
    private func healLater() {
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
            try await rearm()
        } catch {
            logger.error("\(error)")
        }
    }

    /// Makes the whole table anew when its turn comes.
    func rearm() async throws {
        try await commit(closesOnly: true) { _, _ throws(Problem) in (Change(rearms: true), ()) }
    }
}

extension GrantChange {
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

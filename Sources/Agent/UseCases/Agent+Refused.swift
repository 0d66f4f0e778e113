public import API
public import Access
public import Policy
import Settings

extension Agent {
    /// What was refused on managed ports, the latest first.
    public func refused(since instant: Timestamp?, for caller: Caller) async throws -> RefusedList {
        let policies = await committer.configuration.policies
        let attempts = refusals.attempts(since: instant).map { attempts in
            RefusedDocument(attempts, policy: policies.policy(refusing: attempts)?.name)
        }
        return RefusedList(
            since: startedAt,
            fault: refusals.fault,
            refused: caller.maySeeAllPolicies
                ? attempts
                : attempts.filter {
                    $0.policy.map { caller.identity.via?.mayAsk(under: $0) != false } ?? false
                }
        )
    }

    /// Tells the audit trail of what was refused since it was last told.
    public func refusalsHeard() async {
        let (news, left) = refusals.takeNews(at: clocks.now().boot)
        guard !news.isEmpty else { return }
        let policies = await committer.configuration.policies
        await logged("record refused attempts") {
            try await committer.submit { committer, _ throws(Problem) in
                var notices = news.map { attempts in
                    let policy = policies.policy(refusing: attempts)
                    return Notice(
                        .attemptsRefused,
                        policy: policy?.name,
                        port: attempts.port.description,
                        host: policy?.hosts.flatMap { _ in attempts.destination },
                        source: attempts.source.description,
                        detail: attempts.text
                    )
                }
                if left.sources > 0 {
                    notices[notices.count - 1].detail? +=
                        "; \(left.attempts) more, of \(left.sources) other sources and ports, "
                        + "were not recorded"
                }
                return Submission(events: notices.map(Event.noted)) {}
            }
        }
    }
}

extension RefusedAttempts {
    /// `3 attempts on 192.0.2.1`.
    fileprivate var text: String {
        "\(count) attempt\(count == 1 ? "" : "s")" + (destination.map { " on \($0)" } ?? "")
    }
}

extension [AccessPolicy] {
    /// The policy under which attempts were refused; nil where none or several manage the port.
    fileprivate func policy(refusing attempts: RefusedAttempts) -> AccessPolicy? {
        let managing = filter { policy in
            policy.enabled && policy.ports.contains { $0.contains(attempts.port) }
        }
        guard let destination = attempts.destination else {
            return managing.count == 1 ? managing[0] : nil
        }
        return managing.first { $0.isFor(destination) } ?? managing.first { $0.hosts == nil }
    }
}

public import API
public import Access
public import Policy
import Settings

extension Agent {
    /// What was refused on managed ports, the latest first.
    public func refused(since instant: Timestamp?, for caller: Caller) async throws -> RefusedList {
        let policies = await committer.configuration.policies
        let attempts = refusals.attempts(since: instant).map { attempts in
            RefusedDocument(attempts, policy: policies.name(managing: attempts.port))
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
                    Notice(
                        .attemptsRefused,
                        policy: policies.name(managing: attempts.port),
                        port: attempts.port.description,
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
    /// The policy that manages a port; nil where none or several do.
    fileprivate func name(managing port: PortRange) -> String? {
        first { $0.ports.contains { $0.contains(port) } }?.name
    }
}

public import API
public import Access
import Gate
import Ledger
import Linux
public import Policy
import Settings

extension Agent: AccessService {
    /// The roles of somebody who connected.
    public func roles(of identity: Identity) async -> Set<Role> {
        await committer.configuration.policySet.roles.roles(of: identity)
    }

    /// The delegate that runs as a user of this host.
    public func delegate(runningAs user: String) async -> Delegate? {
        await committer.configuration.delegates.first { $0.user == user }
    }

    /// The users that delegates run as, now and after each reload.
    public func delegateUsers() async -> AsyncStream<[String]> {
        await committer.delegateUsers()
    }

    /// Whose people and which groups mean anything to a delegate.
    public func delegation(of delegate: Delegate) async -> DelegationDocument {
        DelegationDocument(
            delegate,
            groups: await committer.configuration.assertedGroups(of: delegate)
        )
    }

    /// The agent, the gate and the policies with their figures.
    public func status(for caller: Caller) async throws -> StatusDocument {
        let now = clocks.now().wall
        let state = await committer.summary
        var figures: [PolicyFigures] = []
        var ledgerFault = state.ledgerFault
        do throws(LedgerError) {
            figures = try await ledger.figures(since: now + .seconds(-7 * 24 * 3600))
        } catch {
            ledgerFault = ledgerFault ?? "\(error)"
        }
        let used = Dictionary(figures.map { ($0.policy, $0) }) { first, _ in first }
        let gate = gateStatus()
        return StatusDocument(
            agent: AgentStatus(
                version: version,
                pid: ThisProcess.id,
                startedAt: startedAt,
                configuredAt: state.configuredAt,
                configuration: state.origin,
                configurationError: state.configurationError,
                warnings: state.warnings,
                liveGrants: state.liveGrants
            ),
            gate: gate,
            ledgerFault: ledgerFault,
            policies: state.policies.filter(caller.mayAsk(under:)).map { policy in
                PolicyStatus(
                    name: policy.name,
                    description: policy.description,
                    ports: policy.ports,
                    sessions: policy.sessions,
                    enabled: policy.enabled,
                    activeGrants: state.liveGrantsOfPolicy[policy.name] ?? 0,
                    requests7d: used[policy.name]?.requests ?? 0,
                    lastAccess: used[policy.name].map {
                        LastAccess(at: $0.lastAt, who: WhoDocument($0.lastRequester))
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
            kernel: (try? firstLine(of: "/proc/sys/kernel/osrelease")) ?? "unknown",
            droppedPackets: report.droppedPackets,
            breakGlass: report.breakGlass.map {
                BreakGlassStatus(source: $0.source, packets: $0.packets)
            }
        )
    }
}

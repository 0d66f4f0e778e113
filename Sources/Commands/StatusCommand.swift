import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport status`.
struct StatusCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the gate and each policy with its figures.",
        discussion: """
            Whether the gate is armed, and for each policy its ports, session mode,
            live grants, requests of the last 7 days, and who was let in last.

            The exit status is 70 when the gate is not armed, so a script can watch it.

              sallyport status
              sallyport status --json
            """
    )

    @OptionGroup var shared: SharedOptions

    func report(from agent: Client, in surroundings: Surroundings) throws -> Report {
        let status = try agent.status()
        var report = Report(
            document: status,
            lines: header(status, surroundings.time) + [""]
                + (status.policies.isEmpty
                    ? [noPolicies] : table(status.policies, surroundings.time).lines)
        )
        if !status.gate.armed {
            report.notes = [
                "sallyport: THE GATE IS NOT ARMED: managed ports may be open to everybody"
            ]
            report.status = .internalError
        }
        return report
    }
}

private func header(_ status: StatusDocument, _ time: TimeTeller) -> [String] {
    keyed(
        [
            ("gate", gate(status.gate)),
            ("agent", agent(status.agent, time)),
            ("policies", policies(status.agent, time)),
        ]
            + status.gate.breakGlass.enumerated().map {
                let use = "\($1.source): \(counted($1.packets, "connection")) let in"
                return ($0 == 0 ? "break glass" : "", use)
            }
    )
}

private func gate(_ gate: GateStatus) -> String {
    guard gate.armed else { return "NOT ARMED: \(gate.fault ?? "no reason given")" }
    let owner = gate.owned ? "owned by the agent" : "other programs may change it"
    return """
        armed, \(owner) (table \(gate.table), Linux \(gate.kernel))
        \(counted(gate.droppedPackets, "packet")) dropped
        """
}

private func agent(_ agent: AgentStatus, _ time: TimeTeller) -> String {
    let started = "started \(time.relative(agent.startedAt))"
    return "\(agent.version), process \(agent.pid), \(started), "
        + counted(UInt64(max(agent.liveGrants, 0)), "live grant")
}

private func policies(_ agent: AgentStatus, _ time: TimeTeller) -> String {
    let loaded = "loaded \(time.relative(agent.configuredAt))"
    guard let fault = agent.configurationError else { return loaded }
    return "\(loaded)\nTHE LAST RELOAD WAS REFUSED, these stay:\n\(fault)"
}

private func table(_ policies: [PolicyStatus], _ time: TimeTeller) -> Table {
    var table = Table(columns: [
        .init(title: "POLICY"), .init(title: "PORTS"), .init(title: "SESSIONS"),
        .init(title: "LIVE", isNumeric: true), .init(title: "7 DAYS", isNumeric: true),
        .init(title: "LAST ACCESS"),
    ])
    table.rows = policies.map { policy in
        [
            policy.name,
            policy.ports.map(\.description).joined(separator: ", "),
            policy.enabled ? policy.sessions.rawValue : "disabled",
            "\(policy.activeGrants)",
            "\(policy.requests7d)",
            policy.lastAccess.map { "\($0.user), \(time.relative($0.at))" } ?? "-",
        ]
    }
    return table
}

/// `1 packet`, `2 packets`.
func counted(_ count: UInt64, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
}

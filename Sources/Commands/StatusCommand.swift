import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport status`.
struct StatusCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what you may do, the gate, and each policy with its figures.",
        discussion: """
            Who the agent takes you for and what you may do; whether the gate is armed; for
            each policy its ports, session mode, live grants, requests of the last 7 days,
            and who was let in last, from where. Requesters see the policies they may ask
            under, and figures of their own requests.

            What an administrator has to see to comes first, in capitals, and on standard
            error: the gate is not armed, the configuration in force is not that of the
            files, nothing can be recorded, the audit trail was damaged. The exit status is
            70 then, so a script can watch it.

              sallyport status
              sallyport status --json
            """
    )

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let status = try agent.status()
        let time = surroundings.time
        let alarms = alarms(status)
        let policies =
            status.policies.isEmpty
            ? [Line(noPolicies)] : table(status.policies, output.screen, time)
        try output.show(
            status,
            as: alarms.map { Line($0, .bad) }
                + (status.unconfirmed.map { [Line(unconfirmed($0, time), .waiting)] } ?? [])
                + header(status, output.screen, time) + [""]
                + policies
        )
        return Report(
            notes: alarms.map { "sallyport: \($0)" },
            status: alarms.isEmpty ? .done : .internalError
        )
    }
}

/// What is wrong with the agent or its gate, the worst first.
private func alarms(_ status: StatusDocument) -> [String] {
    var alarms: [String] = []
    if status.gate.disarmed != nil {
        let fault = status.gate.fault.map { " (\($0))" } ?? ""
        alarms.append(
            "THE GATE IS DISARMED: managed ports are open to everybody\(fault); to arm it: "
                + "sallyport arm"
        )
    } else if !status.gate.armed {
        alarms.append("THE GATE IS NOT ARMED: managed ports may be open to everybody")
    }
    switch status.agent.configuration {
    case .files: break
    case .lastKnownGood:
        alarms.append("THE FILES ARE NOT IN FORCE: what was in force before them is")
    case .defaults:
        alarms.append(
            "THE FILES ARE NOT IN FORCE: the default ports are closed, and nobody but root may ask"
        )
    }
    if let fault = status.ledgerFault {
        alarms.append("NOTHING CAN BE OPENED: \(fault)")
    }
    if let fault = status.auditFault {
        alarms.append("THE AUDIT TRAIL WAS DAMAGED: \(fault)")
    }
    return alarms
}

/// What is undone unless somebody confirms it.
private func unconfirmed(_ change: UnconfirmedDocument, _ time: TimeTeller) -> String {
    let (what, undone) =
        switch change.change {
        case .policies: ("policies applied", "rolled back")
        case .arming: ("armed", "disarmed again")
        }
    return "\(what) by \(change.by): \(undone) at \(time.both(change.until)) unless confirmed: "
        + "sallyport policy confirm"
}

private func header(_ status: StatusDocument, _ screen: Screen, _ time: TimeTeller) -> [Line] {
    keyed(
        you(status.you) + [
            ("gate", gate(status.gate)),
            ("agent", agent(status.agent, time)),
            ("policies", policies(status.agent, time)),
        ]
            + (status.agent.warnings.isEmpty
                ? [] : [("warnings", status.agent.warnings.joined(separator: "\n"))])
            + status.gate.breakGlass.enumerated().map {
                let uses = counted(Int(clamping: $1.packets), "connection", "connections")
                let use = "\($1.source): \(uses) let in"
                return ($0 == 0 ? "break glass" : "", use)
            },
        on: screen
    )
}

private func you(_ you: YouDocument) -> [(name: String, value: String)] {
    let roles = you.roles.map(\.rawValue).joined(separator: ", ")
    let policies = [("ask under", you.asks), ("answer for", you.approves)]
    return [
        ("you", "\(you.who.text) (\(you.who.subject)): \(roles)"), ("you may", wrapped(you.may)),
    ] + policies.filter { !$0.1.isEmpty }.map { ($0.0, wrapped($0.1)) }
}

/// A list in lines that fit a terminal beside their name.
private func wrapped(_ items: [String]) -> String {
    var lines = [""]
    for (index, item) in items.enumerated() {
        let text = index == items.count - 1 ? item : "\(item),"
        if let line = lines.last, !line.isEmpty, line.count + text.count < 66 {
            lines[lines.count - 1] = "\(line) \(text)"
        } else {
            lines.append(text)
        }
    }
    return lines.dropFirst().joined(separator: "\n")
}

private func gate(_ gate: GateStatus) -> String {
    if gate.disarmed != nil { return "DISARMED: \(gate.fault ?? "no reason given")" }
    guard gate.armed else { return "NOT ARMED: \(gate.fault ?? "no reason given")" }
    let owner = gate.owned ? "owned by the agent" : "other programs may change it"
    return """
        armed, \(owner) (table \(gate.table), Linux \(gate.kernel))
        \(counted(Int(clamping: gate.droppedPackets), "packet", "packets")) dropped
        """ + (gate.refusedFault.map { "\nrefused attempts are not seen: \($0)" } ?? "")
            + (gate.connectionsFault.map { "\nconnections are not seen: \($0)" } ?? "")
}

private func agent(_ agent: AgentStatus, _ time: TimeTeller) -> String {
    let started = "started \(time.relative(agent.startedAt))"
    return "\(agent.version), process \(agent.pid), \(started), "
        + counted(agent.liveGrants, "live grant", "live grants")
}

private func policies(_ agent: AgentStatus, _ time: TimeTeller) -> String {
    let origin =
        switch agent.configuration {
        case .files: ""
        case .lastKnownGood: "last known good, "
        case .defaults: "defaults, "
        }
    let loaded = "\(origin)loaded \(time.relative(agent.configuredAt))"
    guard let fault = agent.configurationError else { return loaded }
    return "\(loaded)\nTHE FILES ARE REFUSED, these stay:\n\(fault)"
}

private func table(
    _ policies: [PolicyStatus],
    _ screen: Screen,
    _ time: TimeTeller
) -> [Line] {
    var table = Table(
        columns: [
            .init(title: "POLICY"), .init(title: "PORTS"), .init(title: "SESSIONS"),
            .init(title: "LIVE", isNumeric: true), .init(title: "7 DAYS", isNumeric: true),
            .init(title: "LAST ACCESS", isLong: true),
        ],
        on: screen
    )
    return table.lines(
        adding: policies.map { policy in
            [
                Table.Cell(policy.name),
                Table.Cell(portsText(policy.ports, at: policy.hosts)),
                Table.Cell(policy.enabled ? policy.sessions.rawValue : "disabled"),
                Table.Cell("\(policy.activeGrants)"), Table.Cell("\(policy.requests7d)"),
                policy.lastAccess.map { cell($0, time) } ?? "-",
            ]
        }
    )
}

private func cell(_ last: LastAccess, _ time: TimeTeller) -> Table.Cell {
    let when = time.relative(last.at)
    let hosts = last.hosts.map { " at \($0.map(\.description).joined(separator: ", "))" } ?? ""
    let ports = last.ports.map(\.description).joined(separator: ", ") + hosts
    let sources = last.sources.prefix(2).map(\.brief).joined(separator: ", ")
    let more = last.sources.count > 2 ? " and \(last.sources.count - 2) more" : ""
    return Table.Cell(
        "\(last.who.text), \(when), from \(sources)\(more) to \(ports)",
        brief: "\(last.who.brief), \(when), from \(sources)\(more)"
    )
}

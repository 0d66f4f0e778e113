import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport doctor`.
struct DoctorCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Show what would defeat the gate on this host, or lead past it.",
        discussion: """
            Reads the whole ruleset of the kernel, of all tables, and follows the first
            packet of what grants let in: another chain that drops it (what one chain
            drops no other can accept), a rule in front of the gate, a port that leads to
            a managed one; and what the system is like. Each finding has its table, chain
            and handle, as nft -a list ruleset shows them, and what to do.

            An error is what breaks granted access, or leaves a managed port open: the
            exit status is 70 then. Warnings and notes leave it at 0.

              sallyport doctor
              sallyport doctor --json
            """
    )

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let found = try agent.doctor()
        try output.show(found, as: lines(found, output.screen))
        return Report(status: found.healthy ? .done : .internalError)
    }
}

private func lines(_ found: DoctorDocument, _ screen: Screen) -> [Line] {
    let rules = counted(found.rules, "rule", "rules")
    guard !found.findings.isEmpty else {
        return [Line("nothing stands in the gate's way (\(rules) read)", .good)]
    }
    let findings = found.findings.flatMap { finding -> [Line] in
        let place = [
            finding.table, finding.chain, finding.handle.map { "handle \($0)" },
        ].compactMap(\.self).joined(separator: " ")
        let title =
            finding.severity.rawValue + " " + finding.code.rawValue
            + (place.isEmpty ? "" : ": \(place)")
        return [Line(title, finding.severity.mark)]
            + indented(finding.message, screen) + indented("-> \(finding.advice)", screen)
    }
    let counts = Finding.Severity.allCases.compactMap { severity -> String? in
        let count = found.findings.count { $0.severity == severity }
        guard count > 0 else { return nil }
        return counted(count, severity.rawValue, "\(severity.rawValue)s")
    }
    return findings
        + [Line("\(counts.joined(separator: ", ")) (\(rules) read)")]
        + (found.more > 0 ? [Line("and \(found.more) more")] : [])
}

/// A text in lines of its own, below something.
private func indented(_ text: String, _ screen: Screen) -> [Line] {
    let lines = screen.columns.map { wrapped(visible(text), to: max($0, 80) - 4) } ?? [text]
    return lines.map { Line("    \($0)") }
}

extension Finding.Severity {
    fileprivate var mark: Mark {
        switch self {
        case .error: .bad
        case .warning: .waiting
        case .note: .heading
        }
    }
}

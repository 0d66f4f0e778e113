import API
import ArgumentParser
import Client
import Policy

extension LogCommand {
    /// The command `sallyport log verify`.
    struct Verify: AgentCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify",
            abstract: "Check that the audit trail is as it was recorded.",
            discussion: """
                Every event names the hash of the one before. What was changed, removed,
                put in or moved is found; what was cut off at the end, by a hash that is
                kept elsewhere: the journal has one of every start, stop and 1,000th
                event. The exit status is 70 where something is wrong.

                  sallyport log verify
                  sallyport log verify --head 9f86d081884c7d65...
                """
        )

        @Option(help: ArgumentHelp("A hash that was the newest once.", valueName: "hash"))
        var head: String?

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            let digits = "0123456789abcdefABCDEF"
            guard let head, head.count != 64 || !head.allSatisfy(digits.contains) else { return }
            throw ValidationError("--head \(head): a hash has 64 hexadecimal digits")
        }

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let found = try agent.verifyAudit(head: head?.lowercased())
            try output.show(found, as: lines(found))
            return Report(status: found.intact ? .done : .internalError)
        }
    }
}

private func lines(_ found: AuditVerification) -> [Line] {
    let facts = keyed([
        (
            "events",
            "\(found.events)" + (found.prunedThrough.map { ", pruned through \($0)" } ?? "")
        ),
        ("newest", "\(found.last)"), ("head", found.head),
    ])
    guard !found.intact else {
        return [Line("the audit trail is intact", .good)] + facts
            + (found.given.map { [Line("the given hash is of event \($0)")] } ?? [])
    }
    let more = found.faultCount - found.faults.count
    return [Line("THE AUDIT TRAIL IS NOT AS IT WAS RECORDED", .bad)] + facts
        + found.faults.map { Line("\($0.sequence): \($0.code.rawValue): \($0.message)") }
        + (more > 0 ? [Line("and \(more) more")] : [])
}

import API
import ArgumentParser
import Client

/// The command `sallyport cut ID...`.
struct CutCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "cut",
        abstract: "End live connections to managed ports, at both ends.",
        discussion: """
            The grant stays, and lets in again who connects anew; `sallyport close --cut`
            ends both. Requesters cut what their own grants let in, admins any.

              sallyport cut 5f0c2e91a7d4    as `sallyport sessions` shows it
            """
    )

    @Argument(
        help: ArgumentHelp("Sessions, as `sallyport sessions` shows them.", valueName: "id"),
        completion: .custom(completeSessions)
    )
    var ids: [String]

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        var cut: [SessionDocument] = []
        var failures: [ClientError] = []
        cutting: for id in ids {
            do throws(ClientError) {
                cut.append(try agent.cut(session: id))
            } catch {
                failures.append(error)
                switch error {
                case .unreachable, .forbidden: break cutting
                case .problem, .answerUnreadable, .protocolError: continue
                }
            }
        }
        try output.show(
            SessionList(sessions: cut),
            as: cut.map { Line("cut \($0.id): \($0.port) from \($0.client)") }
        )
        return Report(notes: [], failures: failures)
    }
}

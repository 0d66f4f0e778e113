import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport close ID... | --mine | --policy NAME | --all`.
struct CloseCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "close",
        abstract: "Close live grants before their time.",
        discussion: """
            New connections are refused at once. Established sessions go on where the
            policy says "sessions: keep", unless --cut ends them, too, and end where it
            says "sessions: cut". Requesters close their own grants, admins anyone's.
            Where some cannot be closed the rest still are.

              sallyport close 17            the whole request
              sallyport close 17.1 18.2     single grants
              sallyport close --mine --cut
              sallyport close --policy rdp
            """
    )

    @Argument(
        help: ArgumentHelp("Requests (17) or grants (17.1).", valueName: "id"),
        completion: .custom(completeGrants),
        transform: { try GrantReference(argument: $0) }
    )
    var ids: [GrantReference] = []

    @Flag(help: "Close your own live grants.")
    var mine = false

    @Option(
        help: ArgumentHelp("Close a policy's live grants.", valueName: "name"),
        completion: .custom(completePolicies)
    )
    var policy: String?

    @Flag(help: "Close every live grant.")
    var all = false

    @Flag(help: "End the sessions, too, that the grants let in.")
    var cut = false

    @OptionGroup var shared: SharedOptions

    func validate() throws {
        let ways = [!ids.isEmpty, mine, policy != nil, all].count(where: \.self)
        guard ways == 1 else {
            throw ValidationError(
                "say what to close: ids, --mine, --policy NAME or --all (one of them)"
            )
        }
    }

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let targets = ids.isEmpty ? try selected(from: agent, surroundings) : ids
        var closed: [GrantDocument] = []
        var failures: [ClientError] = []
        closing: for target in targets {
            do throws(ClientError) {
                closed += try close(target, cutting: cut, agent)
            } catch .problem(let problem) where ids.isEmpty && problem.meansEnded {
                // It ended after it was listed: nothing is left to close.
            } catch {
                failures.append(error)
                switch error {
                case .unreachable, .forbidden: break closing
                case .problem, .answerUnreadable, .protocolError: continue
                }
            }
        }
        try output.show(GrantList(grants: closed), as: closed.map { Line(line($0)) })
        return Report(
            notes: closed.isEmpty && failures.isEmpty ? ["nothing to close"] : [],
            failures: failures
        )
    }

    private func selected(
        from agent: Client,
        _ surroundings: Surroundings
    ) throws -> [GrantReference] {
        var found: [GrantReference] = []
        try agent.eachPage(of: RequestFilter(policy: policy)) { page in
            // By who it is: people may share a name, and change it.
            found += page.filter { !mine || $0.requester.subject == surroundings.subject }
                .map { .grant($0.id) }
        }
        return found
    }
}

private func close(
    _ reference: GrantReference,
    cutting: Bool,
    _ agent: Client
) throws(ClientError) -> [GrantDocument] {
    switch reference {
    case .grant(let id): [try agent.close(grant: id, cutting: cutting)]
    case .request(let id):
        try agent.revoke(request: id, cutting: cutting).grants.filter { $0.state == .revoked }
    }
}

extension Problem {
    /// Whether the grant that was named is over.
    fileprivate var meansEnded: Bool { [.wrongState, .notFound].contains(code) }
}

private func line(_ grant: GrantDocument) -> String {
    let opening = "\(grant.policy) \(grant.port.text(at: grant.host)) from \(grant.source)"
    let sessions = grant.cutSessions.map {
        ", and \(counted($0.count, "session", "sessions")) with it"
    }
    return "closed \(grant.id)\(sessions ?? ""): \(opening), \(grant.requester.text)"
}

import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport approve ID [--for D]`.
struct ApproveCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve",
        abstract: "Agree to somebody's request (approvers).",
        discussion: """
            Shows the request as it will be opened and asks before it agrees; where there
            is no terminal to ask on, or not to be asked, say --yes. What is agreed to is
            what was shown: a request that was changed meanwhile is refused. --for may
            shorten its time, not lengthen it.

              sallyport approve 17
              sallyport approve 17 --for 30m --yes
            """
    )

    @OptionGroup var request: RequestArgument

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("For a shorter time than was asked.", valueName: "duration")
    )
    var duration: String?

    @Flag(help: "Do not ask.")
    var yes = false

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let asked = try agent.request(id: request.id)
        let shown = asking(asked, shortenedTo: duration, surroundings.time)
        if !(yes && output.json) { output.tell(shown.map { $0.printed(inColour: false) }) }
        if !yes {
            guard let confirm = surroundings.confirm else {
                throw CommandError(
                    message: "cannot ask whether to approve: this is no terminal; say --yes",
                    status: .usage
                )
            }
            guard confirm("Approve request \(request.id)?") else {
                return Report(
                    notes: ["not approved: request \(request.id) waits on"],
                    status: .pending
                )
            }
        }
        let answer = try agent.approve(
            request: request.id,
            ApproveBody(duration: duration, revision: asked.revision)
        )
        try output.show(
            answer,
            as: lines(
                on: answer,
                verb: "is open until",
                for: surroundings.subject,
                surroundings.time
            )
        )
        // What others have to follow on is done; what the policy forbids by now is not.
        return Report(status: answer.state.isWaiting ? .done : status(of: answer))
    }
}

/// The command `sallyport deny ID --reason TEXT`.
struct DenyCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "deny",
        abstract: "Refuse somebody's request (approvers).",
        discussion: """
            The requester is told the reason.

              sallyport deny 17 --reason "use the replica"
            """
    )

    @OptionGroup var request: RequestArgument

    @Option(help: ArgumentHelp("Why, for the requester.", valueName: "text"))
    var reason: String

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let denied = try agent.deny(request: request.id, reason: reason)
        let line = "denied request \(denied.id) of \(denied.requester.text)"
        try output.show(denied, as: [Line(line)])
        return Report()
    }
}

/// The command `sallyport cancel ID`.
struct CancelCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Take back a request that waits.",
        discussion: """
            Your own; admins anybody's. What is open already is closed with "close".

              sallyport cancel 17
            """
    )

    @OptionGroup var request: RequestArgument

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let cancelled = try agent.cancel(request: request.id)
        try output.show(cancelled, as: [Line("took back request \(cancelled.id)")])
        return Report()
    }
}

/// The request that a command is about.
struct RequestArgument: ParsableArguments {
    @Argument(
        help: ArgumentHelp("The request, as \"sallyport open\" named it.", valueName: "id"),
        completion: .custom(completeRequests),
        transform: { text in
            switch try GrantReference(argument: text) {
            case .request(let id): id
            case .grant(let id):
                let whole = id.prefix { $0 != "." }
                throw ValidationError("this is about whole requests: \(whole)")
            }
        }
    )
    var id: String
}

/// A request as it will be opened, whole: what is agreed to has to be read.
private func asking(
    _ request: RequestDocument,
    shortenedTo shorter: String?,
    _ time: TimeTeller
) -> [Line] {
    let asked = request.duration
    let duration = shorter.map { "\($0) (asked for: \(asked))" } ?? asked
    let approvals = request.approvals.map {
        let limit = $0.duration.map { ", for \($0)" } ?? ""
        return "\($0.who.text), \(time.relative($0.at))\(limit)"
    }
    let start = request.startsAt == nil ? ", from when it opens" : ""
    let who = request.requester
    let pairs: [(name: String, value: String?)] = [
        ("requester", "\(who.text) (\(who.subject)), \(time.relative(request.createdAt))"),
        ("comes from", who.address?.description),
        ("reason", request.reason ?? "none"),
        ("ticket", request.ticket),
        ("for", request.extends == nil ? duration + start : nil),
        ("more time", request.extends.map { "\(duration), for what is open of request \($0)" }),
        ("opens", request.startsAt.map(time.both)),
        ("approved by", approvals.isEmpty ? nil : approvals.joined(separator: "\n")),
        ("lapses", request.pendingUntil.map(time.both)),
    ]
    return [Line("request \(request.id) is \(request.state.rawValue)")]
        + keyed(pairs.compactMap { pair in pair.value.map { (pair.name, $0) } })
        + needs(request) + [""] + openings(request.grants) + [""]
}

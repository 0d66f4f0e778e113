import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport open TARGET... [--from SRC...]`.
struct OpenCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "open",
        abstract: "Ask for access to ports, from sources, for a time.",
        discussion: """
            Everything asked for opens together or not at all, and closes by itself.

            "me" is where your SSH session comes from, as SSH_CONNECTION says. It is a
            default only, judged like any other address. sudo drops the variable, and a
            reattached tmux or screen keeps an old one: name the source there.

              sallyport open ssh
              sallyport open ssh --for 45m --reason "disk full on db3"
              sallyport open 22/tcp 5986/tcp --from 198.51.100.7 203.0.113.0/28
              sallyport open rdp --until 2026-12-01T17:00:00Z --ticket OPS-123
            """
    )

    @Argument(
        help: ArgumentHelp(
            "A policy's name, or a port as PORT/PROTO (22/tcp).",
            valueName: "target"
        )
    )
    var targets: [String]

    @Option(
        name: .customLong("from"),
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Addresses or ranges (CIDR) to let in, or \"me\".",
            valueName: "source"
        )
    )
    var sources: [String] = ["me"]

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp(
            "For how long: 45m, 1h30m, PT2H; default: the policy's.",
            valueName: "duration"
        )
    )
    var duration: String?

    @Option(
        help: ArgumentHelp(
            "Until when instead (RFC 3339): 2026-12-01T17:00:00Z.",
            valueName: "time"
        )
    )
    var until: String?

    @Option(help: ArgumentHelp("Why; a policy may require it.", valueName: "text"))
    var reason: String?

    @Option(help: ArgumentHelp("The ticket; a policy may require one.", valueName: "id"))
    var ticket: String?

    @OptionGroup var shared: SharedOptions

    func validate() throws {
        if duration != nil && until != nil {
            throw ValidationError("--for and --until exclude each other")
        }
    }

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let ask = Ask(
            targets: targets,
            sources: try sources.map {
                $0 == "me" ? try sessionOrigin(surroundings.environment) : $0
            },
            duration: duration,
            until: until,
            reason: reason,
            ticket: ticket
        )
        // Under a key of its own, so that it can be sent again where the connection is lost.
        let key = String(UInt128.random(in: .min ... .max), radix: 16)
        let request = try agent.open(ask, idempotencyKey: key)
        try output.show(
            request,
            as: openRequest(request, verb: "is open until", surroundings.time)
        )
        return Report()
    }
}

/// What `open` and `extend` say: what is open, until when, what ended for it, and how to go on.
func openRequest(_ request: RequestDocument, verb: String, _ time: TimeTeller) -> [String] {
    let open = request.grants.filter { $0.state == .active }
    guard let end = open.compactMap(\.expiresAt).max() else {
        return ["request \(request.id) is over (\(request.state.rawValue)): nothing is open"]
    }
    var table = Table(columns: [
        .init(title: "ID"), .init(title: "POLICY"), .init(title: "PORT"), .init(title: "SOURCE"),
    ])
    let rows = open.map { [$0.id, $0.policy, $0.port.description, $0.source.description] }
    let ended = (request.superseded ?? []).map {
        "it ends \($0.id), which was open until \(time.both($0.expiresAt))"
    }
    let next = keyed([
        ("more time", "sallyport extend \(request.id) --for 30m"),
        ("close now", "sallyport close \(request.id)"),
    ])
    return ["request \(request.id) \(verb) \(time.both(end))"] + ended + [""]
        + table.lines(adding: rows) + [""] + next
}

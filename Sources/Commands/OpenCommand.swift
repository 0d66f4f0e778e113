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
            Everything asked for opens together or not at all, and closes by itself. Where
            others have to agree, the request waits for them; its time begins when it
            opens. The exit status is 75 then, or with --wait what the answer makes it: 0
            open, 77 denied, 75 taken back or not answered in time.

            "me" is where your SSH session comes from, as SSH_CONNECTION says. It is a
            default only, judged like any other address. sudo drops the variable, and a
            reattached tmux or screen keeps an old one: name the source there.

              sallyport open ssh
              sallyport open ssh --for 45m --reason "disk full on db3" --wait
              sallyport open 22/tcp 5986/tcp --from 198.51.100.7 203.0.113.0/28
              sallyport open rdp --at 22:00 --for 1h --ticket OPS-123
              sallyport open rdp --until 17:00 --dry-run
            """
    )

    @OptionGroup var asked: AskOptions

    @Flag(help: "Wait for the approval or the start; Ctrl-C leaves the request as it is.")
    var wait = false

    @Flag(help: "Only say whether it would be allowed (can-i open).")
    var dryRun = false

    @OptionGroup var shared: SharedOptions

    func validate() throws {
        if wait && dryRun { throw ValidationError("--wait and --dry-run exclude each other") }
    }

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let ask = try asked.ask(in: surroundings)
        if dryRun { return try tellWhether(ask, isAllowedBy: agent, to: output) }
        // Under a key of its own, so that it can be sent again where the connection is lost.
        let key = String(UInt128.random(in: .min ... .max), radix: 16)
        var request = try agent.open(ask, idempotencyKey: key)
        if wait, request.state.isWaiting {
            let lines = waiting(request, isOwn: true, surroundings.time)
            output.tell(lines.map { $0.printed(inColour: false) })
            guard let decided = try decision(on: request.id, from: agent, output) else {
                return Report(
                    notes: [
                        "request \(request.id) still waits; to take it back: sallyport cancel \(request.id)"
                    ],
                    status: .pending
                )
            }
            request = decided
        }
        // It may have taken a while.
        let time = TimeTeller(now: surroundings.now(), local: surroundings.time.local)
        try output.show(
            request,
            as: lines(on: request, verb: "is open until", for: surroundings.subject, time)
        )
        return Report(status: status(of: request))
    }
}

/// What `open`, `extend` and `approve` say: what became of the request and, where it is the
/// reader's own, how to go on.
func lines(
    on request: RequestDocument,
    verb: String,
    for reader: Subject,
    _ time: TimeTeller
) -> [Line] {
    let isOwn = request.requester.subject == reader
    return switch request.state {
    case .pending, .scheduled: waiting(request, isOwn: isOwn, time)
    case .active: openRequest(request, verb: verb, isOwn: isOwn, time)
    case .denied, .cancelled, .lapsed, .failed, .expired, .revoked, .superseded:
        [Line(ending(of: request), .bad)]
    }
}

/// The status that tells what became of a request.
func status(of request: RequestDocument) -> ExitStatus {
    switch request.state {
    case .active, .expired, .revoked, .superseded: .done
    case .pending, .scheduled, .cancelled, .lapsed: .pending
    case .denied: .notPermitted
    case .failed: .internalError
    }
}

/// What is open, until when, what ended for it, and how to go on.
private func openRequest(
    _ request: RequestDocument,
    verb: String,
    isOwn: Bool,
    _ time: TimeTeller
) -> [Line] {
    let open = request.grants.filter { $0.state == .active }
    guard let end = open.compactMap(\.expiresAt).max() else {
        return [Line("request \(request.id) is over: nothing is open")]
    }
    // An extension has no grants of its own.
    let id = request.extends ?? request.id
    let ended = (request.superseded ?? []).map {
        Line("it ends \($0.id), which was open until \(time.both($0.expiresAt))")
    }
    let next = keyed([
        ("more time", "sallyport extend \(id) --for 30m"),
        ("close now", "sallyport close \(id)"),
    ])
    return [Line("request \(id) \(verb) \(time.both(end))", .good)] + ended + [""]
        + openings(open) + (isOwn ? [""] + next : [])
}

/// What a request waits for, and how to go on.
private func waiting(_ request: RequestDocument, isOwn: Bool, _ time: TimeTeller) -> [Line] {
    let what = request.extends.map { "the extension of request \($0)" }
    let subject = "request \(request.id)" + (what.map { ", \($0)," } ?? "")
    let next =
        isOwn ? [""] + keyed([("take it back", "sallyport cancel \(request.id)")]) : []
    guard request.state == .pending else {
        let start = request.startsAt.map { " \(time.start($0))" } ?? " later"
        return [Line("\(subject) opens\(start)", .waiting), ""] + openings(request.grants) + next
    }
    let end = request.pendingUntil.map { ", until \(time.both($0))" } ?? ""
    return [Line("\(subject) waits for approval\(end)", .waiting)] + needs(request) + [""]
        + openings(request.grants) + next
}

/// How many have to agree yet, and who may: a line a policy.
func needs(_ request: RequestDocument) -> [Line] {
    (request.needs ?? []).filter { $0.given < $0.approvals }.map { need in
        let missing = counted(need.approvals - need.given, "more approval", "more approvals")
        let who = need.approvers.map { " of \($0.joined(separator: ", "))" } ?? ""
        return Line("policy \(need.policy) asks for \(missing)\(who)")
    }
}

/// The grants of a request, whole: on these somebody has to decide.
func openings(_ grants: [GrantDocument]) -> [Line] {
    var table = Table(columns: [
        .init(title: "ID"), .init(title: "POLICY"), .init(title: "PORT"), .init(title: "SOURCE"),
    ])
    return table.lines(
        adding: grants.map {
            [$0.id, $0.policy, $0.port.text(at: $0.host), $0.source.description]
                .map { Table.Cell($0) }
        }
    )
}

/// How a request ended that is not open, by whom and why.
private func ending(of request: RequestDocument) -> String {
    let by = request.decidedBy.map { " by \($0.text)" } ?? ""
    let why = request.decision.map { ": \($0)" } ?? ""
    return switch request.state {
    case .denied: "request \(request.id) was denied\(by)\(why)"
    case .cancelled: "request \(request.id) was taken back\(by)"
    case .lapsed: "request \(request.id) lapsed: nobody answered in time"
    case .failed: "request \(request.id) failed\(why)"
    default: "request \(request.id) is over (\(request.state.rawValue)): nothing is open"
    }
}

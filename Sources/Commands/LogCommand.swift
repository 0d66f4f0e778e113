import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport log`.
struct LogCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Show the audit trail: what happened, and who did it.",
        discussion: """
            Oldest first. Requesters see what concerns their own requests; viewers,
            approvers and admins everything. --follow goes on with what happens from now
            on, also after a restart of the agent; its JSON has an event a line.

              sallyport log --since 7d --policy ssh
              sallyport log --user alice --event opened
              sallyport log --since 2026-11-01T00:00:00Z --format csv >november.csv
              sallyport log --follow
              sallyport log verify
            """,
        subcommands: [Verify.self]
    )

    /// How events are printed.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case table, json, jsonl, csv
    }

    @Option(
        help: ArgumentHelp(
            "From when on: 7d or 30m ago, 17:00, or RFC 3339.",
            valueName: "time"
        )
    )
    var since: String?

    @Option(help: ArgumentHelp("Only what happened before.", valueName: "time"))
    var until: String?

    @Option(
        help: ArgumentHelp("Only about this policy.", valueName: "name"),
        completion: .custom(completePolicies)
    )
    var policy: String?

    @Option(
        help: ArgumentHelp("Only what this person did, or for whom it was.", valueName: "name")
    )
    var user: String?

    @Option(
        help: ArgumentHelp("Only this kind of event.", valueName: "kind"),
        completion: .list(AuditKind.allCases.map(\.rawValue)),
        transform: { text in
            if let kind = AuditKind(rawValue: text) { return kind }
            let kinds = AuditKind.allCases.map(\.rawValue)
            let meant = nearest(to: text, among: kinds).map { "did you mean \($0)? " } ?? ""
            throw ValidationError("\(meant)there are \(kinds.joined(separator: ", "))")
        }
    )
    var event: AuditKind?

    @Option(help: ArgumentHelp("Only about this source.", valueName: "source"))
    var source: String?

    @Option(
        help: ArgumentHelp("Only about this request.", valueName: "id"),
        completion: .custom(completeRequests)
    )
    var request: Int64?

    @Option(help: ArgumentHelp("table, json, jsonl (JSON Lines) or csv.", valueName: "format"))
    var format: Format?

    @Flag(help: "Go on with what happens from now on.")
    var follow = false

    @OptionGroup var shared: SharedOptions

    func validate() throws {
        if shared.json && format != nil {
            throw ValidationError("--json and --format exclude each other")
        }
        for (option, text) in [("--policy", policy), ("--user", user)] where text == "" {
            throw ValidationError("\(option) takes a name")
        }
        if let source {
            do {
                _ = try CIDR(parsing: source)
            } catch {
                throw ValidationError("cannot read --source \(printable(source)): \(error.message)")
            }
        }
        if follow && until != nil { throw ValidationError("--follow has no --until") }
        if follow && format == .csv {
            throw ValidationError("--follow prints a table or JSON Lines, not csv")
        }
    }

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let filter = AuditFilter(
            since: try since.map { try instant($0, of: "--since", surroundings.time) },
            until: try until.map { try instant($0, of: "--until", surroundings.time) },
            policy: policy,
            user: user,
            event: event,
            source: source,
            request: request
        )
        if let since = filter.since, let until = filter.until, since >= until {
            throw CommandError(
                message: "cannot show what was from \(since) until \(until): --until is not after "
                    + "--since",
                status: .usage
            )
        }
        var printer: any EventPrinter
        switch format ?? (shared.json ? .json : .table) {
        case .csv:
            let isEmpty = try copy(filter, from: agent, to: output)
            if isEmpty { try checkNames(in: filter, with: agent) }
            return Report(notes: isEmpty ? ["no events"] : [])
        case .json where !follow: printer = JSONPrinter(to: output)
        case .json, .jsonl: printer = LinesPrinter(to: output)
        case .table: printer = TablePrinter(to: output, surroundings.time)
        }
        // What is followed begins behind the last event there is now; before it, what was asked for.
        let newest = follow ? try agent.audit(AuditFilter(limit: 1)).events.first?.sequence ?? 0 : 0
        var last = newest
        if !follow || since != nil {
            var lines = LineSplitter()
            try agent.audit(filter, as: "application/jsonl") { bytes in
                let new = lines.split(bytes).map(AuditLine.init)
                try printer.print(new)
                if follow { last = max(last, try new.last?.row().sequence ?? 0) }
            }
        }
        if printer.isEmpty { try checkNames(in: filter, with: agent) }
        if follow { try self.follow(filter, after: last, from: agent, output, &printer) }
        try printer.end()
        return Report(notes: printer.isEmpty ? ["no events"] : [])
    }

    /// Refuses a name that nobody knows; what has events at any time was known once.
    private func checkNames(in filter: AuditFilter, with agent: Client) throws {
        var ever = filter
        (ever.since, ever.until, ever.limit) = (nil, nil, 1)
        guard try agent.audit(ever).events.isEmpty else { return }
        _ = try agent.grants(RequestFilter(policy: policy, requester: user))
        if let request { _ = try agent.request(id: "\(request)") }
    }

    /// Prints what happens after an event, for ever.
    private func follow(
        _ filter: AuditFilter,
        after last: Int64,
        from agent: Client,
        _ output: Output,
        _ printer: inout any EventPrinter
    ) throws {
        var last = last
        var absence = Absence()
        while true {
            do {
                let events = try agent.events(after: "\(last)")
                absence.isOver(output)
                while true {
                    guard case .event(let event) = try events.next(within: .seconds(3600)) else {
                        continue
                    }
                    // Others tell what lies ahead and are in no trail.
                    guard let id = event.id.flatMap({ Int64($0) }) else { continue }
                    let line = AuditLine(text: event.data)
                    if filter.holds(for: try line.row()) { try printer.print([line]) }
                    last = id
                }
            } catch let error as ClientError {
                try absence.bear(error, output)
            }
        }
    }
}

/// Prints the agent's CSV; where it goes to a terminal, nothing in it can steer that.
///
/// Answers whether it has nothing below the heading.
private func copy(_ filter: AuditFilter, from agent: Client, to output: Output) throws -> Bool {
    var lines = LineSplitter()
    var count = 0
    try agent.audit(filter, as: "text/csv") { bytes in
        let new = lines.split(bytes).map { line in
            // RFC 4180 ends lines with a carriage return, too; a file is the agent's to the byte.
            output.screen.columns == nil ? line : visible(line.filter { $0 != "\r" })
        }
        count += new.count
        try output.write(new.map { $0 + "\n" }.joined())
    }
    return count <= 1
}

/// An instant of the past: so long ago, the last time it was 17:00, or RFC 3339.
private func instant(_ text: String, of option: String, _ time: TimeTeller) throws -> Timestamp {
    if let ago = try? Duration(parsing: text) { return time.now + (.zero - ago) }
    if let last = time.last(text) { return last }
    guard let instant = try? Timestamp(parsing: text) else {
        throw CommandError(
            message: "cannot read \(option) \(text): write how long ago (7d, 30m), a time of day "
                + "like 17:00, or an instant of RFC 3339 like 2026-12-01T17:00:00Z",
            status: .usage
        )
    }
    return instant
}

extension AuditFilter {
    /// Whether an event that just happened is wanted.
    fileprivate func holds(for row: AuditRow) -> Bool {
        func names(_ list: String?, _ texts: [String?]) -> Bool {
            guard let list else { return false }
            return list.split(separator: " ").contains { word in texts.contains(String(word)) }
        }
        let people = [row.subject, row.name, row.requester, row.requesterName]
        let range = source.flatMap { try? CIDR(parsing: $0) }?.description
        return (policy.map { names(row.policy, [$0]) } ?? true)
            && (user.map { people.contains($0) } ?? true)
            && (event.map { row.event == $0.rawValue } ?? true)
            && (source.map { names(row.source, [$0, range]) } ?? true)
            && (request.map { row.request == "\($0)" } ?? true)
    }
}

import API
import ArgumentParser
import Client
import FoundationEssentials
import Policy

extension PolicyCommands {
    /// The command `sallyport policy set NAME ...`.
    struct Set: GuardedCommand {
        static let configuration = CommandConfiguration(
            commandName: "set",
            abstract: "Make a policy, or change one (admins).",
            discussion: """
                Keys that are not named stay as they are; an empty text takes one away. The
                change is written to the policy's file, with all else in it left as it is,
                and is in force at once. Grants that it allows no longer end.

                  sallyport policy set ssh --max-duration 1h --reason required
                  sallyport policy set db --ports 5432/tcp --requesters group:dba,alice
                  sallyport policy set db --ticket-pattern ''
                  sallyport policy show db --json | sallyport policy set db --file -
                """
        )

        @Argument(
            help: ArgumentHelp("The policy.", valueName: "name"),
            completion: .custom(completePolicies)
        )
        var name: String

        @OptionGroup(title: "Keys of the policy") var keys: PolicyKeys

        @Option(
            help: ArgumentHelp(
                "Take the whole policy from a JSON file, like that of show --json; - for standard input.",
                valueName: "file"
            ),
            completion: .file(extensions: ["json"])
        )
        var file: String?

        @Flag(help: "Let grants that are no longer allowed go on to their end.")
        var keepGrants = false

        @OptionGroup var guarding: ForceOption

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            guard file != nil || keys.isGiven else {
                throw ValidationError("say what to set, like --max-duration 1h")
            }
        }

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            var definition: JSONValue
            var condition = Client.Condition.none
            if let file {
                definition = try jsonFile(file)
            } else {
                (definition, condition) = try current(agent)
            }
            keys.apply(to: &definition)
            let change = try agent.set(
                policy: name,
                to: definition,
                if: condition,
                ChangeOptions(isForced: guarding.force, keepsGrants: keepGrants)
            )
            try output.show(change, as: lines(change, named: name))
            return Report(notes: warnings(change.warning))
        }

        /// The policy as it is, an object without fields where there is none; and that it still is
        /// so.
        private func current(_ agent: Client) throws -> (JSONValue, Client.Condition) {
            let policy: PolicyDocument
            let tag: String
            do throws(ClientError) {
                (policy, tag) = try agent.taggedPolicy(named: name)
            } catch {
                guard case .problem(let problem) = error, problem.code == .notFound else {
                    throw error
                }
                return (.object([]), .isAbsent)
            }
            var definition = try jsonValue(policy)
            // It follows the other as long as it was not given one of its own.
            if policy.defaultDuration == policy.maxDuration {
                definition["default_duration"] = nil
            }
            return (definition, .isStill(tag: tag))
        }
    }

    /// The command `sallyport policy remove NAME`.
    struct Remove: GuardedCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Remove a policy: its ports are OPEN TO EVERYBODY then (admins).",
            discussion: """
                The policy goes from its file, all else in it stays. Its grants end.

                  sallyport policy remove db
                """
        )

        @Argument(
            help: ArgumentHelp("The policy.", valueName: "name"),
            completion: .custom(completePolicies)
        )
        var name: String

        @Flag(help: "Let its grants go on to their end.")
        var keepGrants = false

        @OptionGroup var guarding: ForceOption

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let change = try agent.remove(
                policy: name,
                ChangeOptions(isForced: guarding.force, keepsGrants: keepGrants)
            )
            try output.show(change, as: lines(change, named: name))
            return Report(notes: warnings(change.warning))
        }
    }
}

/// What became of a policy.
func lines(_ change: PolicyChangeDocument, named name: String) -> [Line] {
    let done = change.policy == nil ? "removed" : change.changes.isEmpty ? "unchanged" : "in force"
    let ended = change.endedGrants
    var lines: [Line] = ["policy \(name) \(done) (\(change.file))"]
    lines += change.changes.map { "  \($0)" }
    if !ended.isEmpty { lines.append("ended: \(ended.joined(separator: ", "))") }
    for (requests, what) in [
        (change.openedRequests, "need no more approvals, and open"),
        (change.deniedRequests, "are no longer allowed, and denied"),
    ] where !requests.isEmpty {
        lines.append("waiting requests that \(what): \(requests.joined(separator: ", "))")
    }
    return lines
}

/// What is to be told loudly, as notes.
func warnings(_ warning: String?) -> [String] { warning.map { ["sallyport: " + $0] } ?? [] }

/// The keys of a policy as options.
struct PolicyKeys: ParsableArguments {
    @Option(help: ArgumentHelp("Managed ports.", valueName: "22/tcp,...")) var ports: String?
    @Option(
        help: ArgumentHelp("Hosts behind this machine that it is for.", valueName: "cidr,...")
    )
    var hosts: String?
    @Option(help: ArgumentHelp("A sentence for people.", valueName: "text"))
    var description: String?
    @Option(help: ArgumentHelp("Sources that may be asked for.", valueName: "cidr,..."))
    var allowedSources: String?
    @Option(help: ArgumentHelp("The longest duration.", valueName: "3h")) var maxDuration: String?
    @Option(help: ArgumentHelp("Where the request names none.", valueName: "1h"))
    var defaultDuration: String?
    @Option(help: ArgumentHelp("The shortest prefix of an IPv4 source.", valueName: "24"))
    var widestIpv4: Int?
    @Option(help: ArgumentHelp("The shortest prefix of an IPv6 source.", valueName: "64"))
    var widestIpv6: Int?
    @Option(help: ArgumentHelp("Who of the requesters may ask.", valueName: "group:ops,..."))
    var requesters: String?
    @Option(help: ArgumentHelp("How many others must agree.", valueName: "0")) var approvals: Int?
    @Option(help: ArgumentHelp("Who of the approvers may answer.", valueName: "group:leads,..."))
    var approvers: String?
    @Option(help: ArgumentHelp("How long a request waits.", valueName: "15m"))
    var pendingFor: String?
    @Option(help: ArgumentHelp("required or optional.", valueName: "rule")) var reason: String?
    @Option(help: ArgumentHelp("The fewest letters of a reason.", valueName: "10"))
    var reasonMinLength: Int?
    @Option(help: ArgumentHelp("What a ticket must match.", valueName: "pattern"))
    var ticketPattern: String?
    @Option(help: ArgumentHelp("What becomes of sessions: keep or cut.", valueName: "mode"))
    var sessions: String?
    @Option(help: ArgumentHelp("The same of UDP sessions.", valueName: "mode"))
    var udpSessions: String?
    @Option(help: ArgumentHelp("Live grants of one person.", valueName: "10"))
    var maxActivePerRequester: Int?
    @Option(help: ArgumentHelp("true or false; false OPENS the ports.", valueName: "bool"))
    var enabled: Bool?

    var isGiven: Bool {
        var definition = JSONValue.object([])
        apply(to: &definition)
        // A key that is to be taken away shows only where there is something.
        return definition != .object([]) || texts.contains { $0.value != nil }
    }

    private var texts: [(key: String, value: String?, isList: Bool)] {
        [
            ("ports", ports, true), ("hosts", hosts, true), ("description", description, false),
            ("allowed_sources", allowedSources, true), ("max_duration", maxDuration, false),
            ("default_duration", defaultDuration, false), ("requesters", requesters, true),
            ("approvers", approvers, true), ("pending_for", pendingFor, false),
            ("reason", reason, false), ("ticket_pattern", ticketPattern, false),
            ("sessions", sessions, false), ("udp_sessions", udpSessions, false),
        ]
    }

    /// Sets the keys that are given.
    func apply(to definition: inout JSONValue) {
        for (key, value, isList) in texts {
            guard let value else { continue }
            let items = value.split(separator: ",", omittingEmptySubsequences: false)
                .map { JSONValue.text(String($0)) }
            definition[key] = value.isEmpty ? nil : isList ? .list(items) : .text(value)
        }
        for (key, value) in [
            ("approvals", approvals), ("reason_min_length", reasonMinLength),
            ("max_active_per_requester", maxActivePerRequester),
        ] {
            if let value { definition[key] = .number("\(value)") }
        }
        if let enabled { definition["enabled"] = .bool(enabled) }
        for (key, value) in [("ipv4", widestIpv4), ("ipv6", widestIpv6)] {
            guard let value else { continue }
            var widest = definition["widest_source"] ?? .object([])
            widest[key] = .number("\(value)")
            definition["widest_source"] = widest
        }
    }
}

/// Reads a JSON file; `-` is standard input.
func jsonFile(_ file: String) throws(CommandError) -> JSONValue {
    let text = try readText(file == "-" ? "/dev/stdin" : file)
    do throws(JSONError) {
        return try JSONValue(json: Array(text.utf8))
    } catch {
        throw CommandError(message: "cannot read \(file): \(error)", status: .invalid)
    }
}

/// A document as a value whose fields can be changed.
func jsonValue(_ document: some Encodable) throws(CommandError) -> JSONValue {
    do {
        return try JSONValue(json: Array(JSONEncoder().encode(document)))
    } catch {
        throw CommandError(
            message: "cannot write the policy as JSON: \(error)",
            status: .internalError
        )
    }
}

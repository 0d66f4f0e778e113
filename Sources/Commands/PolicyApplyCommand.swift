import API
import ArgumentParser
import Client
import Linux
import Policy
import SystemPackage

/// A command that might lock its author out: the agent is told of the session it is given in.
protocol GuardedCommand: AgentCommand {
    var guarding: ForceOption { get }
}

/// The option of all that might lock its author out.
struct ForceOption: ParsableArguments {
    @Flag(help: "Do it even where it closes the port of your own SSH session.")
    var force = false
}

extension PolicyCommands {
    /// The command `sallyport policy apply FILE|DIR`.
    struct Apply: GuardedCommand {
        static let configuration = CommandConfiguration(
            commandName: "apply",
            abstract: "Replace all policies by those of a file or folder (admins).",
            discussion: """
                The files of the folder (*.yaml), or the one file, take the place of all files
                of policy.d. All are checked first, and every fault is named.

                With --confirm-within they are tried: unless somebody confirms them in time,
                the agent puts the old ones back, also if it or the host is started anew in
                between. Grants that they do not allow end only with the confirmation.
                Confirm from a NEW session: that shows that you still get in.

                  sallyport policy apply ./policies --confirm-within 60s
                  sallyport policy confirm
                  sallyport policy apply /etc/sallyport/policy.d --confirm-within 5m
                """
        )

        @Argument(
            help: ArgumentHelp(
                "A policy file, - for standard input, or a folder of them.",
                valueName: "file"
            ),
            completion: .file()
        )
        var file: String

        @Option(
            help: ArgumentHelp(
                "Roll it back after this time (1s to 1h) unless it is confirmed.",
                valueName: "duration"
            )
        )
        var confirmWithin: String?

        @Flag(help: "Let grants that are no longer allowed go on to their end.")
        var keepGrants = false

        @OptionGroup var guarding: ForceOption

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let change = try agent.apply(
                policies: try policyFiles(file),
                ChangeOptions(
                    isForced: guarding.force,
                    keepsGrants: keepGrants,
                    confirmWithin: confirmWithin
                )
            )
            try output.show(change, as: lines(change, surroundings.time))
            return Report(notes: warnings(change.warning))
        }
    }

    /// The command `sallyport policy confirm`.
    struct Confirm: AgentCommand {
        static let configuration = CommandConfiguration(
            commandName: "confirm",
            abstract: "Leave for good what apply or arm --confirm-within did (admins).",
            discussion: """
                  sallyport policy confirm
                """
        )

        @OptionGroup var shared: SharedOptions

        func report(
            from agent: Client,
            in surroundings: Surroundings,
            to output: Output
        ) throws -> Report {
            let confirmed = try agent.confirm()
            let what =
                switch confirmed.confirmed {
                case .policies: "the policies stay as they are"
                case .arming: "the gate stays armed"
                }
            let ended = confirmed.endedGrants
            try output.show(
                confirmed,
                as: [Line("confirmed: \(what)", .good)]
                    + (ended.isEmpty ? [] : [Line("ended: \(ended.joined(separator: ", "))")])
            )
            return Report()
        }
    }
}

/// The texts of a policy file, or of those of a folder, by their names.
private func policyFiles(_ path: String) throws(CommandError) -> [String: String] {
    let isFolder = (try? fileStatus(path))?.type == .directory
    guard isFolder else {
        let name = path == "-" ? "policies" : path.split(separator: "/").last.map(String.init) ?? ""
        return [
            name.hasSuffix(".yaml") ? name : name + ".yaml":
                try readText(path == "-" ? "/dev/stdin" : path)
        ]
    }
    let names: [String]
    do throws(SystemError) {
        names = try folderNames(path)
    } catch {
        throw CommandError(message: "cannot read \(path): \(error.errno.text)", status: .invalid)
    }
    var files: [String: String] = [:]
    for name in names.sorted() where !name.hasPrefix(".") {
        guard !name.hasSuffix(".yml") else {
            throw CommandError(
                message: "\(path)/\(name): the name of a policy file ends in .yaml",
                status: .invalid
            )
        }
        if name.hasSuffix(".yaml") { files[name] = try readText("\(path)/\(name)") }
    }
    guard !files.isEmpty else {
        throw CommandError(message: "\(path): there is no policy file (*.yaml)", status: .invalid)
    }
    return files
}

/// What was applied, and how to go on.
private func lines(_ change: PoliciesChangeDocument, _ time: TimeTeller) -> [Line] {
    guard !change.changes.isEmpty || change.confirmUntil != nil else {
        return ["policies unchanged"]
    }
    var lines: [Line] = ["policies in force"] + change.changes.map { Line("  \($0)") }
    let ended = change.endedGrants
    if !ended.isEmpty { lines.append(Line("ended: \(ended.joined(separator: ", "))")) }
    for (requests, what) in [
        (change.openedRequests, "need no more approvals, and open"),
        (change.deniedRequests, "are no longer allowed, and denied"),
    ] where !requests.isEmpty {
        let when = change.confirmUntil == nil ? "" : " once it is confirmed"
        let list = requests.joined(separator: ", ")
        lines.append(Line("waiting requests that \(what)\(when): \(list)"))
    }
    return lines + (change.confirmUntil.map { toConfirm(until: $0, "rolled back", time) } ?? [])
}

/// How to confirm what is undone otherwise.
func toConfirm(until end: Timestamp, _ undone: String, _ time: TimeTeller) -> [Line] {
    [
        Line("\(undone) at \(time.both(end)) unless confirmed", .waiting),
        "log in anew, to see that you get in, and there: sallyport policy confirm",
    ]
}

import API
import ArgumentParser
import Policy

/// What access is asked for: the words of `open` and `can-i open`.
struct AskOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "A policy's name, or a port as PORT/PROTO (22/tcp); of a host behind this machine with its address (ssh@192.0.2.7).",
            valueName: "target"
        ),
        completion: .custom(completePolicies)
    )
    var targets: [String] = []

    @Option(
        name: .customLong("from"),
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Addresses or ranges (CIDR) to let in, or \"me\".",
            valueName: "source"
        ),
        completion: .list(["me"])
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
            "Until when instead: 17:00 (local, today or tomorrow) or RFC 3339.",
            valueName: "time"
        )
    )
    var until: String?

    @Option(
        help: ArgumentHelp(
            "When to open instead of now: 22:00, or RFC 3339.",
            valueName: "time"
        )
    )
    var at: String?

    @Option(help: ArgumentHelp("Why; a policy may require it.", valueName: "text"))
    var reason: String?

    @Option(help: ArgumentHelp("The ticket; a policy may require one.", valueName: "id"))
    var ticket: String?

    mutating func validate() throws {
        if duration != nil && until != nil {
            throw ValidationError("--for and --until exclude each other")
        }
        guard targets.isEmpty else { return }
        // `--from 192.0.2.1 ssh`: an option that takes several words takes the targets, too.
        let firstTarget = sources.firstIndex { !isSource($0) }
        guard let firstTarget, firstTarget > 0 else {
            throw ValidationError("say what to open: a policy (ssh) or a port (22/tcp)")
        }
        targets = Array(sources[firstTarget...])
        sources = Array(sources[..<firstTarget])
    }

    /// What to ask, with `me` and times of day replaced by what they mean here and now.
    func ask(in surroundings: Surroundings) throws -> Ask {
        Ask(
            targets: targets,
            sources: try sources.map {
                $0 == "me" ? try sessionOrigin(surroundings.environment) : $0
            },
            duration: duration,
            until: try until.map { try instant($0, of: "--until", surroundings.time) },
            at: try at.map { try instant($0, of: "--at", surroundings.time) },
            reason: reason,
            ticket: ticket
        )
    }
}

private func isSource(_ word: String) -> Bool {
    word == "me" || (try? CIDR(parsing: word)) != nil
}

/// A time as the agent takes it: RFC 3339, for a time of day the next instant that it is.
private func instant(_ text: String, of option: String, _ time: TimeTeller) throws -> String {
    if let next = time.next(text) { return next.description }
    guard (try? Timestamp(parsing: text)) != nil else {
        throw CommandError(
            message: "cannot read \(option) \(text): write a time of day like 17:00, or an instant "
                + "of RFC 3339 like 2026-12-01T17:00:00+01:00",
            status: .usage
        )
    }
    return text
}

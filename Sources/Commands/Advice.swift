import ArgumentParser
import Policy

/// What to say about a command line that is not understood: the parser's text, and where a word of
/// it is near one there is, that.
func advice(on text: String, for arguments: [String]) -> [String] {
    var lines = text.split(separator: "\n").map(String.init)
    guard let first = lines.first else { return lines }
    if first.contains("nexpected argument"), let word = unknownVerb(in: arguments) {
        lines[0] = "Error: Unknown command '\(word.typed)'"
        if let meant = word.meant { lines[0] += ". Did you mean '\(meant)'?" }
    }
    if first.hasPrefix("Error: Unknown option '"),
        let option = first.split(separator: "'").dropFirst().first,
        let meant = synonyms[String(option)]
    {
        lines[0] = "Error: Unknown option '\(option)'. Did you mean '\(meant)'?"
    }
    return lines
}

/// What people who come from elsewhere type, or who type fast.
private let synonyms = [
    "request": "open", "initiate": "open", "grant": "open", "revoke": "close",
    "reject": "deny", "withdraw": "cancel", "audit": "log", "ls": "list", "show": "list",
    "--form": "--from",
    "--duration": "--for", "--time": "--for", "--source": "--from", "--sources": "--from",
    "--end": "--until", "--start": "--at", "--why": "--reason", "--requester": "--user",
]

/// The first word that should be a subcommand and is none, and the one it most likely means.
private func unknownVerb(in arguments: [String]) -> (typed: String, meant: String?)? {
    var command: any ParsableCommand.Type = RootCommand.self
    var words = arguments[...]
    while let word = words.popFirst() {
        if word == "--socket" {
            words = words.dropFirst()
        } else if !word.hasPrefix("-") {
            let verbs = command.configuration.subcommands
            let names = verbs.compactMap { $0.configuration.commandName }
            guard !verbs.isEmpty else { return nil }
            guard let next = verbs.first(where: { $0.configuration.commandName == word }) else {
                let meant =
                    nearest(to: word, among: names)
                    ?? synonyms[word].flatMap { names.contains($0) ? $0 : nil }
                return (word, meant)
            }
            command = next
        }
    }
    return nil
}

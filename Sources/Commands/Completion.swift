import API
import Client
import Linux
import Policy

/// The policies there are, while somebody types a command line and presses TAB.
@Sendable func completePolicies(_ words: [String], _ index: Int, _ start: String) -> [String] {
    answers(words) { try $0.policies().policies.map(\.name) }
}

/// The live grants and their requests.
@Sendable func completeGrants(_ words: [String], _ index: Int, _ start: String) -> [String] {
    answers(words) { try $0.grants(RequestFilter()).grants.flatMap { [$0.request, $0.id] } }
}

/// The requests that wait or are open.
@Sendable func completeRequests(_ words: [String], _ index: Int, _ start: String) -> [String] {
    answers(words) { agent in
        try agent.requests(RequestFilter(state: .pending)).requests.map(\.id)
            + agent.grants(RequestFilter()).grants.map(\.request)
    }
}

/// The socket that a command line names, as `--socket PATH` or `--socket=PATH`; bash tells the
/// latter as three words.
func socket(in words: [String]) -> String? {
    for (place, word) in words.enumerated() {
        if word.hasPrefix("--socket=") { return String(word.dropFirst("--socket=".count)) }
        guard word == "--socket" else { continue }
        let rest = words[(place + 1)...]
        return (rest.first == "=" ? rest.dropFirst() : rest).first ?? ""
    }
    return nil
}

/// What the agent knows, each once; nothing where it does not say so in no time.
private func answers(_ words: [String], _ ask: (Client) throws -> [String]) -> [String] {
    let named = socket(in: words)
    let socket = SharedOptions.socketPath(option: named, ThisProcess.environment)
    let found = try? ask(Client(socket: socket, timeout: .milliseconds(500)))
    var seen: Set<String> = []
    return (found ?? []).filter { seen.insert($0).inserted }
}

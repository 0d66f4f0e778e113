import API
import Testing

@testable import Commands

/// Command lines that are not understood, and those that ask for help.
struct UsageTests {
    @Test(arguments: [
        "frobnicate", "--frobnicate", "status extra", "open", "open ssh --for",
        "open ssh --for 1h --until 2026-12-01T17:00:00Z", "extend 17",
        "extend --for 30m", "extend 17.1 --for 30m", "extend x --for 30m", "close", "close 0",
        "close -- -1", "close 017", "close +17", "close 17.", "close 17.0", "close 17.1.1",
        "close 99999999999999999999", "close 17 --mine", "close --mine --all",
        "close --policy ssh --all", "close --policy", "list extra", "policy show",
        "policy check", "policy frobnicate", "open --from 192.0.2.1", "open --from ssh",
        "open ssh --wait --dry-run", "can-i close 17", "can-i open", "approve",
        "approve 17.1", "deny 17", "deny 17 --reason", "cancel", "cancel x", "pending 17",
    ])
    func isAUsageError(_ line: String) throws {
        let agent = try ScriptedAgent()
        let outcome = try carryOut(line, agent: agent)
        #expect(outcome.status == 64)
        #expect(outcome.output.isEmpty)
        #expect(outcome.errors.hasPrefix("Error: "))
        #expect(outcome.errors.contains("Usage: sallyport"))
        #expect(agent.calls.isEmpty)
    }

    @Test(arguments: [
        ("", "USAGE: sallyport"), ("--help", "USAGE: sallyport"), ("help", "USAGE: sallyport"),
        ("policy", "USAGE: sallyport policy"), ("can-i", "USAGE: sallyport can-i"),
        ("help open", "USAGE: sallyport open"),
        ("open --help", "sallyport open ssh --for 45m"), ("extend --help", "extend 17 --for"),
        ("close --help", "sallyport close --mine"), ("list -h", "sallyport list --all"),
        ("can-i open --help", "can-i open ssh --from"),
        ("approve --help", "approve 17 --for 30m"), ("deny --help", "sallyport deny 17"),
        ("cancel --help", "sallyport cancel 17"),
        ("pending --help", "sallyport pending"),
        ("policy show --help", "sallyport policy show ssh"),
        ("policy check --help", "sallyport policy check /etc"), ("--version", "\(version)\n"),
        ("list --version", "\(version)\n"), ("--generate-completion-script zsh", "#compdef"),
    ])
    func answersOnStandardOutput(_ line: String, _ text: String) throws {
        let outcome = try carryOut(line)
        #expect(outcome.status == 0)
        #expect(outcome.errors.isEmpty)
        #expect(outcome.output.contains(text))
    }

    @Test(
        arguments: [
            ("opne ssh", "command 'opne'. Did you mean 'open'?"),
            ("--socket /s lst", "command 'lst'. Did you mean 'list'?"),
            ("revoke 17", "command 'revoke'. Did you mean 'close'?"),
            ("policy lits", "command 'lits'. Did you mean 'list'?"),
            ("can-i opn ssh", "command 'opn'. Did you mean 'open'?"),
            ("frobnicate", "command 'frobnicate'"),
            ("open ssh --form 192.0.2.1", "option '--form'. Did you mean '--from'?"),
            ("open ssh --source 192.0.2.1", "option '--source'. Did you mean '--from'?"),
            ("open ssh --duration 1h", "option '--duration'. Did you mean '--for'?"),
        ]
    )
    func saysWhatWasMeant(_ line: String, _ text: String) throws {
        let first = try carryOut(line).errors.split(separator: "\n").first
        #expect(first == "Error: Unknown \(text)")
    }
}

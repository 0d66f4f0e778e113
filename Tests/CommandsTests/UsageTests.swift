import API
import Testing

@testable import Commands

/// Command lines that are not understood, and those that ask for help.
struct UsageTests {
    @Test(arguments: [
        "frobnicate", "--frobnicate", "status extra", "open", "open ssh --for",
        "open ssh --for 1h --until 2026-12-01T17:00:00Z", "open ssh --wait", "extend 17",
        "extend --for 30m", "extend 17.1 --for 30m", "extend x --for 30m", "close", "close 0",
        "close -- -1", "close 017", "close +17", "close 17.", "close 17.0", "close 17.1.1",
        "close 99999999999999999999", "close 17 --mine", "close --mine --all",
        "close --policy ssh --all", "close --policy", "list extra", "policy show",
        "policy check", "policy frobnicate",
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
        ("policy", "USAGE: sallyport policy"), ("help open", "USAGE: sallyport open"),
        ("open --help", "sallyport open ssh --for 45m"), ("extend --help", "extend 17 --for"),
        ("close --help", "sallyport close --mine"), ("list -h", "sallyport list --all"),
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
}

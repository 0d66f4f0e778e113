import API
import FoundationEssentials
import Glibc
import Linux
import Policy
import TestSupport
import Testing

@testable import Commands

/// The built program: exit statuses, outputs, and what the environment does.
@Suite(.blocking) struct ProgramTests {
    @Test func printsAndSucceeds() throws {
        let agent = try ScriptedAgent(["GET /v1/grants": GrantList(grants: [try grant("17.1")])])
        let run = try sallyport(["list"], ["SALLYPORT_SOCKET": agent.socket])
        #expect(run.status == 0)
        #expect(run.output.contains("17.1  ssh     22/tcp  198.51.100.7/32  alice"))
        #expect(run.errors.isEmpty)
    }

    @Test func readsTheTimeZone() throws {
        // The program reads the real clock: an end that is near any day is told as "tomorrow".
        let inTenYears = Duration.seconds(3653 * 24 * 3600 + 42 * 60)
        let grants = GrantList(grants: [try grant("17.1", ends: inTenYears)])
        let agent = try ScriptedAgent(["GET /v1/grants": grants])
        for (zone, time) in [("UTC", "12:42"), ("Asia/Kathmandu", "18:27"), ("EST5", "07:42")] {
            let run = try sallyport(["list"], ["SALLYPORT_SOCKET": agent.socket, "TZ": zone])
            #expect(run.output.contains("2036-12-01 \(time) ("))
        }
    }

    @Test func opensFromTheSessionOfTheEnvironment() throws {
        let agent = try ScriptedAgent([
            "POST /v1/requests": request("17", [try grant("17.1")])
        ])
        let run = try sallyport(
            ["open", "ssh", "--socket", agent.socket],
            ["SSH_CONNECTION": "198.51.100.7 50022 192.0.2.1 22"]
        )
        #expect(run.status == 0)
        #expect(
            agent.calls == [
                #"POST /v1/requests {"sources":["198.51.100.7"],"targets":["ssh"]}"#
            ]
        )
    }

    @Test(
        arguments: [
            (Problem.Code.outsidePolicy, 65), (.notPermitted, 77), (.ledgerUnavailable, 70),
        ] as [(Problem.Code, Int32)]
    )
    func exitsWithTheStatusOfTheProblem(code: Problem.Code, status: Int32) throws {
        let agent = try ScriptedAgent(["GET /v1/status": Problem(code, "cannot do it")])
        let run = try sallyport(["status"], ["SALLYPORT_SOCKET": agent.socket])
        #expect(run.status == status)
        #expect(run.output.isEmpty)
        #expect(run.errors == "sallyport: cannot do it\n")
    }

    @Test func withoutAnAgentSaysSo() throws {
        let run = try sallyport(["status", "--socket", "/nonexistent/s"])
        #expect(run.status == 69)
        #expect(run.output.isEmpty)
        #expect(run.errors.hasPrefix("sallyport: cannot reach the agent at /nonexistent/s: "))
    }

    @Test(.enabled(if: geteuid() == 0, "only root can give the socket away"))
    func aSocketThatMayNotBeUsedIsAMatterOfPermission() throws {
        let agent = try ScriptedAgent()
        chown(agent.socket, 65_534, 65_534)
        chmod(agent.socket, 0o600)
        // Without these root is as bound to the mode of the socket as anybody.
        let powers = "--bounding-set=-dac_override,-dac_read_search"
        let run = try sallyport(
            ["status", "--socket", agent.socket],
            through: ["/usr/bin/setpriv", powers]
        )
        #expect(run.status == 77)
        #expect(run.errors.contains("permission denied"))
    }

    @Test func anAnswerThatIsNoneIsAnInternalError() throws {
        let agent = try ScriptedAgent(["GET /v1/status": ["nothing": "of the kind"]])
        #expect(try sallyport(["status", "--socket", agent.socket]).status == 70)
    }

    @Test func usageErrorsGoToStandardError() throws {
        let run = try sallyport(["open", "ssh", "--frobnicate"])
        #expect(run.status == 64)
        #expect(run.output.isEmpty)
        #expect(run.errors.contains("Unknown option '--frobnicate'"))
    }

    @Test func aReaderThatWentAwayEndsItBySIGPIPE() throws {
        let agent = try ScriptedAgent(["GET /v1/grants": GrantList(grants: [try grant("17.1")])])
        for arguments in [["list", "--socket", agent.socket], ["--help"]] {
            let closed = "pipe R, W; close R; open STDOUT, '>&W'; exec @ARGV"
            let run = try sallyport(arguments, through: ["/usr/bin/perl", "-e", closed])
            #expect(run.status == 128 + SIGPIPE)
            #expect(run.errors.isEmpty)
        }
    }

    @Test func anAgentThatHangsUpIsUnreachable() throws {
        let agent = try ScriptedAgent(greet: { _ in false })
        for _ in 0..<20 {
            let run = try sallyport(["status", "--socket", agent.socket])
            #expect(run.status == 69)
            #expect(run.errors.contains("it closed the connection before it answered"))
        }
    }

    @Test func anAgentThatReadsNoFurtherIsHeardOut() throws {
        let text = "\"" + String(repeating: "#", count: (1 << 20) - 2) + "\""
        let folder = try TemporaryFolder(["p.json": text])
        let file = folder.path + "/p.json"
        let agent = try ScriptedAgent(greet: { connection in
            shutdown(connection, Int32(SHUT_RD))
            // Emptying the full socket makes the program write again, which now fails.
            var chunk = [UInt8](repeating: 0, count: 65_536)
            while read(connection, &chunk, chunk.count) > 0 {}
            usleep(50_000)
            try? writeAll(Array("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n".utf8), to: connection)
            return false
        })
        let run = try sallyport(
            ["policy", "set", "db", "--file", file, "--socket", agent.socket],
            through: ["/usr/bin/env", "--default-signal=PIPE"]
        )
        #expect(run.status == 70)
        #expect(run.errors.contains("status 500 and no document"))
    }

    @Test func anOutputThatCannotBeWrittenIsAnError() throws {
        let run = try sallyport(
            ["--help"],
            through: ["/bin/sh", "-c", #"exec "$0" "$@" >/dev/full"#]
        )
        #expect(run.status == 70)
        #expect(run.errors == "sallyport: cannot write the output: no space left on device\n")
    }

    @Test func aClosedStandardErrorCostsNoOutput() throws {
        let agent = try ScriptedAgent(["GET /v1/grants": GrantList(grants: [])])
        let run = try sallyport(
            ["list", "--json", "--socket", agent.socket],
            through: ["/bin/sh", "-c", #"exec "$0" "$@" 2>&-"#]
        )
        #expect(run.status == 0)
        #expect(run.output.contains("grants"))
    }

    @Test func onATerminalTheTableFitsAndStatesHaveColours() throws {
        let reason = String(repeating: "reason", count: 30)
        let agent = try ScriptedAgent([
            "GET /v1/requests?limit=100": all([try grant("17.1", reason: reason)])
        ])
        func list(_ environment: [String: String] = [:], columns: Int = 100) throws -> String {
            let all = environment.merging(["SALLYPORT_SOCKET": agent.socket]) { $1 }
            let run = try sallyportOnTerminal(["list", "--all"], all, columns: columns)
            #expect(run.status == 0)
            return run.output.replacing("\r\n", with: "\n")
        }
        func width(_ text: String) -> Int? {
            text.split(separator: "\n").map { Terminal.width(of: String($0)) }.max()
        }
        let coloured = try list(["TERM": "xterm"])
        #expect(coloured.contains("\u{1b}[32mactive\u{1b}[0m"))
        for plain in [["NO_COLOR": "1"], ["TERM": "dumb"]] {
            let output = try list(plain)
            #expect(output.contains("  active  "))
            #expect(!output.contains("\u{1b}"))
            #expect(width(output) == 100)
        }
        #expect(width(try list(["NO_COLOR": "1"], columns: 130)) == 130)
        #expect(width(try list(["NO_COLOR": "1", "COLUMNS": "120"])) == 120)
        // Nobody is behind a pipe.
        let piped = try sallyport(["list", "--all"], ["SALLYPORT_SOCKET": agent.socket])
        #expect(piped.output.contains(reason))
        #expect(!piped.output.contains("\u{1b}"))
    }

    @Test(arguments: [("y\n", true), ("YES\n", true), ("n\n", false), ("\n", false), ("", false)])
    func asksBeforeItApproves(typed: String, isApproved: Bool) throws {
        let agent = try ScriptedAgent([
            "GET /v1/requests/17": try waitingRequest("17"),
            "POST /v1/requests/17/approve": request("17", [try grant("17.1")]),
        ])
        let run = try sallyportOnTerminal(
            ["approve", "17"],
            ["SALLYPORT_SOCKET": agent.socket],
            typing: typed
        )
        #expect(run.output.contains("Approve request 17? [y/N] "))
        #expect(run.output.contains("reason       disk full on db3"))
        #expect(agent.calls.contains { $0.hasPrefix("POST") } == isApproved)
        #expect(run.status == (isApproved ? 0 : 75))
    }

    @Test func aHungAgentIsGivenUpAfterFiveSeconds() throws {
        let agent = try ScriptedAgent(greet: { connection in
            // Reads what is asked, and says nothing until the program is gone.
            var chunk = [UInt8](repeating: 0, count: 4096)
            while read(connection, &chunk, chunk.count) > 0 {}
            return false
        })
        let start = ContinuousClock.now
        let run = try sallyport(["status", "--socket", agent.socket])
        #expect(run.status == 69)
        #expect(run.errors.contains("no answer within 5 s: it hangs"))
        #expect(.seconds(5)...(.seconds(15)) ~= start.duration(to: .now))
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func writesACompletionScript(shell: String) throws {
        let run = try sallyport(["--generate-completion-script", shell])
        #expect(run.status == 0)
        for word in ["status", "extend", "--ticket", "reload"] {
            #expect(run.output.contains(word.drop { shell == "fish" && $0 == "-" }))
        }
    }

    @Test(
        arguments: [
            ("op", "open"), ("open ", "rdp ssh"), ("open s", "ssh"), ("open ssh --fr", "--from"),
            ("close ", "17 17.1 18 18.2"), ("approve ", "21 17 18"),
            ("list --policy ", "rdp ssh"), ("log --event gate-", "gate-rearmed gate-tampered"),
        ]
    )
    func bashCompletesWhatThereIs(typed: String, offered: String) throws {
        let agent = try ScriptedAgent([
            "GET /v1/policies": PolicyList(policies: [rdpPolicy, sshPolicy]),
            "GET /v1/grants": GrantList(grants: [try grant("17.1"), try grant("18.2")]),
            "GET /v1/requests?state=pending&limit=100": RequestList(
                requests: [try waitingRequest("21")],
                next: nil
            ),
        ])
        let found = try complete(typed, ["SALLYPORT_SOCKET": agent.socket])
        #expect(
            found.output.split(separator: "\n").sorted() == offered.split(separator: " ").sorted()
        )
        #expect(found.errors.isEmpty)
    }

    @Test(arguments: [" ", "=", " = "])
    func theSocketOfTheLineIsAsked(separator: String) throws {
        let line = "sallyport --socket\(separator)/a close "
        #expect(socket(in: line.split(separator: " ").map(String.init)) == "/a")
        #expect(socket(in: ["sallyport", "close"]) == nil)
    }

    @Test func withoutAnAgentNothingIsCompletedAndNothingSaid() throws {
        let found = try complete("close ", ["SALLYPORT_SOCKET": "/nonexistent/s"])
        #expect(found.output.isEmpty)
        #expect(found.errors.isEmpty)
    }

    /// What bash offers where TAB is pressed after `sallyport` and what was typed, a line each.
    private func complete(
        _ typed: String,
        _ environment: [String: String]
    ) throws -> ShellResult {
        let script = """
            source <("$1" --generate-completion-script bash)
            COMP_LINE="$1 $2" COMP_POINT=${#COMP_LINE}
            read -ra COMP_WORDS <<<"$COMP_LINE."
            last=${COMP_WORDS[-1]}
            COMP_WORDS[-1]=${last%.} COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _sallyport "$1" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
            for word in "${COMPREPLY[@]}"; do echo "${word% }"; done
            """
        let variables = environment.map { "\($0)=\($1)" }
        let program = try builtPrograms() + "/sallyport"
        return try shell(
            ["env", "-i"] + variables + ["/bin/bash", "-c", script, "bash", program, typed]
        )
    }
}

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
        let agent = try ScriptedAgent(["GET /v1/grants": GrantList(grants: [try grant("17.1")])])
        for (zone, time) in [("UTC", "12:42"), ("Asia/Kathmandu", "18:27"), ("EST5", "07:42")] {
            let run = try sallyport(["list"], ["SALLYPORT_SOCKET": agent.socket, "TZ": zone])
            #expect(run.output.contains("2026-12-01 \(time) ("))
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

    @Test(arguments: ["bash", "zsh", "fish"])
    func writesACompletionScript(shell: String) throws {
        let run = try sallyport(["--generate-completion-script", shell])
        #expect(run.status == 0)
        for word in ["status", "extend", "--ticket", "reload"] {
            #expect(run.output.contains(word.drop { shell == "fish" && $0 == "-" }))
        }
    }
}

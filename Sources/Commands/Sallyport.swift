import API
import ArgumentParser
import Linux
import Policy
import SystemPackage

/// The command line client of the agent.
public enum Sallyport {
    /// Runs one command line, given without the program's name, and prints what it has to say.
    ///
    /// Returns the status to exit with, one of `sysexits.h`.
    public static func run(_ arguments: [String]) -> Int32 {
        // The parent may have had the signal ignored; a reader that went away (`| head`) shall end
        // this program like any other.
        ThisProcess.onBrokenPipe(.standard)
        let outcome = outcome(of: arguments, in: .current) {
            try write($0, to: .standardOutput)
        }
        // Where standard error itself cannot be written, the status alone has to tell.
        try? write(outcome.errors, to: .standardError)
        if let continuation = outcome.continuation {
            do throws(SystemError) {
                try ThisProcess.become(continuation)
            } catch {
                let text = "sallyport: cannot run \(continuation[0]): \(error.errno.text)\n"
                try? write(text, to: .standardError)
                return ExitStatus.internalError.rawValue
            }
        }
        return outcome.status.rawValue
    }
}

extension Surroundings {
    /// Those of this process, now.
    static var current: Surroundings {
        Surroundings(
            environment: ThisProcess.environment,
            program: ThisProcess.program,
            subject: .local(uid: ThisProcess.userID),
            time: TimeTeller(
                now: Timestamp(milliseconds: SystemClock.wall.milliseconds),
                local: { LocalTime(secondsSince1970: $0.milliseconds / 1000) }
            )
        )
    }
}

/// The command `sallyport`.
struct RootCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sallyport",
        abstract: "Just-in-time access to this host's management ports.",
        discussion: """
            Managed ports are closed; ask for the one you need, from where you are, for as
            long as you need it. It closes by itself.

              sallyport open ssh --for 45m      let in where you are logged in from
              sallyport list                    what is open, and until when
              sallyport extend 17 --for 30m     more time for request 17
              sallyport close 17                close it now
              sallyport status                  the gate and the policies

            Exit status: 0 done, 64 usage, 65 invalid or outside policy, 69 the agent is
            not reachable, 70 internal error or an alarm of status, 77 not permitted.
            """,
        version: version,
        subcommands: [
            StatusCommand.self, OpenCommand.self, ExtendCommand.self, CloseCommand.self,
            ListCommand.self, PolicyCommands.self,
        ]
    )

    @OptionGroup var shared: SharedOptions
}

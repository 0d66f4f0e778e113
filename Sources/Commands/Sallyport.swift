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
        // Where standard error itself cannot be written, the status alone has to tell.
        let tell = { (lines: [String]) in _ = try? write(printed(lines), to: .standardError) }
        let status = status(of: arguments, in: .current, tell: tell) {
            try write($0, to: .standardOutput)
        }
        return status.rawValue
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
                now: wallClock(),
                local: { LocalTime(secondsSince1970: $0.milliseconds / 1000) }
            ),
            now: wallClock,
            screen: Screen(
                isTerminal: Terminal.isOpen(on: FileDescriptor.standardOutput.rawValue),
                columns: Terminal.columns(of: FileDescriptor.standardOutput.rawValue),
                ThisProcess.environment
            ),
            become: { try ThisProcess.become($0) },
            confirm: isInteractive ? askForYes : nil
        )
    }

    private static var isInteractive: Bool {
        [FileDescriptor.standardInput, .standardError].allSatisfy {
            Terminal.isOpen(on: $0.rawValue)
        }
    }
}

@Sendable private func wallClock() -> Timestamp {
    Timestamp(milliseconds: SystemClock.wall.milliseconds)
}

/// Asks on the terminal; everything but a yes is a no.
@Sendable private func askForYes(_ question: String) -> Bool {
    guard (try? write("\(question) [y/N] ", to: .standardError)) != nil else { return false }
    return ["y", "yes"].contains(readLine()?.lowercased())
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
              sallyport can-i open ssh          whether that would be allowed
              sallyport list                    what is open, and until when
              sallyport extend 17 --for 30m     more time for request 17
              sallyport close 17                close it now
              sallyport pending                 what waits for approval
              sallyport log --since 7d          what happened, and who did it
              sallyport status                  what you may do, the gate, the policies
              sallyport discover                which ports are open, and not managed
              sallyport doctor                  what would defeat the gate on this host

            Exit status: 0 done, 64 usage, 65 invalid or outside policy, 69 the agent is
            not reachable, 70 internal error, an alarm of status or an error that doctor
            found, 75 waits for approval or for its start, 77 not permitted or denied.
            """,
        version: version,
        subcommands: [
            StatusCommand.self, OpenCommand.self, CanICommand.self, ExtendCommand.self,
            CloseCommand.self, ListCommand.self, PendingCommand.self, ApproveCommand.self,
            DenyCommand.self, CancelCommand.self, LogCommand.self, PolicyCommands.self,
            DiscoverCommand.self, DoctorCommand.self,
        ]
    )

    @OptionGroup var shared: SharedOptions
}

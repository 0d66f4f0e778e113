import TestSupport

/// Runs the built `sallyport` to its end with exactly this environment, by way of the command
/// `through` where there is one.
func sallyport(
    _ arguments: [String],
    _ environment: [String: String] = [:],
    through: [String] = []
) throws -> ShellResult {
    let variables = environment.map { "\($0)=\($1)" }
    return try shell(
        ["env", "-i"] + variables + through + [builtPrograms() + "/sallyport"] + arguments
    )
}

/// Runs the built `sallyport` on a terminal with so many columns, at which `typed` is typed.
///
/// Both outputs are the terminal's, and come as standard output.
func sallyportOnTerminal(
    _ arguments: [String],
    _ environment: [String: String] = [:],
    columns: Int = 100,
    typing typed: String = ""
) throws -> ShellResult {
    let variables = environment.map { "\($0)=\($1)" } + ["PATH=/usr/bin:/bin", "SHELL=/bin/sh"]
    let program = try ([builtPrograms() + "/sallyport"] + arguments).map { "'\($0)'" }
    let line = "stty cols \(columns); exec \(program.joined(separator: " "))"
    return try shell(
        ["env", "-i"] + variables + ["script", "-qec", line, "/dev/null"],
        input: typed
    )
}

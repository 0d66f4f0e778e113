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

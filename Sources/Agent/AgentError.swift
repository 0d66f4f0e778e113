/// Why the agent cannot start, for the administrator.
public struct AgentError: Error, CustomStringConvertible {
    /// The whole message.
    public let description: String

    /// Makes an error of its message.
    public init(_ description: String) { self.description = description }
}

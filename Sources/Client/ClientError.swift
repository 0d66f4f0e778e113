public import API

/// Why the agent did not do what it was asked.
public enum ClientError: Error, Hashable, Sendable, CustomStringConvertible {
    /// There was no answer: the agent is not there, may not be reached, or went away.
    case unreachable(socket: String, reason: String)
    /// The caller may not use the socket.
    case forbidden(socket: String)
    /// The agent refused.
    case problem(Problem)
    /// The agent did what it was asked, but its answer cannot be read.
    case answerUnreadable
    /// The agent answered something that this client does not understand.
    case protocolError(String)

    /// What happened and what to do about it, in one line.
    public var description: String {
        switch self {
        case .unreachable(let socket, let reason):
            "cannot reach the agent at \(socket): \(reason)"
        case .forbidden(let socket):
            """
            cannot reach the agent at \(socket): permission denied; every user may connect to the \
            agent, so this is another socket, or somebody changed its mode or a folder's
            """
        case .problem(let problem): problem.detail
        case .answerUnreadable:
            "done, but the agent's answer cannot be read; are client and agent of the same version?"
        case .protocolError(let text): text
        }
    }
}

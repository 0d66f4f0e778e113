import Linux

/// What one client may cost the agent.
public struct Limits: Hashable, Sendable {
    /// The longest body that is read, in bytes: 4,096 openings of the longest form are less.
    public var bodyBytes = 64 * 1024
    /// The longest request line and header section, in bytes: room for a 4 KiB cookie of a proxy,
    /// and small enough to hold one per connection.
    public var headerBytes = 16 * 1024
    /// The most header fields: browsers send about 20.
    public var headerFields = 64
    /// How long a client may take to send one whole request.
    ///
    /// Counted from the accept or from the answer before, so this is the idle timeout too. A person
    /// typing into a raw socket can keep up; a client that sends a byte at a time is closed.
    public var requestTimeout: Duration = .seconds(30)
    /// Requests of one user other than root that are answered at a time; the user's others wait.
    public var requestsPerUser = 4
    /// How often a user other than root may connect in a second: far more often than programs can
    /// be started, and few enough to be set up in a fraction of that second.
    public var connectsPerSecond = 1024
    /// Connections of one user: 1,000 that idle are no harm; a quarter of what the process may
    /// have where that is less.
    public var connectionsPerUser: Int
    /// Connections of all users but root, whose own come on top of it.
    public var connections: Int
    /// How long requests in flight may take to finish when the server stops: half of what
    /// systemd's shortest common `TimeoutStopSec`, 10 s, allows for the whole agent.
    public var stopTimeout: Duration = .seconds(5)

    /// Descriptors that are left to the rest of the agent.
    private static let reserve = 128

    /// The limits the agent runs with: as many connections as the process' limit of open files
    /// (getrlimit(2)) has room for at this moment.
    public init() {
        let room = max(ThisProcess.openFileLimit - Self.reserve, 4)
        connectionsPerUser = min(1024, room / 4)
        connections = min(8192, room - connectionsPerUser)
    }
}

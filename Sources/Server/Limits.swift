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
    /// Connections of one user: several times what 64 parallel clients need.
    public var connectionsPerUser = 192
    /// Connections of all users but root, whose own come on top of it: with `connectionsPerUser`,
    /// 896 of the 1,024 descriptors that are systemd's default, which leaves 128 to the rest of
    /// the agent.
    public var connections = 704
    /// How long requests in flight may take to finish when the server stops: half of what
    /// systemd's shortest common `TimeoutStopSec`, 10 s, allows for the whole agent.
    public var stopTimeout: Duration = .seconds(5)

    /// The limits the agent runs with.
    public init() {}
}

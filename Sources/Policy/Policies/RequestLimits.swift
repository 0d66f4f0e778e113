/// How much requests may ask for, whatever the policies say.
///
/// Each bounds what a single caller can cost the agent and the kernel.
public enum RequestLimits {
    static let targets = 64
    static let sources = 256
    /// Grants of one request: targets times sources.
    public static let grants = 1_024
    /// Ports of one grant: each is an element of its own in the kernel.
    static let portsPerGrant = 1_024
    /// Elements of one request: ports times protocols times sources.
    static let elements = 4_096
    /// Requests of one person that wait.
    public static let waitingPerPerson = 20
    /// Requests that wait in all.
    public static let waiting = 1_000
    /// How far ahead a start may lie, and so the longest that a request waits.
    public static let furthestStart = Duration.seconds(30 * 86_400)
    static let reasonCharacters = 1_000
    static let ticketCharacters = 128
    /// The longest UTF-8 form of a character that is counted on: one character can be of any size.
    static let bytesPerCharacter = 4
}

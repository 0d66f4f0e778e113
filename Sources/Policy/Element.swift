/// What an element of the gate's sets is found by: one port, open to one range.
public struct ElementKey: Hashable, Sendable {
    /// The range that is let in.
    public var source: CIDR
    /// The protocol.
    public var transport: Transport
    /// The port.
    public var port: UInt16

    /// Takes the three parts of a key.
    public init(source: CIDR, transport: Transport, port: UInt16) {
        self.source = source
        self.transport = transport
        self.port = port
    }
}

/// What has to change in the kernel for one element.
public struct ElementChange: Hashable, Sendable {
    /// The element.
    public var key: ElementKey
    /// Its end before, in milliseconds of `CLOCK_BOOTTIME`; nil where it was not there.
    public var before: Int64?
    /// Its end from now on; nil where it has to go.
    public var after: Int64?
    /// Whose it is, `17.1 alice`: the grant that holds it open longest, of equals the newest;
    /// empty where it has to go.
    public var label: String

    /// Takes what an element was and is to be.
    public init(key: ElementKey, before: Int64?, after: Int64?, label: String) {
        self.key = key
        self.before = before
        self.after = after
        self.label = label
    }
}

/// One change of the live grants.
public enum GrantChange: Hashable, Sendable {
    /// Adds a grant; one that is live under the same id is replaced.
    case open(Grant)
    /// Takes a grant away; one that is not live is passed over.
    case close(Grant.ID)
    /// Moves the end of a grant; one that is not live is passed over.
    case setEnd(Grant.ID, expiresAt: Timestamp, deadline: Int64)
}

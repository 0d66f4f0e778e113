public import Policy

/// The answer of `GET /v1/refused`: attempts on managed ports that the gate refused.
public struct RefusedList: Codable, Hashable, Sendable {
    /// Since when they are counted.
    public var since: Timestamp
    /// Why none can be told of; absent where they can.
    public var fault: String?
    /// By source, port and destination, the latest first.
    public var refused: [RefusedDocument]

    /// Takes the parts.
    public init(since: Timestamp, fault: String?, refused: [RefusedDocument]) {
        self.since = since
        self.fault = fault
        self.refused = refused
    }
}

/// Refused attempts of one source on one port.
public struct RefusedDocument: Codable, Hashable, Sendable {
    /// Where they came from: an address, or a range where there were too many.
    public var source: CIDR
    /// The port; all ports of a protocol where there were far too many.
    public var port: PortRange
    /// Where they went; absent for any.
    public var destination: IPAddress?
    /// The policy that manages the port; absent where none does any more.
    public var policy: String?
    /// When the first one was seen.
    public var firstAt: Timestamp
    /// When the last one was seen.
    public var lastAt: Timestamp
    /// How many there were at least: packets that would have begun a connection, those that were
    /// sent again included.
    public var attempts: UInt64

    /// Takes what was counted.
    public init(_ counted: RefusedAttempts, policy: String?) {
        source = counted.source
        port = counted.port
        destination = counted.destination
        self.policy = policy
        firstAt = counted.firstAt
        lastAt = counted.lastAt
        attempts = counted.count
    }
}

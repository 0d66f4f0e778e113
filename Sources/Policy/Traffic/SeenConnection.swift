/// A connection as connection tracking tells of it, before any translation of addresses.
public struct SeenConnection: Hashable, Sendable {
    /// Whence.
    public var source: IPAddress
    /// The port there.
    public var sourcePort: UInt16
    /// Whither.
    public var destination: IPAddress
    /// Its protocol.
    public var transport: Transport
    /// The port that it goes to.
    public var port: UInt16
    /// The kernel's number, which tells it from later ones of the same addresses.
    public var number: UInt32

    /// Takes the parts.
    public init(
        source: IPAddress,
        sourcePort: UInt16,
        destination: IPAddress,
        transport: Transport,
        port: UInt16,
        number: UInt32
    ) {
        self.source = source
        self.sourcePort = sourcePort
        self.destination = destination
        self.transport = transport
        self.port = port
        self.number = number
    }
}

/// What becomes of a connection.
public enum ConnectionNews: Hashable, Sendable {
    /// Its first packet was let in, to a host behind this machine or to this machine itself.
    case began(SeenConnection, isFar: Bool)
    /// Both ends, or one, ended it; the kernel remembers it for a while.
    case closed(SeenConnection)
    /// The kernel forgets it: what went in and out, where that is counted.
    case forgotten(SeenConnection, received: Traffic?, sent: Traffic?)
    /// There was more than could be heard.
    case missed
}

/// A connection that a grant let in.
public struct LetInConnection: Hashable, Sendable {
    /// The grant, as it was then.
    public var grant: Grant
    /// When it began, or was heard of.
    public var since: Moment
    /// How long it took; nil while it goes on.
    public var duration: Duration?
}

/// The connections that live and past grants let in and that go on, so many and no more.
public struct ConnectionBook: Sendable {
    /// How many are kept; of more, the ends are not told.
    public static let most = 8_192
    /// Rows of the audit trail in a minute: of one grant, and of all.
    public static let mostRowsOfGrant = 10
    static let mostRows = 60

    private var open: [SeenConnection: LetInConnection] = [:]
    private var minute: Int64 = 0
    private var rows: [Grant.ID: Int] = [:]
    private var rowCount = 0
    /// Rows that were left out and not told of.
    private var left = 0

    /// A book without connections.
    public init() {}

    /// How many go on.
    public var count: Int { open.count }

    /// Takes note of a connection that a grant let in.
    public mutating func begin(_ connection: SeenConnection, _ grant: Grant, at now: Moment) {
        // More are heard of than end only where ends were missed.
        if open.count >= Self.most { open = [:] }
        open[connection] = LetInConnection(grant: grant, since: now)
    }

    /// Takes note that it was ended.
    public mutating func close(_ connection: SeenConnection, at now: Moment) {
        guard let known = open[connection], known.duration == nil else { return }
        open[connection]?.duration = now.boot - known.since.boot
    }

    /// Takes one out that the kernel forgets; nil for one that is not known.
    public mutating func takeOut(_ connection: SeenConnection, at now: Moment) -> LetInConnection? {
        close(connection, at: now)
        return open.removeValue(forKey: connection)
    }

    /// Whether the audit trail has room for a row about a connection of a grant now; and how many
    /// rows were left out before it.
    public mutating func takeRow(of grant: Grant.ID, at now: BootTime) -> (left: Int, isTold: Bool)
    {
        if now.milliseconds / 60_000 != minute {
            minute = now.milliseconds / 60_000
            (rows, rowCount) = ([:], 0)
        }
        guard rowCount < Self.mostRows, rows[grant, default: 0] < Self.mostRowsOfGrant else {
            left += 1
            return (0, false)
        }
        rowCount += 1
        rows[grant, default: 0] += 1
        defer { left = 0 }
        return (left, true)
    }
}

extension Plan {
    /// The live grant that lets a connection in, to a host behind this machine or to this machine
    /// itself; of several the newest, nil where none does.
    public func grant(lettingIn connection: SeenConnection, isFar: Bool) -> Grant? {
        for length in (0...connection.source.family.bits).reversed() {
            guard let source = CIDR(connection.source, prefixLength: length) else { continue }
            let key = ElementKey(
                source: source,
                transport: connection.transport,
                port: connection.port,
                host: isFar ? connection.destination : nil
            )
            if let id = holders(of: key).max() { return self[id] }
        }
        return nil
    }
}

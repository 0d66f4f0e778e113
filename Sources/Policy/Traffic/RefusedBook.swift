/// One packet that would have begun a connection to a managed port, and was dropped.
public struct RefusedAttempt: Hashable, Sendable {
    /// Where it came from, as it said.
    public var source: IPAddress
    /// Where it went.
    public var destination: IPAddress
    /// Its protocol.
    public var transport: Transport
    /// The port.
    public var port: UInt16

    /// Takes the parts.
    public init(source: IPAddress, destination: IPAddress, transport: Transport, port: UInt16) {
        self.source = source
        self.destination = destination
        self.transport = transport
        self.port = port
    }
}

/// Refused attempts of one source, or of a range, on one port of one destination.
public struct RefusedAttempts: Hashable, Sendable {
    /// Whence: an address, or a range where there were too many to tell them apart.
    public var source: CIDR
    /// The port; all of a protocol where there were far too many.
    public var port: PortRange
    /// Whither; nil for any.
    public var destination: IPAddress?
    /// When the first one was seen.
    public var firstAt: Timestamp
    /// When the last one was seen.
    public var lastAt: Timestamp
    /// How many there were at least: the kernel tells of so many in a second and no more.
    public var count: UInt64
}

/// What was refused, from where and on which port, in so much memory and no more.
///
/// Sources are told apart as long as they are few. Of more, the ranges that they lie in are; whoever
/// invents sources fills a few hundred kilobytes and then one line.
public struct RefusedBook: Sendable {
    /// Sources and ports that are told apart.
    public static let mostSources = 2_048
    /// Ranges of sources, each with a port.
    public static let mostNetworks = 512
    /// What was not seen for so long makes room for what is new.
    public static let memory = Duration.seconds(24 * 3_600)
    /// How often it is looked for such.
    private static let pause = Duration.seconds(60)
    /// How long the audit trail is not told again of the same source and port.
    private static let silence = Duration.seconds(3_600)
    /// How many rows of the audit trail there are at a time.
    static let mostRows = 10

    private struct Place: Hashable {
        var source: CIDR
        var destination: IPAddress?
        var port: PortRange
    }

    private struct Entry {
        var firstAt: Timestamp
        var lastAt: Timestamp
        var count: UInt64 = 0
        /// How many of them the audit trail was told of.
        var told: UInt64 = 0
        var toldAt: BootTime?
    }

    private var sources: [Place: Entry] = [:]
    private var networks: [Place: Entry] = [:]
    /// By family and protocol: there are no more than these.
    private var rest: [Place: Entry] = [:]
    private var clearedAt: BootTime?
    private var roundAt: BootTime?
    /// How many attempts were noted.
    public private(set) var count: UInt64 = 0

    /// A book without attempts.
    public init() {}

    /// Takes note of an attempt.
    public mutating func note(_ attempt: RefusedAttempt, at now: Moment) {
        let portProtocol = attempt.transport.portProtocol
        guard let port = PortRange(attempt.port, attempt.port, portProtocol) else { return }
        count += 1
        let place = Place(
            source: CIDR(attempt.source),
            destination: attempt.destination,
            port: port
        )
        if sources[place] == nil, sources.count >= Self.mostSources { makeRoom(at: now) }
        if sources[place] != nil || sources.count < Self.mostSources {
            return Self.add(place, to: &sources, at: now.wall)
        }
        let isIPv4 = attempt.source.family == .ipv4
        let network = CIDR(attempt.source, prefixLength: isIPv4 ? 24 : 48)
        let wider = Place(source: network ?? place.source, port: port)
        if networks[wider] != nil || networks.count < Self.mostNetworks {
            return Self.add(wider, to: &networks, at: now.wall)
        }
        guard let all = CIDR(attempt.source, prefixLength: 0),
            let ports = PortRange(1, .max, portProtocol)
        else { return }
        Self.add(Place(source: all, port: ports), to: &rest, at: now.wall)
    }

    private static func add(_ place: Place, to book: inout [Place: Entry], at now: Timestamp) {
        book[place, default: Entry(firstAt: now, lastAt: now)].count += 1
        book[place]?.lastAt = now
    }

    /// Forgets what was not seen for long.
    private mutating func makeRoom(at now: Moment) {
        guard clearedAt.map({ now.boot - $0 >= Self.pause }) ?? true else { return }
        clearedAt = now.boot
        let limit = now.wall + (.zero - Self.memory)
        sources = sources.filter { $0.value.lastAt >= limit }
        networks = networks.filter { $0.value.lastAt >= limit }
        rest = rest.filter { $0.value.lastAt >= limit }
    }

    /// What was seen since an instant, the latest first.
    public func attempts(since instant: Timestamp? = nil) -> [RefusedAttempts] {
        [sources, networks, rest].flatMap { book in
            book.filter { entry in instant.map { entry.value.lastAt >= $0 } ?? true }
                .map { Self.told($0, $1, $1.count) }
        }.sorted { ($1.lastAt, $0.source, $0.port) < ($0.lastAt, $1.source, $1.port) }
    }

    /// Whether the audit trail may be told of something now: once a minute, where there is news.
    public func isRoundDue(at now: BootTime) -> Bool {
        roundAt.map { now - $0 >= Self.pause } ?? true
    }

    /// What the audit trail is to be told now: of each source and port the first time at once, and
    /// then once an hour.
    ///
    /// - Parameter now: When.
    /// - Returns: Those with the most attempts, with how many there were that were not told; and how
    ///   many others were left out, with how many attempts: those are not told later.
    public mutating func takeNews(
        at now: BootTime
    ) -> (news: [RefusedAttempts], left: (sources: Int, attempts: UInt64)) {
        roundAt = now
        var news: [RefusedAttempts] = []
        for book in [\Self.sources, \Self.networks, \Self.rest] {
            for (place, entry) in self[keyPath: book] where entry.count > entry.told {
                guard entry.toldAt.map({ now - $0 >= Self.silence }) ?? true else { continue }
                news.append(Self.told(place, entry, entry.count - entry.told))
                self[keyPath: book][place]?.told = entry.count
                self[keyPath: book][place]?.toldAt = now
            }
        }
        news.sort { ($1.count, $0.source, $0.port) < ($0.count, $1.source, $1.port) }
        let left = news.dropFirst(Self.mostRows)
        return (
            Array(news.prefix(Self.mostRows)),
            (left.count, left.reduce(0) { $0 + $1.count })
        )
    }

    private static func told(_ place: Place, _ entry: Entry, _ count: UInt64) -> RefusedAttempts {
        RefusedAttempts(
            source: place.source,
            port: place.port,
            destination: place.destination,
            firstAt: entry.firstAt,
            lastAt: entry.lastAt,
            count: count
        )
    }
}

import Netlink
public import Policy

/// A session, and what the kernel knows it by.
public struct FoundSession: Sendable {
    /// The session.
    public var session: Session
    /// What tells it from every other, also from a later one of the same numbers.
    public var identity: String
    /// The socket of this host that serves it; nil where none does for it alone.
    var socket: InternetSocket?
    /// What conntrack has of it; nil where it has nothing.
    var entry: ConntrackEntry?
    /// The flows that it comes in as: before translation and, where it is served here, behind it.
    var arrivals: [Flow] = []

    /// A session of which the kernel need not know.
    public init(_ session: Session, identity: String) {
        self.session = session
        self.identity = identity
    }
}

/// Makes sessions of what sockets and conntrack know; pure.
struct SessionTable {
    var sockets: [InternetSocket]
    var entries: [ConntrackEntry]
    /// The TCP ports that something listens on.
    var listening: Set<UInt16>
    /// This host's addresses.
    var own: Set<[UInt8]>
    /// The flows that are earlier than the gate.
    var earlier: Set<Flow>
    /// Whether the gate judges what comes in as this.
    var isJudged: (Flow) -> Bool
    /// Whether that goes to a host behind this machine that a policy names.
    var isFar: (Flow) -> Bool

    func sessions() -> [FoundSession] {
        var found: [FoundSession] = []
        // By what comes in behind all translation.
        let entries = entries.filter(\.isLive)
        let delivered = Dictionary(entries.map { ($0.reply.reversed, $0) }) { first, _ in first }
        let begun = Set(entries.map(\.original))
        let bothEnds = Set(sockets.map(\.incoming))
        var served: Set<Flow> = []
        for socket in sockets {
            let incoming = socket.incoming
            // Where both ends are of this host nothing came in.
            guard !bothEnds.contains(incoming.reversed) else { continue }
            let entry = delivered[incoming]
            let arrivals = Set([entry?.original ?? incoming, incoming])
            let isOwn =
                begun.contains(incoming.reversed) && !listens(to: incoming)
                && earlier.isDisjoint(with: arrivals)
            guard !isOwn else { continue }
            if let entry { served.insert(entry.original) }
            let judged = [entry?.original ?? incoming, incoming].first(where: isJudged)
            guard let judged else { continue }
            var session = FoundSession(arriving: judged, behind: incoming, isServedHere: true)
            session?.session.isFar = isFar(judged)
            session?.socket = socket
            session?.entry = entry
            session?.arrivals = Array(arrivals)
            session?.identity += " socket \(socket.cookie)"
            session.map { found.append($0) }
        }
        for entry in entries where !served.contains(entry.original) {
            // What was picked up on its way looks as if the service had begun it.
            let isReversed = earlier.contains(entry.original.reversed)
            let (original, reply) =
                isReversed
                ? (entry.original.reversed, entry.reply.reversed) : (entry.original, entry.reply)
            let isServedHere = own.contains(reply.source)
            // Of TCP each session has a socket; what this host itself begins does not come in.
            guard isJudged(original), !own.contains(original.source),
                !isServedHere || original.transport != Transport.tcp.rawValue
            else { continue }
            var session = FoundSession(
                arriving: original,
                behind: reply.reversed,
                isServedHere: isServedHere
            )
            session?.session.isFar = isFar(original)
            session?.entry = entry
            session?.arrivals = [original]
            session?.identity += " conntrack \(entry.id)"
            session.map { found.append($0) }
        }
        return found.map { found in
            var found = found
            found.session.isEarlier = !earlier.isDisjoint(with: found.arrivals)
            found.session.startedAt = found.entry?.startedAt.map {
                Timestamp(milliseconds: Int64($0 / 1_000_000))
            }
            if let there = found.entry?.originalCounters, let back = found.entry?.replyCounters {
                found.session.traffic = .init(
                    packets: there.packets + back.packets,
                    bytes: there.bytes + back.bytes
                )
            }
            return found
        }
    }

    private func listens(to flow: Flow) -> Bool {
        flow.transport == Transport.tcp.rawValue && listening.contains(flow.destinationPort)
    }
}

extension FoundSession {
    fileprivate init?(arriving flow: Flow, behind delivered: Flow, isServedHere: Bool) {
        guard var session = Session(arriving: flow),
            let server = IPAddress(bytes: delivered.destination)
        else { return nil }
        session.server = HostPort(address: server, port: delivered.destinationPort)
        session.isServedHere = isServedHere
        let transport = session.transport.portProtocol
        self.init(
            session,
            identity: "\(transport) \(session.client) \(session.destination)"
        )
    }
}

extension Session {
    /// A session by what comes in for it; nil for a protocol that is not managed.
    init?(arriving flow: Flow, isFar: Bool = false) {
        guard let transport = Transport(rawValue: flow.transport),
            let client = IPAddress(bytes: flow.source),
            let destination = IPAddress(bytes: flow.destination)
        else { return nil }
        self.init(
            transport: transport,
            client: HostPort(address: client, port: flow.sourcePort),
            destination: HostPort(address: destination, port: flow.destinationPort),
            isFar: isFar
        )
    }
}

extension ConntrackEntry {
    /// Whether something may still come in for it.
    var isLive: Bool {
        switch tcpState {
        case nil: true
        case .synReceived, .established, .finWait, .closeWait, .lastAck: true
        case .some(.none), .synSent, .timeWait, .close, .synSent2: false
        }
    }
}

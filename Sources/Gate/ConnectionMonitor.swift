import Netlink
public import Policy
import Synchronization

/// Hears of connections to managed ports: when they begin and end.
public final class ConnectionMonitor: Sendable {
    private let gate: Gate
    private let events: Mutex<ConntrackEvents>

    /// Becomes readable when there is something to hear.
    public let descriptor: Int32

    /// Listens in the network namespace of the calling thread, to the ports that a gate manages, now
    /// and whenever it is armed.
    ///
    /// - Throws: `GateError`, which says why nothing can be heard.
    public init(of gate: Gate) throws(GateError) {
        do throws(NetlinkError) {
            let events = try ConntrackEvents.open()
            descriptor = events.fileDescriptor
            self.gate = gate
            self.events = Mutex(events)
        } catch {
            throw GateError("cannot hear of connections: \(error)")
        }
        gate.whenArmed { [weak self] in self?.listen(to: $0) }
    }

    private func listen(to ports: [ManagedPort]) {
        let ranges = ports.map { $0.range.lower...$0.range.upper }
        // Where the kernel refuses it, what was managed before is heard of.
        events.withLock { events in try? events.listen(to: ranges) }
    }

    /// Reads what there is to hear, or a part of it.
    public func drain() -> [ConnectionNews] {
        var news: [ConnectionNews] = []
        let managed = gate.withState(\.managed)
        // Read once, and only where something began.
        var own: Set<[UInt8]>?
        // An unreadable message is of a connection that is not told of.
        try? events.withLock { (events) throws(NetlinkError) in
            try events.drain { event in
                switch event {
                case .began(let entry):
                    let flow = entry.original
                    guard let seen = SeenConnection(entry) else { break }
                    let isFar = managed.isFar(flow)
                    if !isFar, own == nil { own = try? gate.addresses.list() }
                    // What passes through to other hosts is not the gate's.
                    guard
                        isFar || own?.contains(flow.destination) != false
                            || (try? gate.addresses.isDelivered(flow.destination)) != false
                    else { break }
                    news.append(.began(seen, isFar: isFar))
                case .changed(let entry):
                    let isOver = entry.tcpState == .timeWait || entry.tcpState == .close
                    if isOver, let seen = SeenConnection(entry) { news.append(.closed(seen)) }
                case .ended(let entry):
                    guard let seen = SeenConnection(entry) else { break }
                    news.append(
                        .forgotten(
                            seen,
                            received: entry.originalCounters.map(Traffic.init),
                            sent: entry.replyCounters.map(Traffic.init)
                        )
                    )
                case .missed: news.append(.missed)
                }
            }
        }
        return news
    }
}

extension SeenConnection {
    fileprivate init?(_ entry: ConntrackEntry) {
        let flow = entry.original
        guard let transport = Transport(rawValue: flow.transport),
            let source = IPAddress(bytes: flow.source),
            let destination = IPAddress(bytes: flow.destination)
        else { return nil }
        self.init(
            source: source,
            sourcePort: flow.sourcePort,
            destination: destination,
            transport: transport,
            port: flow.destinationPort,
            number: entry.id
        )
    }
}

extension Traffic {
    fileprivate init(_ counters: ConntrackEntry.Counters) {
        self.init(packets: counters.packets, bytes: counters.bytes)
    }
}

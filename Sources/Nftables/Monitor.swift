public import Netlink

/// Watches the ruleset of the network namespace of the thread that opened it.
///
/// Wait in an event loop until ``fileDescriptor`` is readable, then ``drain()``. The end of an
/// element's time is no change: the kernel sends no event for it.
public struct Monitor: ~Copyable {
    /// What was noticed.
    public enum Change: Hashable, Sendable {
        /// Somebody committed a transaction.
        case generation(Generation)
        /// Events were lost (`ENOBUFS`): read the ruleset again.
        case missed
    }

    /// A commit and its author.
    public struct Generation: Hashable, Sendable {
        /// The generation the ruleset is in since; see ``Connection/generation()``.
        public var id: UInt32
        /// Whose connection committed; see ``Connection/portID``.
        public var portID: UInt32
        /// The process that committed.
        public var processID: UInt32
        /// The name of its program, at most 15 bytes.
        public var processName: String
    }

    private var socket: NetlinkSocket

    /// Subscribes to the changes of the calling thread's network namespace.
    public init() throws(NetlinkError) {
        let socket = try NetlinkSocket.open(.netfilter)
        // Each object of a commit is an event of 100 bytes or more; the default holds few.
        try socket.growReceiveBuffer(to: 1 << 20)
        try socket.join(group: Kernel.eventGroup)
        self.socket = socket
    }

    /// Readable when there are changes; it stays the monitor's own.
    public var fileDescriptor: CInt { socket.fileDescriptor }

    /// Takes all changes that have come so far, without waiting.
    public mutating func drain() throws(NetlinkError) -> [Change] {
        var changes: [Change] = []
        while true {
            do {
                let received: Void? = try socket.receive(waiting: false) {
                    (datagram) throws(NetlinkError) in
                    var cursor = ReplyCursor()
                    while let reply = try cursor.next(in: datagram) {
                        if let generation = try Generation(reply, in: datagram) {
                            changes.append(.generation(generation))
                        }
                    }
                }
                if received == nil { return changes }
            } catch .outcomeUnknown {
                // The kernel reports the loss once and goes on with what comes after it.
                changes.append(.missed)
            }
        }
    }
}

extension Monitor.Generation {
    /// Reads the event of a commit; nil for other events.
    package init?(_ reply: Reply, in datagram: RawSpan) throws(NetlinkError) {
        guard case .object(let type, let body) = reply.content,
            type == Kernel.Message.full(Kernel.Message.newGeneration), body.count >= 4
        else { return nil }
        self.init(id: 0, portID: reply.portID, processID: 0, processName: "")
        var cursor = AttributeCursor(body.lowerBound + 4..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            switch attribute.type {
            case Kernel.GenerationAttribute.id: id = try datagram.bigEndian32(attribute)
            case Kernel.GenerationAttribute.processID:
                processID = try datagram.bigEndian32(attribute)
            case Kernel.GenerationAttribute.processName:
                processName = try datagram.string(in: attribute.payload)
            default: break
            }
        }
    }
}

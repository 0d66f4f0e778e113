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
        /// Somebody changed something in the table that is watched, in words: `deleted a rule of
        /// judge`. The generation of the commit follows.
        case object(String)
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

    /// The words for the whole table.
    public static let tableDeleted = "deleted the table"

    private var socket: NetlinkSocket
    private let table: Table?

    /// Subscribes to the changes of the calling thread's network namespace.
    ///
    /// - Parameters:
    ///   - table: Of which to tell what was changed in it; nil: of none.
    ///   - port: Whose changes are not told of, and cannot make events be lost; nil: nobody's.
    /// - Throws: `NetlinkError` where there is no such socket.
    public init(watching table: Table? = nil, ignoring port: UInt32? = nil) throws(NetlinkError) {
        let socket = try NetlinkSocket.open(.netfilter)
        // Each object of a commit is an event of 100 bytes or more; the default holds few.
        try socket.growReceiveBuffer(to: 1 << 20)
        if let port { try socket.ignore(port: port) }
        try socket.join(group: Kernel.eventGroup)
        self.socket = socket
        self.table = table
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
                        } else if let table, let text = try table.change(reply, in: datagram) {
                            // A flood of elements is one change.
                            if changes.last != .object(text) { changes.append(.object(text)) }
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

extension Table {
    /// What an event tells was changed in this table, in words; nil for another's.
    fileprivate func change(
        _ reply: Reply,
        in datagram: RawSpan
    ) throws(NetlinkError) -> String? {
        guard case .object(let type, let body) = reply.content, body.count >= 4,
            try datagram.uint8(at: body.lowerBound) == family.rawValue
        else { return nil }
        // The first attribute of every object names its table, the second of most what is around it.
        var names: [Int: String] = [:]
        var cursor = AttributeCursor(body.lowerBound + 4..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            if attribute.type == 1 || attribute.type == 2 || attribute.type == 3 {
                names[attribute.type] = try? datagram.string(in: attribute.payload)
            }
        }
        guard names[1] == name else { return nil }
        func around(_ attribute: Int) -> String { names[attribute].map { " \($0)" } ?? "" }
        return switch type {
        case Kernel.Message.full(Kernel.Message.newTable): "changed the table"
        case Kernel.Message.full(Kernel.Message.deleteTable): Monitor.tableDeleted
        case Kernel.Message.full(Kernel.Message.newChain): "added or changed the chain\(around(3))"
        case Kernel.Message.full(Kernel.Message.deleteChain): "deleted the chain\(around(3))"
        case Kernel.Message.full(Kernel.Message.newRule): "added a rule to\(around(2))"
        case Kernel.Message.full(Kernel.Message.deleteRule): "deleted a rule of\(around(2))"
        case Kernel.Message.full(Kernel.Message.newSet): "added the set\(around(2))"
        case Kernel.Message.full(Kernel.Message.deleteSet): "deleted the set\(around(2))"
        case Kernel.Message.full(Kernel.Message.newElement): "added an element to\(around(2))"
        case Kernel.Message.full(Kernel.Message.deleteElement): "deleted an element of\(around(2))"
        default: "changed something in the table"
        }
    }
}

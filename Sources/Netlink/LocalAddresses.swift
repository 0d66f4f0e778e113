internal import Synchronization

/// The addresses of the network namespace of the thread that made it (rtnetlink(7)).
public final class LocalAddresses: Sendable {
    private let socket: Mutex<NetlinkSocket>

    /// Asks the kernel from now on.
    public init() throws(NetlinkError) { socket = Mutex(try NetlinkSocket.open(.route)) }

    /// The addresses of all devices, 4 or 16 bytes each.
    public func list() throws(NetlinkError) -> Set<[UInt8]> {
        var found: Set<[UInt8]> = []
        try socket.withLock { (socket) throws(NetlinkError) in
            try socket.forEachAddress { (_, address) in found.insert(address.bytes) }
        }
        return found
    }

    /// Whether packets to an address of 4 or 16 bytes are delivered here, also where no device has it.
    public func isDelivered(_ address: [UInt8]) throws(NetlinkError) -> Bool {
        try socket.withLock { (socket) throws(NetlinkError) in
            try socket.route(to: address) == .here
        }
    }
}

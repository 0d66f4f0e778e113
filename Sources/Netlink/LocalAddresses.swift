internal import CLinux
internal import Glibc
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
            try socket.ask(
                UInt16(RTM_GETADDR),
                flags: NLM_F_DUMP,
                MessageContent(ifaddrmsg()),
                "list addresses"
            ) { (datagram, body) throws(NetlinkError) in
                let attributes = body.dropFirst(MemoryLayout<ifaddrmsg>.size)
                var (address, local): ([UInt8]?, [UInt8]?)
                try datagram.forEachAttribute(of: attributes) { (attribute) throws(NetlinkError) in
                    // Of a point-to-point device the first is the other end's.
                    switch attribute.type {
                    case Int(IFA_ADDRESS): address = try datagram.bytes(in: attribute.payload)
                    case Int(IFA_LOCAL): local = try datagram.bytes(in: attribute.payload)
                    default: break
                    }
                }
                if let own = local ?? address { found.insert(own) }
            }
        }
        return found
    }
}

import Netlink
import Nftables
public import Policy
import Synchronization

/// Hears of what the gate refuses.
///
/// The kernel tells of new attempts alone, at most ``mostPerSecond`` of TCP in a second and as many
/// of other protocols: so many to ports whose sessions are kept, to such ports of hosts behind this
/// machine, and to the rest. It drops all of them either way.
public final class RefusalMonitor: Sendable {
    /// The group of nfnetlink_log that the gate's rules log to, in the gate's network namespace.
    ///
    /// "SP"; ulogd and others count from 0.
    public static let group: UInt16 = 0x5350
    /// How many attempts the kernel tells of.
    public static let mostPerSecond = 50

    private let log: Mutex<PacketLog>

    /// Becomes readable when there is something to hear, once a second at most.
    public let descriptor: Int32

    /// Listens in the network namespace of the calling thread.
    ///
    /// - Throws: `GateError`, which says why nothing can be heard.
    public init() throws(GateError) {
        do throws(NetlinkError) {
            let log = try PacketLog.open(group: Self.group)
            descriptor = log.fileDescriptor
            self.log = Mutex(log)
        } catch {
            throw GateError("cannot hear of refused attempts: \(error)")
        }
    }

    /// Reads what there is to hear.
    public func drain() -> [RefusedAttempt] {
        var attempts: [RefusedAttempt] = []
        // What cannot be read is not told of; it was refused all the same.
        try? log.withLock { (log) throws(NetlinkError) in
            try log.drain { packet in
                guard let transport = Transport(rawValue: packet.transportProtocol),
                    let source = IPAddress(bytes: packet.source),
                    let destination = IPAddress(bytes: packet.destination)
                else { return }
                attempts.append(
                    RefusedAttempt(
                        source: source,
                        destination: destination,
                        transport: transport,
                        port: packet.destinationPort
                    )
                )
            }
        }
        return attempts
    }
}

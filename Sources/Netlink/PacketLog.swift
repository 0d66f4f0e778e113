internal import CLinux
internal import Glibc
internal import SystemPackage

/// What the headers of a logged packet say.
public struct LoggedPacket: Hashable, Sendable {
    /// 4 bytes for IPv4, 16 for IPv6.
    public let source: [UInt8]
    /// As long as ``source``.
    public let destination: [UInt8]
    /// The number of the transport protocol, behind IPv6's extension headers.
    public let transportProtocol: UInt8
    /// The port that it goes to.
    public let destinationPort: UInt16
}

/// Hears of the packets that rules of the network namespace log to a netlink group (nfnetlink_log,
/// linux/netfilter/nfnetlink_log.h).
///
/// Only one socket of a namespace can hold a group.
public struct PacketLog: ~Copyable, Sendable {
    /// Enough for the headers of IPv6 with some extensions, and ports.
    private static let copied: UInt32 = 128

    private var socket: NetlinkSocket

    private init(_ socket: consuming NetlinkSocket) { self.socket = socket }

    /// Readable where there is something to hear; it stays the log's own.
    public var fileDescriptor: CInt { socket.fileDescriptor }

    /// Takes a group in the calling thread's network namespace.
    ///
    /// The kernel gathers packets for up to a second, so that a flood of them wakes nobody more often.
    ///
    /// - Parameter group: Its number.
    /// - Returns: What hears of it.
    /// - Throws: `refused` with `EBUSY` where another socket holds the group, `EPERM` without
    ///   CAP_NET_ADMIN, or where the kernel has no nfnetlink_log.
    public static func open(group: UInt16) throws(NetlinkError) -> PacketLog {
        var log = PacketLog(try NetlinkSocket.open(.netfilter))
        try log.configure(group, command, [bind])
        let range = Self.copied
        try log.configure(
            group,
            mode,
            [
                UInt8(truncatingIfNeeded: range >> 24), UInt8(truncatingIfNeeded: range >> 16),
                UInt8(truncatingIfNeeded: range >> 8), UInt8(truncatingIfNeeded: range),
                copyPacket, 0,
            ]
        )
        return log
    }

    /// Hands on what there is to hear, without waiting.
    ///
    /// Packets whose headers cannot be read are left out, and so are those that the kernel had no
    /// room for.
    public mutating func drain(_ body: (LoggedPacket) -> Void) throws(NetlinkError) {
        while true {
            do throws(NetlinkError) {
                let received: Void? = try socket.receive(waiting: false) {
                    (datagram) throws(NetlinkError) in
                    var cursor = ReplyCursor()
                    while let reply = try cursor.next(in: datagram) {
                        guard case .object(let type, let range) = reply.content,
                            type == subsystem << 8 | packetMessage,
                            let packet = try Self.packet(in: datagram, at: range)
                        else { continue }
                        body(packet)
                    }
                }
                guard received != nil else { return }
            } catch .outcomeUnknown {
                continue
            } catch .malformedReply {
                // Several packets end with an NLMSG_DONE in whose body the kernel writes nothing
                // (__nfulnl_send, nfnetlink_log.c); what was in front of it was handed on.
                continue
            }
        }
    }

    /// Reads a message of the log, a range of a datagram behind its header; nil where the packet has
    /// no ports or is not whole enough.
    package static func packet(
        in datagram: RawSpan,
        at body: Range<Int>
    ) throws(NetlinkError) -> LoggedPacket? {
        // struct nfgenmsg: u8 family, u8 version, be16 group.
        guard body.count >= 4 else { throw .malformedReply(offset: body.lowerBound) }
        var cursor = AttributeCursor(body.lowerBound + 4..<body.upperBound)
        while let attribute = try cursor.next(in: datagram) {
            guard attribute.type == payload else { continue }
            return LoggedPacket(headers: try datagram.bytes(in: attribute.payload))
        }
        return nil
    }

    private mutating func configure(
        _ group: UInt16,
        _ attribute: UInt32,
        _ value: [UInt8]
    ) throws(NetlinkError) {
        var header = nfgenmsg()
        header.res_id = group.bigEndian
        var content = MessageContent(header)
        content.add(attribute, value)
        try socket.ask(
            subsystem << 8 | configurationMessage,
            flags: NLM_F_ACK,
            content,
            "hear of packets that are logged to group \(group)"
        )
    }
}

extension LoggedPacket {
    /// Reads the headers of an IPv4 (RFC 791) or IPv6 packet (RFC 8200); nil for what has no ports.
    package init?(headers bytes: [UInt8]) {
        guard let first = bytes.first else { return nil }
        var next: UInt8
        var start: Int
        switch first >> 4 {
        case 4:
            start = Int(first & 0xf) * 4
            // A later fragment has no ports.
            guard start >= 20, bytes.count >= 20, bytes[6] & 0x1f == 0, bytes[7] == 0 else {
                return nil
            }
            next = bytes[9]
            source = Array(bytes[12..<16])
            destination = Array(bytes[16..<20])
        case 6:
            guard bytes.count >= 40 else { return nil }
            (next, start) = (bytes[6], 40)
            source = Array(bytes[8..<24])
            destination = Array(bytes[24..<40])
            // Hop-by-hop and destination options, routing, authentication, fragment.
            while [0, 43, 44, 51, 60].contains(next) {
                guard bytes.count >= start + 8 else { return nil }
                // In units of 8 bytes besides the first 8, but of authentication, in 4 besides 8.
                let length = Int(bytes[start + 1])
                let size = next == 44 ? 8 : next == 51 ? (length + 2) * 4 : (length + 1) * 8
                if next == 44, bytes[start + 2] != 0 || bytes[start + 3] & 0xf8 != 0 { return nil }
                next = bytes[start]
                start += size
            }
        default: return nil
        }
        // TCP, UDP, SCTP, UDP-Lite: all have their ports in front.
        guard [6, 17, 132, 136].contains(next), bytes.count >= start + 4 else { return nil }
        transportProtocol = next
        destinationPort = UInt16(bytes[start + 2]) << 8 | UInt16(bytes[start + 3])
    }
}

/// `NFNL_SUBSYS_ULOG` and its messages, linux/netfilter/nfnetlink.h and nfnetlink_log.h.
private let subsystem: UInt16 = 4
private let packetMessage: UInt16 = 0
private let configurationMessage: UInt16 = 1
/// `NFULA_PAYLOAD`: the packet from its network header on.
private let payload = 9
/// `NFULA_CFG_CMD` with `NFULNL_CFG_CMD_BIND`.
private let command: UInt32 = 1
private let bind: UInt8 = 1
/// `NFULA_CFG_MODE` with `NFULNL_COPY_PACKET`.
private let mode: UInt32 = 2
private let copyPacket: UInt8 = 2

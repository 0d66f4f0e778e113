internal import CLinux

/// What happens to a tracked connection.
public enum ConntrackEvent: Hashable, Sendable {
    /// Its first packet went through.
    case began(ConntrackEntry)
    /// Something of it changed, such as the state of TCP.
    case changed(ConntrackEntry)
    /// The kernel forgets it, with what it has counted.
    case ended(ConntrackEntry)
    /// Events were lost: there were more than there was room for.
    case missed
}

/// Hears of tracked connections of the network namespace of the thread that opened it
/// (nfnetlink_conntrack, groups of linux/netfilter/nfnetlink.h).
///
/// Needs CAP_NET_ADMIN there; the kernel tells nothing where `net.netfilter.nf_conntrack_events` is
/// 0.
public struct ConntrackEvents: ~Copyable, Sendable {
    /// A few thousand events.
    private static let buffer = 2 << 20

    private var socket: NetlinkSocket

    private init(_ socket: consuming NetlinkSocket) { self.socket = socket }

    /// Readable where there is something to hear; it stays the listener's own.
    public var fileDescriptor: CInt { socket.fileDescriptor }

    /// Listens from now on, to nothing before ``listen(to:)``.
    public static func open() throws(NetlinkError) -> ConntrackEvents {
        var events = ConntrackEvents(try NetlinkSocket.open(.netfilter))
        try events.socket.growReceiveBuffer(to: buffer)
        try events.listen(to: [])
        for group in [
            NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY,
        ] {
            try events.socket.join(group: group.rawValue)
        }
        return events
    }

    /// Has the kernel leave out connections to other ports, whatever the protocol: they wake nobody.
    ///
    /// - Parameter ports: Of more than 1,000 ranges all connections are told.
    /// - Throws: `systemCall` where the kernel refuses the filter; then the old one stays.
    public mutating func listen(to ports: [ClosedRange<UInt16>]) throws(NetlinkError) {
        try socket.attach(Self.filter(for: ports))
    }

    /// Hands on what there is to hear, without waiting, but only so much in one go.
    public mutating func drain(
        atMost most: Int = 512,
        _ body: (ConntrackEvent) -> Void
    ) throws(NetlinkError) {
        for _ in 0..<most {
            do throws(NetlinkError) {
                let received: Void? = try socket.receive(waiting: false) {
                    (datagram) throws(NetlinkError) in
                    var cursor = ReplyCursor()
                    while let reply = try cursor.next(in: datagram) {
                        guard case .object(let type, let range) = reply.content,
                            type >> 8 == UInt16(NFNL_SUBSYS_CTNETLINK),
                            let entry = try ConntrackEntry(in: datagram, at: range)
                        else { continue }
                        switch UInt32(type & 0xff) {
                        case IPCTNL_MSG_CT_NEW.rawValue:
                            body(reply.isNew ? .began(entry) : .changed(entry))
                        case IPCTNL_MSG_CT_DELETE.rawValue: body(.ended(entry))
                        default: break
                        }
                    }
                }
                guard received != nil else { return }
            } catch .outcomeUnknown {
                body(.missed)
            }
        }
    }

    /// A classic BPF program (linux/filter.h) that looks for the destination port among a message's
    /// attributes, as the kernel's own help for that finds them (`SKF_AD_NLATTR`).
    private static func filter(for ports: [ClosedRange<UInt16>]) -> [sock_filter] {
        func step(_ code: Int32, _ k: UInt32, _ isTrue: UInt8 = 0, _ isFalse: UInt8 = 0)
            -> sock_filter
        {
            sock_filter(code: UInt16(code), jt: isTrue, jf: isFalse, k: k)
        }
        let (take, leave) = (step(BPF_RET | BPF_K, .max), step(BPF_RET | BPF_K, 0))
        guard ports.count <= 1_000 else { return [take] }
        let outer = UInt32(bitPattern: SKF_AD_OFF + SKF_AD_NLATTR)
        let nested = UInt32(bitPattern: SKF_AD_OFF + SKF_AD_NLATTR_NEST)
        // Behind nlmsghdr and nfgenmsg; A is where the last attribute was found, or 0.
        var steps = [step(BPF_LD | BPF_IMM, 20)]
        for (attribute, place, without) in [
            (CTA_TUPLE_ORIG.rawValue, outer, take), (CTA_TUPLE_PROTO.rawValue, nested, take),
            // ICMP has none.
            (CTA_PROTO_DST_PORT.rawValue, nested, leave),
        ] {
            steps += [
                step(BPF_LDX | BPF_IMM, attribute), step(BPF_LD | BPF_B | BPF_ABS, place),
                step(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), without,
            ]
        }
        // The number behind the attribute's header.
        steps += [step(BPF_MISC | BPF_TAX, 0), step(BPF_LD | BPF_H | BPF_IND, 4)]
        for range in ports {
            steps += [
                step(BPF_JMP | BPF_JGE | BPF_K, UInt32(range.lowerBound), 0, 2),
                step(BPF_JMP | BPF_JGT | BPF_K, UInt32(range.upperBound), 1, 0), take,
            ]
        }
        return steps + [leave]
    }
}

import Nftables
import Policy

// What iptables-nft leaves to the kernel's older matches and targets. Their structures are those of
// linux/netfilter/xt_*.h, in the host's byte order but where it is said.

extension Nftables.Expression.Extension {
    /// What a target does.
    enum Effect: Equatable {
        case none, marks, untracks, drops, accepts
        case translates(Evaluator.Target)
        case unknown
    }

    /// What this does, as a target.
    var effect: Effect {
        switch name {
        case "LOG", "NFLOG", "ULOG", "TCPMSS", "TCPOPTSTRIP", "CLASSIFY", "CHECKSUM", "DSCP", "TOS",
            "TTL", "HL", "TRACE", "SET", "AUDIT", "IDLETIMER", "TEE", "SECMARK", "CONNSECMARK",
            "RATEEST", "ECN":
            .none
        case "MARK", "CONNMARK", "HMARK": .marks
        case "NOTRACK": .untracks
        // XT_CT_NOTRACK is 1 << 0 of the first field.
        case "CT": (number(at: 0, bytes: 2) ?? 0) & 1 != 0 ? .untracks : .none
        case "REJECT", "DROP": .drops
        case "MASQUERADE", "SNAT", "NETMAP": .accepts
        case "DNAT", "REDIRECT": .translates(target)
        default: .unknown
        }
    }

    /// Where DNAT and REDIRECT lead.
    private var target: Evaluator.Target {
        var target = Evaluator.Target(isThisHost: name == "REDIRECT")
        // struct nf_nat_ipv4_multi_range_compat has 20 bytes, nf_nat_range 40, nf_nat_range2 44
        // (linux/netfilter/nf_nat.h); padded to 8.
        let isOld = info.count < 40
        let flags = number(at: isOld ? 4 : 0, bytes: 4) ?? 0
        let (first, last) = isOld ? (8, 12) : (4, 20)
        let ports = isOld ? 16 : 36
        // NF_NAT_RANGE_MAP_IPS is 1, NF_NAT_RANGE_PROTO_SPECIFIED 2.
        if flags & 1 != 0, info.count >= (isOld ? 20 : 40) {
            // An IPv4 address takes the first 4 bytes of 16.
            let wide = Array(info[first..<first + (isOld ? 4 : 16)])
            let other = Array(info[last..<last + (isOld ? 4 : 16)])
            if wide == other {
                let isIPv4 = wide.dropFirst(4).allSatisfy { $0 == 0 }
                target.address = isIPv4 ? Array(wide.prefix(4)) : wide
            } else {
                target.isUnknown = true
            }
        }
        if flags & 2 != 0 {
            // In network order.
            if let low = port(at: ports), let high = port(at: ports + 2), low <= high {
                target.ports = low...high
            } else {
                target.isUnknown = true
            }
        }
        return target
    }

    /// Whether this, as a match, matches a packet; and the packet with the ports that it leaves.
    func matches(
        _ packet: Packet,
        isTracked: Truth,
        isMarked: Truth
    ) -> (Truth, Packet) {
        switch name {
        case "comment": return (.yes, packet)
        case "conntrack": return (connectionState(packet, isTracked), packet)
        case "state":
            let mask = number(at: 0, bytes: 4) ?? 0
            return (state(mask, untracked: 1 << 6, packet, isTracked), packet)
        case "addrtype": return (addressType(packet), packet)
        case "tcp" where packet.transport == .tcp: return tcp(packet)
        case "udp" where packet.transport == .udp:
            // struct xt_udp: two source ports, two destination ports, inverted: 1 source, 2 destination.
            let (truth, narrowed) = ports(at: 4, isInverted: byte(at: 8) & 2 != 0, packet)
            return (truth && sourcePorts(isInverted: byte(at: 8) & 1 != 0, packet), narrowed)
        case "tcp", "udp": return (.no, packet)
        case "multiport": return multiport(packet)
        case "rt", "frag", "hbh", "dst", "mh", "ah", "esp", "icmp", "icmp6", "sctp", "dccp":
            // The packets that are meant have no extension headers, and are of TCP or UDP.
            return (.no, packet)
        case "limit":
            // Those within the limit are meant.
            return (.yes, packet)
        case "mark":
            guard isMarked == .no, let mark = number(at: 0, bytes: 4) else {
                return (.maybe, packet)
            }
            let isZero: Truth = mark == 0 ? .yes : .no
            return (byte(at: 8) != 0 ? !isZero : isZero, packet)
        default: return (.maybe, packet)
        }
    }

    private func connectionState(_ packet: Packet, _ isTracked: Truth) -> Truth {
        // struct xt_conntrack_mtinfo3: eight addresses of 16 bytes, two times, six 16-bit fields, then
        // flags, inverted flags, states. In revision 1 the states have 8 bits.
        guard (1...3).contains(revision), let flags = number(at: 146, bytes: 2),
            let inverted = number(at: 148, bytes: 2),
            let mask = number(at: 150, bytes: revision == 1 ? 1 : 2)
        else { return .maybe }
        // XT_CONNTRACK_STATE is 1; XT_CONNTRACK_STATE_ALIAS only tells how it was written.
        guard flags & ~(1 << 13) == 1 else { return .maybe }
        let truth = state(mask, untracked: 1 << 8, packet, isTracked)
        return inverted & 1 != 0 ? !truth : truth
    }

    /// Whether a packet's state is among those of a mask: INVALID is 1, ESTABLISHED 2, NEW 8, DNAT
    /// 128.
    private func state(
        _ mask: UInt32,
        untracked: UInt32,
        _ packet: Packet,
        _ isTracked: Truth
    ) -> Truth {
        let tracked: Truth =
            mask & (packet.isReply ? 2 : 8) != 0 || mask & 128 != 0 && packet.isTranslated
            ? .yes : .no
        let other: Truth = mask & untracked != 0 ? .yes : .no
        switch isTracked {
        case .yes: return tracked
        case .no: return other
        case .maybe: return tracked == other ? tracked : .maybe
        }
    }

    private func addressType(_ packet: Packet) -> Truth {
        // xt_addrtype.h: RTN_UNICAST is 1 << 1, RTN_LOCAL 1 << 2.
        guard let source = number(at: 0, bytes: 2), let destination = number(at: 2, bytes: 2),
            let flags = number(at: 4, bytes: 4)
        else { return .maybe }
        var truth = Truth.yes
        if destination != 0 {
            let bit: UInt32 = packet.isForThisHost ? 1 << 2 : 1 << 1
            let met: Truth = destination & bit != 0 ? .yes : .no
            let isInverted = revision == 0 ? number(at: 8, bytes: 4) ?? 0 != 0 : flags & 2 != 0
            truth = isInverted ? !met : met
        }
        if source != 0 {
            let bit: UInt32 = packet.isFromThisHost ? 1 << 2 : 1 << 1
            let met: Truth = source & bit != 0 ? .yes : .no
            let isInverted = flags & 1 != 0
            truth = truth && (isInverted ? !met : met)
        }
        return truth
    }

    private func tcp(_ packet: Packet) -> (Truth, Packet) {
        // struct xt_tcp: two source ports, two destination ports, option, mask of flags, flags,
        // inverted: 1 source, 2 destination, 4 flags, 8 option.
        let inverted = byte(at: 11)
        var (truth, narrowed) = ports(at: 4, isInverted: inverted & 2 != 0, packet)
        let hasFlags: Truth = packet.flags.rawValue & byte(at: 9) == byte(at: 10) ? .yes : .no
        truth = truth && (inverted & 4 != 0 ? !hasFlags : hasFlags)
        truth = truth && sourcePorts(isInverted: inverted & 1 != 0, packet)
        if byte(at: 8) != 0 { truth = truth && .maybe }
        return (truth, narrowed)
    }

    /// Compares the source port with a range of two 16-bit numbers, the first of all.
    private func sourcePorts(isInverted: Bool, _ packet: Packet) -> Truth {
        guard let low = number(at: 0, bytes: 2), let high = number(at: 2, bytes: 2), low <= high
        else { return .maybe }
        let truth = packet.sourcePort.lies(in: UInt128(low)...UInt128(high))
        return isInverted ? !truth : truth
    }

    /// Compares the destination port with a range of two 16-bit numbers.
    private func ports(
        at offset: Int,
        isInverted: Bool,
        _ packet: Packet
    ) -> (Truth, Packet) {
        guard let low = number(at: offset, bytes: 2), let high = number(at: offset + 2, bytes: 2),
            low <= high
        else { return (.maybe, packet) }
        let range = UInt128(low)...UInt128(high)
        let truth = packet.destinationPort.lies(in: range)
        if isInverted { return (!truth, packet) }
        return (truth, truth == .maybe ? packet.narrowed(to: range) ?? packet : packet)
    }

    private func multiport(_ packet: Packet) -> (Truth, Packet) {
        // struct xt_multiport_v1: which ports (1 destination, 2 either), count, 15 ports, 15 flags of
        // which 1 says that a range begins, inverted.
        guard revision == 1, byte(at: 0) == 1, info.count >= 48 else { return (.maybe, packet) }
        var (truth, index) = (Truth.no, 0)
        let count = min(15, Int(byte(at: 1)))
        while index < count, truth != .yes {
            let low = number(at: 2 + 2 * index, bytes: 2) ?? 0
            var high = low
            if byte(at: 32 + index) != 0, index + 1 < count {
                index += 1
                high = number(at: 2 + 2 * index, bytes: 2) ?? 0
            }
            index += 1
            guard low <= high else { continue }
            let lies = packet.destinationPort.lies(in: UInt128(low)...UInt128(high))
            if lies != .no { truth = lies }
        }
        return (byte(at: 47) != 0 ? !truth : truth, packet)
    }

    private func byte(at offset: Int) -> UInt8 { info.indices.contains(offset) ? info[offset] : 0 }

    /// A number in the host's order.
    private func number(at offset: Int, bytes count: Int) -> UInt32? {
        guard offset + count <= info.count else { return nil }
        let bytes = info[offset..<offset + count]
        #if _endian(little)
            return bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
        #else
            return bytes.reduce(0) { $0 << 8 | UInt32($1) }
        #endif
    }

    /// A number in network order.
    private func port(at offset: Int) -> UInt16? {
        guard offset + 2 <= info.count else { return nil }
        return UInt16(info[offset]) << 8 | UInt16(info[offset + 1])
    }
}

internal import CLinux
internal import CMnl
internal import CNftnl
internal import Netlink

/// A question about the ruleset: one message that changes nothing.
struct Request {
    /// `NFT_MSG_GET...`.
    var type: UInt16
    /// `NFPROTO_*`, 0 for all.
    var family: UInt8
    /// Whether all objects are asked for, rather than one.
    var isListing = false
    /// What it is for, to stand behind "cannot" in an error.
    var purpose: String
    var table: String?
    var set: String?
    var key: Key?
    /// Of the element asked for.
    var flags: UInt32 = 0

    /// Sends the request; without a listing, an acknowledgement ends the answer.
    func send(over socket: inout NetlinkSocket, sequence: UInt32) throws(NetlinkError) {
        for (name, kind) in [(table, "table"), (set, "set")] {
            if let defect = name.flatMap({ nameDefect($0, of: kind) }) {
                throw .invalid(operation: 0, description: purpose, reason: defect)
            }
        }
        if let key, key.count > 64 {
            throw .invalid(
                operation: 0,
                description: purpose,
                reason: "a key has at most 64 bytes, not \(key.count)"
            )
        }
        // Two names of 256 bytes, a key of 64 and the headers fit well.
        let buffer = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 1024)
        defer { unsafe buffer.deallocate() }
        let flags = isListing ? NLM_F_DUMP : NLM_F_ACK
        let message = unsafe nftnl_nlmsg_build_hdr(
            buffer.baseAddress,
            type,
            UInt16(family),
            UInt16(flags),
            sequence
        )
        guard let message = unsafe message else { throw .outOfMemory }
        if let set {
            unsafe mnl_attr_put_strz(message, Kernel.ElementList.table, table)
            unsafe mnl_attr_put_strz(message, Kernel.ElementList.set, set)
        } else if let table {
            // Attribute 1 is the table's name in messages about rules and sets alike.
            unsafe mnl_attr_put_strz(message, UInt16(Kernel.RuleAttribute.table), table)
        }
        if let key {
            let element = try ElementHandle()
            try element.set(Nftnl.Element.key, key)
            element.set(Nftnl.Element.flags, self.flags)
            let list = unsafe mnl_attr_nest_start(message, Kernel.ElementList.elements)
            unsafe nftnl_set_elem_nlmsg_build(message, element.pointer, 1)
            unsafe mnl_attr_nest_end(message, list)
        }
        let bytes = unsafe UnsafeRawBufferPointer(
            start: message,
            count: Int(message.pointee.nlmsg_len)
        )
        unsafe try socket.send([bytes])
    }
}

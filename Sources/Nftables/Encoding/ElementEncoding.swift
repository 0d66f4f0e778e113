internal import CLinux
internal import CMnl
internal import CNftnl
internal import Netlink

extension Batch {
    /// Appends elements in as many messages as they need.
    mutating func append(
        _ verb: Transaction.Verb,
        _ elements: [SetElement],
        _ set: NamedSet,
        _ index: Int
    ) throws(NetlinkError) {
        let handle = try ElementHandle()
        let type = verb == .delete ? Kernel.Message.deleteElement : Kernel.Message.newElement
        let flags = verb == .delete ? 0 : verb.flags
        var next = 0
        while next < elements.count {
            let origin = Origin(operation: index, element: next)
            unsafe try append(type, set.table.family, flags: flags, for: origin) {
                (message) throws(NetlinkError) in
                unsafe mnl_attr_put_strz(message, Kernel.ElementList.table, set.table.name)
                unsafe mnl_attr_put_strz(message, Kernel.ElementList.set, set.name)
                let list = unsafe mnl_attr_nest_start(message, Kernel.ElementList.elements)
                // The list's length has 16 bits and overflows silently; one element is at most
                // 600 bytes: two keys, 256 bytes of user data, a chain's name.
                let limit = unsafe message.pointee.nlmsg_len + 60_000
                let end = min(elements.count, next + 1000)
                while next < end, unsafe message.pointee.nlmsg_len < limit {
                    unsafe try handle.put(
                        elements[next],
                        of: set,
                        isDeletion: verb == .delete,
                        in: message
                    ) {
                        (reason) in
                        .invalid(
                            operation: index,
                            description: Transaction.Operation.elements(verb, elements, set)
                                .summary(part: next),
                            reason: reason
                        )
                    }
                    next += 1
                }
                unsafe mnl_attr_nest_end(message, list)
            }
        }
    }
}

extension ElementHandle {
    /// Puts one element, or the two that make a range, at the end of a list.
    fileprivate func put(
        _ element: SetElement,
        of set: NamedSet,
        isDeletion: Bool,
        in message: Message,
        orThrow invalid: (String) -> NetlinkError
    ) throws(NetlinkError) {
        if let reason = element.defect(in: set, isDeletion: isDeletion) { throw invalid(reason) }
        try self.set(Nftnl.Element.key, element.key)
        let isRange = set.flags.contains(.interval)
        if isRange, !set.pairsElements {
            try self.set(Nftnl.Element.keyEnd, element.keyEnd ?? element.key)
        }
        let end = set.pairsElements ? (element.keyEnd ?? element.key).stepped(up: true) : nil
        if !isDeletion {
            self.set(Nftnl.Element.timeout, element.timeoutMilliseconds)
            self.set(Nftnl.Element.verdict, element.verdict.map { UInt32(bitPattern: $0.code) })
            try self.set(Nftnl.Element.chain, element.verdict?.chain)
            try self.set(
                Nftnl.Element.userData,
                userData(of: element, isOpen: set.pairsElements && end == nil)
            )
        }
        // Only the first element of a range carries flags, timeout and the rest.
        unsafe nftnl_set_elem_nlmsg_build(message, pointer, 1)
        guard set.pairsElements, let end else { return }
        let bound = try ElementHandle()
        try bound.set(Nftnl.Element.key, end)
        bound.set(Nftnl.Element.flags, Kernel.intervalEnd)
        unsafe nftnl_set_elem_nlmsg_build(message, bound.pointer, 1)
    }

    private func userData(of element: SetElement, isOpen: Bool) -> [UInt8]? {
        guard element.comment != nil || isOpen else { return nil }
        var bytes: [UInt8] = []
        if let comment = element.comment {
            bytes += Nftables.userData(comment, as: Nftnl.UserData.elementComment)
        }
        if isOpen {
            bytes += [Nftnl.UserData.elementFlags, 4]
            unsafe withUnsafeBytes(of: Nftnl.UserData.openRange) { unsafe bytes += $0 }
        }
        return bytes
    }
}

extension SetElement {
    /// Why the element cannot be sent; nil if it can.
    private func lengthDefect(_ key: Key, in set: NamedSet) -> String? {
        key.count == set.keyLength
            ? nil : "its key has \(key.count) bytes, the set's keys have \(set.keyLength)"
    }

    fileprivate func defect(in set: NamedSet, isDeletion: Bool) -> String? {
        if let defect = lengthDefect(key, in: set) { return defect }
        if let keyEnd {
            guard set.flags.contains(.interval) else {
                return "it is a range, and the set lacks the interval flag"
            }
            if let defect = lengthDefect(keyEnd, in: set) { return defect }
        }
        guard !isDeletion else { return nil }
        if timeoutMilliseconds == 0 { return "its timeout is shorter than 1 ms" }
        if timeout != nil, !set.flags.contains(.timeout) {
            return "it has a timeout, and the set lacks the timeout flag"
        }
        if (verdict != nil) != set.mapsToVerdict {
            return set.mapsToVerdict
                ? "it has no verdict, and the set is a verdict map"
                : "it has a verdict, and the set is no verdict map"
        }
        if let chain = verdict?.chain, let defect = nameDefect(chain, of: "chain") {
            return defect
        }
        return comment.flatMap(commentDefect)
    }
}

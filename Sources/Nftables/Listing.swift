public import Netlink
internal import Synchronization

extension Connection {
    /// The ruleset's generation, never 0: it changes with every commit of anybody in the namespace.
    ///
    /// To change only what was read, ask for it first and hand it to
    /// ``commit(_:ifGeneration:)``.
    public func generation() throws(NetlinkError) -> UInt32 {
        var found: UInt32?
        let request = Request(
            type: Kernel.Message.getGeneration,
            family: 0,
            purpose: "read the generation"
        )
        try ask(request) { (datagram, body, _) throws(NetlinkError) in
            var cursor = AttributeCursor(body)
            while let attribute = try cursor.next(in: datagram) {
                guard attribute.type == Kernel.GenerationAttribute.id else { continue }
                found = try datagram.bigEndian32(attribute)
            }
        }
        guard let found else { throw .outcomeUnknown(nil) }
        return found
    }

    /// All tables of the namespace, but those of families that ``Family`` does not know.
    ///
    /// - Throws: `interrupted` when commits of others keep coming in between.
    public func tables() throws(NetlinkError) -> [Table] {
        let request = Request(
            type: Kernel.Message.getTable,
            family: 0,
            isListing: true,
            purpose: "list tables"
        )
        return try list(request) { (datagram, body, family) throws(NetlinkError) in
            try Table(in: datagram, at: body, family: family)
        }
    }

    /// The chains of a table; none if it is missing.
    ///
    /// Base chains whose type or hook this library does not know are left out.
    ///
    /// - Throws: `interrupted` when commits of others keep coming in between.
    public func chains(in table: Table) throws(NetlinkError) -> [Chain] {
        let request = Request(
            type: Kernel.Message.getChain,
            family: table.family.rawValue,
            isListing: true,
            purpose: "list chains"
        )
        return try list(request) { (datagram, body, _) throws(NetlinkError) in
            try Chain(in: datagram, at: body, of: table)
        }
    }

    /// The rules of a table, chain by chain in their order; none if it is missing.
    ///
    /// - Throws: `interrupted` when commits of others keep coming in between.
    public func rules(in table: Table) throws(NetlinkError) -> [Rule] {
        let request = Request(
            type: Kernel.Message.getRule,
            family: table.family.rawValue,
            isListing: true,
            purpose: "list rules of table \(table.name)",
            table: table.name
        )
        return try list(request) { (datagram, body, _) throws(NetlinkError) in
            try Rule(in: datagram, at: body, of: table)
        }
    }

    /// The rules of a chain, in their order; none if it is missing.
    ///
    /// - Throws: `interrupted` when commits of others keep coming in between.
    public func rules(in chain: Chain) throws(NetlinkError) -> [Rule] {
        try rules(in: chain.table).filter { $0.chain.name == chain.name }
    }

    /// The named sets and verdict maps of a table.
    ///
    /// Sets whose keys cannot be told apart into fields are left out.
    ///
    /// - Throws: `refused` with `ENOENT` if the table is missing; `interrupted` when commits of
    ///   others keep coming in between.
    public func sets(in table: Table) throws(NetlinkError) -> [NamedSet] {
        let request = Request(
            type: Kernel.Message.getSet,
            family: table.family.rawValue,
            isListing: true,
            purpose: "list sets of table \(table.name)",
            table: table.name
        )
        return try list(request) { (datagram, body, _) throws(NetlinkError) in
            try NamedSet(in: datagram, at: body, of: table)
        }
    }

    /// The elements of a set, in the kernel's order.
    ///
    /// - Throws: `refused` with `ENOENT` if the set is missing; `interrupted` when commits of others
    ///   keep coming in between.
    public func elements(of set: NamedSet) throws(NetlinkError) -> [SetElement] {
        try retryingInterrupted { () throws(NetlinkError) in
            var found: [SetElement] = []
            try forEachElement(of: set) { found.append($0) }
            // The kernel counts its way back into a hash table for each datagram (nft_rhash_walk).
            // While it grows the table, after many additions, it so lists some elements twice and
            // misses as many, and does not say so.
            guard Set(found.lazy.map(\.key)).count == found.count else { throw .interrupted }
            return found
        }
    }

    /// Hands each element of a set to `body`, without keeping them: for sets of millions.
    ///
    /// Other calls of this connection wait until the listing is over, so `body` must make none; use
    /// a connection of its own for long listings. The kernel's effort for a hash set grows with the
    /// square of its size: 0.4 s for 100,000 elements, 40 s for a million, where ``element(_:in:)``
    /// stays at microseconds. While the kernel grows a hash table, in the milliseconds after many
    /// additions, it hands out some elements twice and misses as many; ``elements(of:)`` notices
    /// and lists again.
    ///
    /// - Parameters:
    ///   - set: The set, described as it was made.
    ///   - body: Takes each element.
    /// - Throws: `refused` with `ENOENT` if the set is missing; `interrupted` when the ruleset changed
    ///   on the way: elements may then have been missed or handed out twice.
    public func forEachElement(
        of set: NamedSet,
        _ body: (SetElement) -> Void
    ) throws(NetlinkError) {
        try forEachElement(of: set, body) { true }
    }

    /// The same, until `goesOn` says no, which ends it with an error.
    ///
    /// The rest of the listing then stays in the socket: the connection is of no use any more.
    func forEachElement(
        of set: NamedSet,
        _ body: (SetElement) -> Void,
        while goesOn: () -> Bool
    ) throws(NetlinkError) {
        let request = Request(
            type: Kernel.Message.getElement,
            family: set.table.family.rawValue,
            isListing: true,
            purpose: "list elements of set \(set.name)",
            table: set.table.name,
            set: set.name
        )
        var decoder = ElementDecoder(of: set)
        try ask(request) { (datagram, attributes, _) throws(NetlinkError) in
            try decoder.decode(in: datagram, at: attributes, body)
            guard goesOn() else { throw .outcomeUnknown(nil) }
        }
    }

    /// One element by its key; nil if the set has none.
    ///
    /// In a set of ranges it is the range that has the key in it.
    ///
    /// - Parameters:
    ///   - key: What is looked up, as long as the set's keys.
    ///   - set: The set, described as it was made.
    /// - Returns: The element, with what is left of its time and what it has counted.
    /// - Throws: `refused` with `ENOENT` if the set is missing, with `EINVAL` for a key of another
    ///   length.
    public func element(_ key: Key, in set: NamedSet) throws(NetlinkError) -> SetElement? {
        var request = Request(
            type: Kernel.Message.getElement,
            family: set.table.family.rawValue,
            purpose: "read an element of set \(set.name)",
            table: set.table.name,
            set: set.name,
            key: key
        )
        var decoder = ElementDecoder(of: set)
        var found: SetElement?
        do {
            if set.pairsElements {
                // A range's end is an element of its own, and comes first in a listing too.
                request.flags = Kernel.intervalEnd
                do {
                    try ask(request) { (datagram, attributes, _) throws(NetlinkError) in
                        try decoder.decode(in: datagram, at: attributes) { _ in }
                    }
                } catch  where error.isNotFound {
                    // A range up to the highest key has no end.
                }
                request.flags = 0
            }
            try ask(request) { (datagram, attributes, _) throws(NetlinkError) in
                try decoder.decode(in: datagram, at: attributes) { found = $0 }
            }
        } catch  where error.isNotFound {
            // The kernel says ENOENT of a missing set and of a missing element alike.
            guard try sets(in: set.table).contains(where: { $0.name == set.name }) else {
                throw error
            }
            return nil
        }
        return found
    }

    private func list<Object>(
        _ request: Request,
        _ decode: (RawSpan, Range<Int>, UInt8) throws(NetlinkError) -> Object?
    ) throws(NetlinkError) -> [Object] {
        try retryingInterrupted { () throws(NetlinkError) in
            var found: [Object] = []
            try ask(request) { (datagram, attributes, family) throws(NetlinkError) in
                if let object = try decode(datagram, attributes, family) { found.append(object) }
            }
            return found
        }
    }

    /// Lists again when a change came in between; each commit of anybody is one.
    private func retryingInterrupted<Result>(
        _ body: () throws(NetlinkError) -> Result
    ) throws(NetlinkError) -> Result {
        for _ in 0..<20 {
            do {
                return try body()
            } catch .interrupted {
                continue
            }
        }
        throw .interrupted
    }

    /// Sends a request and hands each object of the answer to `body`: attributes and family.
    func ask(
        _ request: Request,
        _ body: (RawSpan, Range<Int>, UInt8) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        try socket.withLock { (socket) throws(NetlinkError) in
            let sequence = socket.takeSequence()
            try request.send(over: &socket, sequence: sequence)
            var isDone = false
            var isInterrupted = false
            var generation: UInt16?
            var failure: NetlinkError?
            while !isDone {
                _ = try socket.receive(waiting: true) { (datagram) throws(NetlinkError) in
                    var cursor = ReplyCursor()
                    while let reply = try cursor.next(in: datagram) {
                        guard reply.sequence == sequence else { continue }
                        if reply.isInterrupted { isInterrupted = true }
                        switch reply.content {
                        case .object(_, let range):
                            // linux/netfilter/nfnetlink.h, struct nfgenmsg: u8 family, u8 version,
                            // u16 resource id.
                            guard range.count >= 4 else {
                                throw .malformedReply(offset: range.lowerBound)
                            }
                            let family = try datagram.uint8(at: range.lowerBound)
                            // The resource id is the generation's lower half. The kernel flags
                            // interrupted listings of all objects but elements.
                            let current = try datagram.uint16(at: range.lowerBound + 2)
                            if generation ?? current != current { isInterrupted = true }
                            generation = current
                            try body(datagram, range.lowerBound + 4..<range.upperBound, family)
                        case .acknowledged, .done: isDone = true
                        case .refused(let errno, let message, _):
                            isDone = true
                            failure = .refused(
                                operation: 0,
                                description: request.purpose,
                                errno,
                                kernelMessage: message
                            )
                        }
                    }
                }
            }
            if let failure { throw failure }
            if isInterrupted { throw .interrupted }
        }
    }
}

import Nftables

/// A set in the form in which packets are looked up in it.
struct PreparedSet {
    /// What looking up came to.
    struct Found {
        struct Hit {
            var truth: Truth
            var verdict: Verdict?
            /// The element's ports, where the destination port decides.
            var ports: ClosedRange<UInt128>?
        }

        var truth: Truth
        /// The elements that are, or may be, the packet's.
        var hits: [Hit]

        /// The ports of the elements that may be the packet's; none where something else decides.
        var ports: [ClosedRange<UInt128>] {
            let ports = hits.compactMap(\.ports)
            return ports.count == hits.count && ports.count <= 64 ? ports : []
        }
    }

    private struct Element {
        /// A range for each field; none where it stands for what is not in the set.
        var fields: [ClosedRange<UInt128>]
        var verdict: Verdict?
    }

    /// Where each field of a key lies, and its length.
    private let fields: [(offset: Int, length: Int)]
    private let keyLength: Int
    /// Nil where the elements are not known.
    private let elements: [Element]?

    init(_ set: NamedSet, _ elements: [SetElement]?) {
        var (fields, offset): ([(offset: Int, length: Int)], Int) = ([], 0)
        for type in set.key {
            fields.append((offset, type.length))
            offset += (type.length + 3) & ~3
        }
        self.fields = fields
        keyLength = set.keyLength
        guard fields.allSatisfy({ (1...16).contains($0.length) }) else {
            self.elements = nil
            return
        }
        self.elements = elements.map {
            $0.compactMap { element in
                guard element.key.count > 0 else {
                    return Element(fields: [], verdict: element.verdict)
                }
                let (first, last) = (element.key.bytes, (element.keyEnd ?? element.key).bytes)
                guard first.count == set.keyLength, last.count == first.count else { return nil }
                let ranges = fields.compactMap { field -> ClosedRange<UInt128>? in
                    let place = field.offset..<field.offset + field.length
                    let (low, high) = (Value(first[place]).low, Value(last[place]).low)
                    return low <= high ? low...high : nil
                }
                guard ranges.count == fields.count else { return nil }
                return Element(fields: ranges, verdict: element.verdict)
            }
        }
    }

    /// Looks up what lies in registers from a slot on; nil where the elements are not known.
    func look(up registers: Registers, slot: Int) -> Found? {
        guard let elements else { return nil }
        let values = fields.map {
            registers.read(from: slot * 4 + $0.offset, count: $0.length)
        }
        var (truth, hits): (Truth, [Found.Hit]) = (.no, [])
        for element in elements where !element.fields.isEmpty {
            var met = Truth.yes
            var ports: ClosedRange<UInt128>?
            for (value, range) in zip(values, element.fields) {
                let lies = value.count == 1 ? value[0].lies(in: range) : .maybe
                met = met && lies
                if met == .no { break }
                if value.count == 1, value[0].isDestinationPort { ports = range }
            }
            guard met != .no else { continue }
            hits.append(.init(truth: met, verdict: element.verdict, ports: ports))
            if met == .yes {
                truth = .yes
                break
            }
            truth = .maybe
        }
        // What is not in the set is `*`.
        if truth != .yes, let rest = elements.first(where: \.fields.isEmpty) {
            hits.append(.init(truth: truth == .no ? .yes : .maybe, verdict: rest.verdict))
            truth = .yes
        }
        return Found(truth: truth, hits: hits)
    }
}

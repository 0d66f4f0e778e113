/// Whether something holds for a packet.
enum Truth: Hashable {
    case yes, no
    /// It holds for some packets of those that are meant, or cannot be told.
    case maybe

    static prefix func ! (truth: Truth) -> Truth {
        switch truth {
        case .yes: .no
        case .no: .yes
        case .maybe: .maybe
        }
    }

    static func && (one: Truth, other: Truth) -> Truth {
        if one == .no || other == .no { return .no }
        return one == .yes && other == .yes ? .yes : .maybe
    }
}

/// What is known of some bytes of a packet: that, as one big-endian number, they lie in a range.
struct Value: Hashable {
    var low: UInt128
    var high: UInt128
    /// How many bytes; a value that is not unknown has 16 at most.
    var length: Int
    /// Nothing is known of it.
    var isUnknown = false
    /// The one number that it is not, whatever else it may be.
    var excluded: UInt128?
    /// It stands for most of its range: what holds for a part of that alone does not hold for it.
    var isTypical = false
    /// It is the packet's destination port, whole.
    var isDestinationPort = false

    init(_ low: UInt128, through high: UInt128? = nil, length: Int) {
        self.low = low
        self.high = high ?? low
        self.length = length
    }

    init(_ bytes: some Collection<UInt8>) {
        self.init(bytes.reduce(0) { $0 << 8 | UInt128($1) }, length: bytes.count)
    }

    static func unknown(length: Int) -> Value {
        var value = Value(0, through: .max, length: length)
        value.isUnknown = true
        return value
    }

    var isExact: Bool { low == high && !isUnknown }

    /// Whether it lies between two numbers.
    func lies(in range: ClosedRange<UInt128>) -> Truth {
        if let excluded, range == excluded...excluded { return .no }
        if isUnknown { return .maybe }
        if high < range.lowerBound || low > range.upperBound { return .no }
        if range.lowerBound <= low, high <= range.upperBound { return .yes }
        return isTypical ? .no : .maybe
    }

    /// Some of its bytes, from the first on.
    func bytes(from start: Int, count: Int) -> Value {
        if start == 0, count == length { return self }
        guard !isUnknown else { return .unknown(length: count) }
        let rest = (length - start - count) * 8
        // Leading bytes of a range are a range; those further behind only of one number.
        guard start == 0 || isExact else { return .unknown(length: count) }
        let mask = count >= 16 ? UInt128.max : (1 << UInt128(count * 8)) - 1
        var part = Value(low >> UInt128(rest) & mask, length: count)
        part.high = high >> UInt128(rest) & mask
        part.isTypical = isTypical
        return part
    }

    /// `(value & mask) ^ operand`.
    func masked(_ mask: UInt128, xor operand: UInt128) -> Value {
        if isUnknown { return self }
        if isExact { return Value((low & mask) ^ operand, length: length) }
        let all = length >= 16 ? UInt128.max : (1 << UInt128(length * 8)) - 1
        let isPrefix = (~mask & all) & ((~mask & all) &+ 1) == 0
        guard isPrefix, operand == 0 else { return .unknown(length: length) }
        var value = self
        value.low &= mask
        value.high &= mask
        value.isDestinationPort = isDestinationPort && mask == all
        return value
    }
}

/// The registers of nf_tables: 64 bytes.
struct Registers {
    private var parts: [(start: Int, value: Value)] = []

    /// Puts values in a row, from a slot of 4 bytes on; the last slot is filled up with zeros.
    mutating func load(_ values: [Value], slot: Int) {
        let start = slot * 4
        let count = values.reduce(0) { $0 + $1.length }
        let padding = (4 - count % 4) % 4
        parts.removeAll {
            $0.start < start + count + padding && $0.start + $0.value.length > start
        }
        var offset = start
        for value in values {
            parts.append((offset, value))
            offset += value.length
        }
        if padding > 0 { parts.append((offset, Value(0, length: padding))) }
    }

    mutating func forget() { parts = [] }

    /// The values that lie in a row from a slot on.
    func read(slot: Int, count: Int) -> [Value] { read(from: slot * 4, count: count) }

    func read(from start: Int, count: Int) -> [Value] {
        var (values, offset): ([Value], Int) = ([], start)
        while offset < start + count {
            let left = start + count - offset
            if let part = parts.first(where: {
                $0.start <= offset && $0.start + $0.value.length > offset
            }) {
                let inside = offset - part.start
                let length = min(left, part.value.length - inside)
                values.append(part.value.bytes(from: inside, count: length))
                offset += length
            } else {
                let next = parts.filter { $0.start > offset }.map(\.start).min() ?? .max
                let length = min(left, next == .max ? left : next - offset)
                values.append(.unknown(length: length))
                offset += length
            }
        }
        return values
    }
}

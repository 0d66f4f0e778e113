/// The two families of addresses.
public enum AddressFamily: UInt8, Hashable, Sendable, Comparable, CaseIterable {
    case ipv4 = 4
    case ipv6 = 6

    /// The length of an address: 32 or 128 bits.
    public var bits: Int { self == .ipv4 ? 32 : 128 }

    /// IPv4 before IPv6.
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// An IPv4 or IPv6 address.
///
/// The text form is that of RFC 5952. An IPv4-mapped address (`::ffff:192.0.2.1`) becomes the IPv4
/// address it stands for, which is how the kernel shows the packets of such a peer.
public struct IPAddress: TextForm, Comparable {
    /// The bits of the address from the first on, left-aligned: those of IPv4 are the upper half
    /// of `high`, so that prefixes are counted from the same end in both families.
    let high: UInt64
    let low: UInt64
    /// The family of the address.
    public let family: AddressFamily

    init(high: UInt64, low: UInt64, family: AddressFamily) {
        self.high = high
        self.low = low
        self.family = family
    }

    /// Reads `192.0.2.1` or `2001:db8::1`; a zone, an octal number or a port is refused.
    public init(parsing text: String) throws(ParseError) {
        self = try Self(unmapped: text).withoutMapping
    }

    /// Takes the 4 or 16 bytes of an address in network order; nil for any other number.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        let words = stride(from: 0, to: bytes.count, by: 4).map { start in
            bytes[start..<start + 4].reduce(0) { $0 << 8 | UInt64($1) }
        }
        if words.count == 1 {
            self.init(high: words[0] << 32, low: 0, family: .ipv4)
        } else {
            self =
                Self(high: words[0] << 32 | words[1], low: words[2] << 32 | words[3], family: .ipv6)
                .withoutMapping
        }
    }

    /// The 4 or 16 bytes of the address in network order.
    public var bytes: [UInt8] {
        (0..<family.bits / 8).map(byte)
    }

    private func byte(_ index: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> UInt64(56 - index % 8 * 8))
    }

    /// The text form, IPv6 as in RFC 5952.
    public var description: String {
        String(capacity: 39) { appendText(to: &$0) }
    }

    func appendText(to bytes: inout [UInt8]) {
        guard family == .ipv4 else { return bytes.append(text: groupsText) }
        for index in 0..<4 {
            if index > 0 { bytes.append(UInt8(ascii: ".")) }
            bytes.append(decimal: UInt64(byte(index)))
        }
    }

    /// IPv4 before IPv6, then by number.
    public static func < (a: Self, b: Self) -> Bool {
        (a.family, a.high, a.low) < (b.family, b.high, b.low)
    }

    private var groupsText: String {
        let groups = (0..<8).map {
            UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> UInt64(48 - $0 % 4 * 16))
        }
        // RFC 5952, 4.2: the first of the longest runs of at least two zero groups.
        var longest = 0..<0
        var start = 0
        for (index, group) in groups.enumerated() {
            if group != 0 { start = index + 1 }
            if index + 1 - start > max(longest.count, 1) { longest = start..<index + 1 }
        }
        let text = { (part: ArraySlice<UInt16>) in
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        return longest.isEmpty
            ? text(groups[...])
            : text(groups[..<longest.lowerBound]) + "::" + text(groups[longest.upperBound...])
    }
}

extension IPAddress {
    /// Reads an address and leaves an IPv4-mapped one in IPv6.
    init(unmapped text: String) throws(ParseError) {
        // Longer than any address; bounds the work on texts from outside.
        guard text.utf8.count <= 64 else {
            throw ParseError(text, "it is too long for an address")
        }
        if let zone = text.utf8.firstIndex(of: UInt8(ascii: "%")) {
            throw ParseError(
                text,
                "a zone cannot be part of a source; write the address without it",
                suggestion: (try? Self(parsing: String(text[..<zone])))?.description
            )
        }
        let bytes = Array(text.utf8)
        if let number = Self.ipv4(bytes[...]) {
            self.init(high: UInt64(number) << 32, low: 0, family: .ipv4)
        } else if let groups = Self.ipv6(bytes) {
            let half = { (part: ArraySlice<UInt16>) in part.reduce(0) { $0 << 16 | UInt64($1) } }
            self.init(high: half(groups[..<4]), low: half(groups[4...]), family: .ipv6)
        } else if text.contains(":") {
            throw ParseError(text, "it is not an IPv6 address; write one like 2001:db8::1")
        } else if bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            .contains(where: { $0.count > 1 && $0.first == UInt8(ascii: "0") })
        {
            throw ParseError(
                text,
                "a number with a leading zero may be read as octal; write it without the zero"
            )
        } else {
            throw ParseError(
                text,
                "it is not an address; write one like 192.0.2.1 or 2001:db8::1"
            )
        }
    }

    /// The IPv4 address that an IPv4-mapped one stands for (RFC 4291, 2.5.5.2); others as they are.
    var withoutMapping: Self {
        isMapped ? Self(high: low << 32, low: 0, family: .ipv4) : self
    }

    /// Whether the address lies in `::ffff:0:0/96`.
    var isMapped: Bool { family == .ipv6 && high == 0 && low >> 32 == 0xFFFF }

    /// Four decimal numbers; nil where the text is anything else.
    private static func ipv4(_ text: ArraySlice<UInt8>) -> UInt32? {
        var number: UInt32 = 0
        var rest = text
        for index in 0..<4 {
            let part = rest.prefix { $0 != UInt8(ascii: ".") }
            rest = rest.dropFirst(part.count)
            // A point ends each number but the last.
            guard let byte = Int(digits: part), byte <= 255, rest.isEmpty == (index == 3)
            else { return nil }
            number = number << 8 | UInt32(byte)
            rest = rest.dropFirst()
        }
        return number
    }

    /// The eight groups of a text of RFC 4291, 2.2; nil where it is anything else.
    private static func ipv6(_ text: [UInt8]) -> [UInt16]? {
        let colon = UInt8(ascii: ":")
        var groups: [UInt16] = []
        var gap: Int?
        var rest = text[...]
        if rest.starts(with: [colon, colon]) {
            gap = 0
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            guard groups.count < 8 else { return nil }
            let part = rest.prefix { $0 != colon }
            rest = rest.dropFirst(part.count)
            if part.contains(UInt8(ascii: ".")) {
                guard rest.isEmpty, groups.count <= 6, let number = ipv4(part) else { return nil }
                groups += [UInt16(number >> 16), UInt16(truncatingIfNeeded: number)]
                break
            }
            guard let group = hexadecimal(part) else { return nil }
            groups.append(group)
            guard !rest.isEmpty else { break }
            rest = rest.dropFirst()
            if rest.first == colon {
                guard gap == nil else { return nil }
                gap = groups.count
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: Array(repeating: 0, count: 8 - groups.count), at: gap)
        }
        return groups.count == 8 ? groups : nil
    }

    /// One to four hexadecimal digits.
    private static func hexadecimal(_ digits: ArraySlice<UInt8>) -> UInt16? {
        guard (1...4).contains(digits.count) else { return nil }
        var value: UInt16 = 0
        for digit in digits {
            let nibble: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): nibble = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            value = value << 4 | UInt16(nibble)
        }
        return value
    }
}

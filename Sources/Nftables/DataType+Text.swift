extension DataType {
    /// A value as nft writes it; a range as a prefix where it is one.
    func text(_ low: [UInt8], through high: [UInt8]) -> String {
        if low == high { return text(low) }
        let isAddress = self == .ipv4Address || self == .ipv6Address
        if isAddress, let length = prefixLength(low, high) { return "\(text(low))/\(length)" }
        return "\(text(low))-\(text(high))"
    }

    /// A value as nft writes it.
    func text(_ bytes: [UInt8]) -> String {
        guard bytes.count == length else { return hex(bytes) }
        switch self {
        case .ipv4Address: return bytes.map { String($0) }.joined(separator: ".")
        case .ipv6Address: return ipv6(bytes)
        case .transportProtocol: return protocols[bytes[0]] ?? String(bytes[0])
        case .port: return String(Int(bytes[0]) << 8 | Int(bytes[1]))
        case .interfaceName: return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        case .interfaceIndex: return String(native(bytes))
        default: return "0x" + hexadecimal(native(bytes), digits: 8)
        }
    }
}

/// Bytes as one number in nft's hexadecimal writing.
func hex(_ bytes: [UInt8]) -> String {
    "0x" + bytes.map { hexadecimal(UInt32($0), digits: 2) }.joined()
}

/// A number in the host's order out of at most 4 bytes.
func native(_ bytes: [UInt8]) -> UInt32 {
    var number: UInt32 = 0
    unsafe withUnsafeMutableBytes(of: &number) { unsafe $0.copyBytes(from: bytes.prefix(4)) }
    return number
}

private let protocols: [UInt8: String] = [
    1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 58: "ipv6-icmp", 132: "sctp", 136: "udplite",
]

private func hexadecimal(_ number: UInt32, digits: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}

/// The prefix length of a range that is one; nil for others.
private func prefixLength(_ low: [UInt8], _ high: [UInt8]) -> Int? {
    var length = 0
    for (a, b) in zip(low, high) {
        let common = (a ^ b).leadingZeroBitCount
        length += common
        guard common < 8 else { continue }
        let rest = UInt8(truncatingIfNeeded: 0xff >> common)
        guard a & rest == 0, b & rest == rest else { return nil }
        break
    }
    let whole = length / 8 + 1
    guard low.dropFirst(whole).allSatisfy({ $0 == 0 }),
        high.dropFirst(whole).allSatisfy({ $0 == 0xff })
    else { return nil }
    return length
}

/// An IPv6 address as RFC 5952 recommends.
private func ipv6(_ bytes: [UInt8]) -> String {
    let groups = (0..<8).map { UInt16(bytes[$0 * 2]) << 8 | UInt16(bytes[$0 * 2 + 1]) }
    var best = 0..<0
    var start = 0
    for index in 0...8 where index == 8 || groups[index] != 0 {
        // A single zero group is not shortened (4.2.2); of equal runs the first is (4.2.3).
        if index - start > max(1, best.count) { best = start..<index }
        start = index + 1
    }
    let text = { (part: ArraySlice<UInt16>) in
        part.map { String($0, radix: 16) }.joined(separator: ":")
    }
    guard !best.isEmpty else { return text(groups[...]) }
    return text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
}

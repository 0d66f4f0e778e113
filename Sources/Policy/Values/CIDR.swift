/// A range of addresses: all that share the first bits with `address`.
///
/// The text form is `10.0.0.0/8`, the prefix length always written. A range inside
/// `::ffff:0:0/96` becomes the IPv4 range it stands for.
public struct CIDR: TextForm, Comparable {
    /// The first address of the range.
    public let address: IPAddress
    private let length: UInt8

    /// How many bits the addresses share: 0...32 or 0...128.
    public var prefixLength: Int { Int(length) }

    /// The family of the addresses.
    public var family: AddressFamily { address.family }

    /// Takes the range of a given length around an address, whose other bits are cleared.
    ///
    /// Nil where the length is not one of the family.
    public init?(_ address: IPAddress, prefixLength: Int) {
        guard (0...address.family.bits).contains(prefixLength) else { return nil }
        let mask = Self.mask(UInt8(prefixLength))
        self.address = IPAddress(
            high: address.high & mask.high,
            low: address.low & mask.low,
            family: address.family
        )
        self.length = UInt8(prefixLength)
    }

    /// Takes one address as a range of its own: `/32` or `/128`.
    public init(_ address: IPAddress) {
        self.address = address
        self.length = UInt8(address.family.bits)
    }

    /// Reads `10.0.0.0/8`; an address alone is a range of one.
    ///
    /// Bits set behind the prefix are refused, with the cleared range as the suggestion.
    public init(parsing text: String) throws(ParseError) {
        guard let slash = text.utf8.firstIndex(of: UInt8(ascii: "/")) else {
            self.init(try IPAddress(parsing: text))
            return
        }
        let address: IPAddress
        do {
            address = try IPAddress(unmapped: String(text[..<slash]))
        } catch {
            throw ParseError(
                text,
                error.message,
                suggestion: error.suggestion.map { $0 + text[slash...] }
            )
        }
        let bits = address.family.bits
        guard let length = Int(digits: text.utf8[slash...].dropFirst()), length <= bits else {
            throw ParseError(
                text,
                "the prefix length must be a number 0...\(bits)",
                suggestion: "\(address.withoutMapping)/\(address.withoutMapping.family.bits)"
            )
        }
        guard let range = Self(address, prefixLength: length)?.withoutMapping else {
            throw ParseError(text, "the prefix length must be a number 0...\(bits)")
        }
        guard range.address == address.withoutMapping else {
            throw ParseError(
                text,
                "bits are set behind the prefix; write \(range) for the range or \(Self(address.withoutMapping)) for the one address",
                suggestion: range.description
            )
        }
        self = range
    }

    /// The text form.
    public var description: String {
        String(capacity: 43) { bytes in
            address.appendText(to: &bytes)
            bytes.append(UInt8(ascii: "/"))
            bytes.append(decimal: length)
        }
    }

    /// Whether the address lies in the range.
    public func contains(_ other: IPAddress) -> Bool { contains(Self(other)) }

    /// Whether all of the other range lies in this one.
    public func contains(_ other: CIDR) -> Bool {
        guard family == other.family, length <= other.length else { return false }
        let mask = Self.mask(length)
        return (other.address.high ^ address.high) & mask.high == 0
            && (other.address.low ^ address.low) & mask.low == 0
    }

    /// Whether an address lies in both ranges; one of the two then contains the other.
    public func overlaps(_ other: CIDR) -> Bool { contains(other) || other.contains(self) }

    /// By family, then first address, then the wider range first.
    public static func < (a: Self, b: Self) -> Bool {
        (a.address, a.length) < (b.address, b.length)
    }

    private var withoutMapping: CIDR {
        guard address.isMapped, length >= 96 else { return self }
        return CIDR(address.withoutMapping, prefixLength: prefixLength - 96) ?? self
    }

    /// A mask with `length` bits set from the first on.
    ///
    /// A shift by the full width gives zero in Swift, so
    /// lengths 0, 64 and 128 need no case of their own.
    private static func mask(_ length: UInt8) -> (high: UInt64, low: UInt64) {
        (~(UInt64.max >> length), length <= 64 ? 0 : ~(UInt64.max >> (length - 64)))
    }
}

extension CIDR {
    /// Ranges that no packet from another host has as its source (RFC 6890, RFC 5771, RFC 4291,
    /// RFC 919: the broadcast address is one of those that RFC 1112 reserves).
    private static let nobodys: [(range: CIDR, kind: String)] = [
        ("0.0.0.0/8", "unspecified"), ("127.0.0.0/8", "loopback"), ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"), ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"), ("::1/128", "loopback"), ("ff00::/8", "multicast"),
        // What is left of ::/16 was for IPv4-compatible and mapped addresses, and nothing else.
        ("::/16", "reserved"),
    ].compactMap { text, kind in (try? CIDR(parsing: text)).map { ($0, kind) } }

    /// Which kind of address it is where nobody can come from there: `loopback`; nil elsewhere.
    public var nobodysKind: String? { Self.nobodys.first { $0.range.contains(self) }?.kind }
}

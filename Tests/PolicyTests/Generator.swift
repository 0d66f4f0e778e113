import Policy

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators").
///
/// The same seed gives the same numbers; property tests take the seed as their argument, so that
/// a failure names it.
struct Generator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var bits = state
        bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
        return bits ^ bits >> 31
    }

    /// A number of the range; small ranges are where collisions happen.
    mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    mutating func chance(_ percent: Int) -> Bool { int(1...100) <= percent }

    mutating func pick<Value>(_ values: [Value]) -> Value { values[int(0...values.count - 1)] }

    /// An address with many zeros or ones, so that runs and prefixes of all lengths occur.
    mutating func address() -> IPAddress {
        let length = chance(50) ? 4 : 16
        let bytes = (0..<length).map { _ in
            pick([0, 0, 0, 255, UInt8.random(in: 0...255, using: &self)])
        }
        return IPAddress(bytes: bytes) ?? address()
    }

    mutating func range() -> CIDR {
        let address = address()
        return CIDR(address, prefixLength: int(0...address.family.bits)) ?? range()
    }

    mutating func ports() -> PortRange {
        let lower = UInt16(pick([int(1...65_535), int(1...4), 22, 65_535]))
        let upper = chance(50) ? lower : UInt16(clamping: Int(lower) + int(0...12))
        return PortRange(lower, upper, pick(PortProtocol.allCases)) ?? ports()
    }

    /// Letters, digits and signs that the text forms use, and some that they do not.
    mutating func noise() -> String {
        let alphabet = Array("0123456789abcdfhmstPTDHMSZ:./-+ %x\u{0}\u{301}é")
        return String((0..<int(0...40)).map { _ in pick(alphabet) })
    }
}

func cidr(_ text: String) throws -> CIDR { try CIDR(parsing: text) }

func port(_ text: String) throws -> PortRange { try PortRange(parsing: text) }

func boot(_ milliseconds: Int64) -> BootTime { BootTime(milliseconds: milliseconds) }

func instant(_ text: String) throws -> Timestamp { try Timestamp(parsing: text) }

/// What a text is refused with; nil where it is read.
func refusal<Value: TextForm>(_ type: Value.Type, _ text: String) -> ParseError? {
    do throws(ParseError) {
        _ = try Value(parsing: text)
        return nil
    } catch {
        return error
    }
}

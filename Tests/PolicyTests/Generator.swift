import Policy
import TestSupport

extension Generator {
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

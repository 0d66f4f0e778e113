extension [UInt8] {
    /// Appends a text as JSON has it, in the form of RFC 8785, section 3.2.2.2: only what must be is
    /// escaped, in the shortest way.
    package mutating func append(json text: String) {
        append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { bytes in
            if unsafe bytes.contains(where: { $0 < 0x20 || $0 == 0x22 || $0 == 0x5C }) {
                unsafe bytes.forEach { append(escaped: $0) }
            } else {
                unsafe append(contentsOf: bytes)
            }
        }
        append(UInt8(ascii: "\""))
    }

    private mutating func append(escaped byte: UInt8) {
        let letter: UInt8
        switch byte {
        case 0x08: letter = UInt8(ascii: "b")
        case 0x09: letter = UInt8(ascii: "t")
        case 0x0A: letter = UInt8(ascii: "n")
        case 0x0C: letter = UInt8(ascii: "f")
        case 0x0D: letter = UInt8(ascii: "r")
        case 0x22, 0x5C: letter = byte
        case 0..<0x20:
            let digits = Array("0123456789abcdef".utf8)
            self += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            return
        default:
            append(byte)
            return
        }
        append(UInt8(ascii: "\\"))
        append(letter)
    }

    /// Appends an instant as JSON has it.
    package mutating func append(json instant: Timestamp) {
        append(UInt8(ascii: "\""))
        append(instant)
        append(UInt8(ascii: "\""))
    }
}

/// Makes characters visible that a terminal would obey, or that would reorder or hide text.
///
/// Reasons, names and addresses come from other people. A control character in them (an escape
/// sequence, a carriage return, a bidirectional override) is replaced by its Swift spelling,
/// `\u{1b}`; everything else stays as it is.
func visible(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: \.isObeyed) else { return text }
    return text.unicodeScalars.reduce(into: "") { shown, scalar in
        if !scalar.isObeyed {
            shown.unicodeScalars.append(scalar)
        } else if scalar == "\n" {
            shown += "\\n"
        } else if scalar == "\t" {
            shown += "\\t"
        } else {
            shown += "\\u{\(String(scalar.value, radix: 16))}"
        }
    }
}

extension Unicode.Scalar {
    /// Whether a terminal acts on the scalar instead of showing it.
    var isObeyed: Bool {
        // Most text is ASCII: spare it the table lookup.
        if isASCII { return value < 0x20 || value == 0x7f }
        return switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}

extension String {
    /// The text itself, or its beginning and an ellipsis where it is longer than `limit` characters.
    func clipped(to limit: Int) -> String {
        count <= limit ? self : prefix(limit - 1) + "…"
    }
}

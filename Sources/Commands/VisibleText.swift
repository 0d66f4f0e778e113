import Policy

/// Makes characters visible that a terminal would obey, or that would reorder or break text.
///
/// Reasons, names and addresses come from other people. A control character in them (an escape
/// sequence, a carriage return, a bidirectional override) is replaced by its Swift spelling,
/// `\u{1b}`; everything else stays as it is.
func visible(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: \.steersOutput) else { return text }
    return text.unicodeScalars.reduce(into: "") { shown, scalar in
        if !scalar.steersOutput {
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

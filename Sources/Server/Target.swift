import API

/// The target of a request, taken apart.
struct Target {
    var path: Substring
    private var queryText: Substring?

    init(_ text: String) throws(Problem) {
        let end = text.utf8.firstIndex(of: UInt8(ascii: "?")) ?? text.endIndex
        path = text[..<end]
        queryText = end < text.endIndex ? Substring(text.utf8[end...].dropFirst()) : nil
    }

    /// The query parameters, each of which must be known and stand there once.
    func query(allowed: Set<String>) throws(Problem) -> [String: String] {
        guard let queryText, !queryText.isEmpty else { return [:] }
        var query: [String: String] = [:]
        for item in queryText.split(separator: "&") {
            let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try percentDecoded(pair[0])
            guard allowed.contains(name) else {
                let known = allowed.isEmpty ? "none" : allowed.sorted().joined(separator: ", ")
                throw Problem(
                    .badRequest,
                    "cannot take query parameter \(name): known here are \(known)"
                )
            }
            guard query[name] == nil else {
                throw Problem(.badRequest, "cannot take query parameter \(name) twice")
            }
            query[name] = try percentDecoded(pair.count == 2 ? pair[1] : "")
        }
        return query
    }
}

/// Text of a request's target without its percent encoding (RFC 3986, section 2.1).
func percentDecoded(_ text: Substring) throws(Problem) -> String {
    guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "%") else {
            bytes.append(byte)
            continue
        }
        let digits = rest.prefix(2)
        guard digits.count == 2, digits.allSatisfy(\.isHexDigit),
            let value = UInt8(Substring(digits), radix: 16)
        else { throw Problem(.badRequest, "cannot read \(text): its percent encoding is wrong") }
        bytes.append(value)
        rest = rest.dropFirst(2)
    }
    guard let decoded = String(validating: bytes, as: UTF8.self) else {
        throw Problem(.badRequest, "cannot read \(text): it is not UTF-8 text")
    }
    return decoded
}

extension UInt8 {
    fileprivate var isHexDigit: Bool { Unicode.Scalar(self).properties.isASCIIHexDigit }
}

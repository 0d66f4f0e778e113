/// Any field name, so that unknown ones can be seen.
struct FieldName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.init(stringValue) }
    init?(intValue: Int) { nil }
}

extension Decoder {
    /// Throws for the first field that is not one of `known`: a misspelt limit must not be ignored.
    func refuseUnknownFields(_ known: [String]) throws {
        let fields = try container(keyedBy: FieldName.self)
        if let unknown = fields.allKeys.first(where: { !known.contains($0.stringValue) }) {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: codingPath + [unknown],
                    debugDescription:
                        "unknown field \"\(unknown.stringValue)\"; known are \(known.joined(separator: ", "))"
                )
            )
        }
    }
}

extension DecodingError {
    /// What is wrong, beginning with the field: `sources[2]: expected a string`.
    var explanation: String {
        switch self {
        case .typeMismatch(_, let context) where context.codingPath.isEmpty,
            .valueNotFound(_, let context) where context.codingPath.isEmpty:
            "it is not the document this takes"
        case .keyNotFound(let key, let context):
            "\(Self.path(context.codingPath + [key])): this field is missing"
        case .valueNotFound(_, let context):
            "\(Self.path(context.codingPath)): this field is null"
        case .typeMismatch(let type, let context):
            "\(Self.path(context.codingPath)): this is not \(Self.name(of: type))"
        case .dataCorrupted(let context) where context.codingPath.isEmpty:
            "it is not a JSON document"
        case .dataCorrupted(let context):
            "\(Self.path(context.codingPath)): \(context.debugDescription)"
        @unknown default:
            "it is not the document this takes"
        }
    }

    private static func path(_ path: [any CodingKey]) -> String {
        path.reduce(into: "") { text, key in
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += text.isEmpty ? key.stringValue : ".\(key.stringValue)"
            }
        }
    }

    private static func name(of type: any Any.Type) -> String {
        switch type {
        case is String.Type: "text"
        case is any FixedWidthInteger.Type: "a whole number"
        case is Bool.Type: "true or false"
        case is any Sequence.Type: "a list"
        default: "what this field takes"
        }
    }
}

/// One limit that a request breaks.
public struct Violation: Error, Codable, Hashable, Sendable {
    /// The field of the request, like `duration` or `sources[3]`, counted from 0.
    public var field: String
    /// What was asked, shortened where it is long.
    public var value: String
    /// The nearest value that is allowed, or the limit, in the form it would be written.
    public var allowed: String
    /// What was refused and why, for the person who asked.
    public var message: String

    /// Takes the four parts as they are.
    public init(field: String, value: String, allowed: String, message: String) {
        self.field = field
        self.value = value
        self.allowed = allowed
        self.message = message
    }
}

extension [Violation] {
    /// What is wrong, in one line.
    public var text: String { map(\.message).joined(separator: "; ") }
}

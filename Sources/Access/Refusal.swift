public import Policy

/// Somebody who was refused before any use case was asked.
public struct Refusal: Hashable, Sendable {
    /// By whose count there may be too many.
    public enum Kind: Hashable, Sendable {
        /// Somebody with a role, but not for this.
        case caller
        /// Somebody without any role.
        case stranger
        /// A delegate, or somebody that it may not let in.
        case delegate(String)
    }

    /// By whose count there may be too many.
    public var kind: Kind
    /// Who was refused.
    public var who: Person
    /// What was refused and why, as it was answered.
    public var detail: String

    /// Takes the parts.
    public init(_ kind: Kind, _ who: Person, _ detail: String) {
        self.kind = kind
        self.who = who
        self.detail = detail
    }
}

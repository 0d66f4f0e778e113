/// A rule: expressions that a packet passes from left to right until one breaks off.
public struct Rule: Hashable, Sendable {
    /// The chain it is in; in a listed rule, without the chain's hook.
    public var chain: Chain
    /// What it does, at most 128 expressions.
    public var expressions: [Expression]
    /// Up to 128 bytes for people, shown by `nft list`.
    public var comment: String?
    /// What the kernel calls it; only in listed rules, needed to delete one.
    public var handle: UInt64?

    /// Describes a rule by its bare expressions.
    public init(in chain: Chain, expressions: [Expression], comment: String? = nil) {
        self.chain = chain
        self.expressions = expressions
        self.comment = comment
    }

    /// Describes a rule: what a packet must match, and what then becomes of it.
    public init(
        in chain: Chain,
        _ matches: [Match],
        then statements: [Expression],
        comment: String? = nil
    ) {
        self.init(
            in: chain,
            expressions: matches.flatMap(\.expressions) + statements,
            comment: comment
        )
    }
}

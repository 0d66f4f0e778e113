/// What becomes of a packet.
public enum Verdict: Hashable, Sendable {
    case accept
    case drop
    /// Go on with the next rule.
    case `continue`
    /// Go back to where this chain was jumped to from.
    case `return`
    /// Go through a chain of the same table and come back.
    case jump(String)
    /// Go through a chain of the same table and do not come back.
    case goto(String)
}

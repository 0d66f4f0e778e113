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

extension Verdict: CustomStringConvertible {
    /// The verdict as nft writes it.
    public var description: String {
        switch self {
        case .accept: "accept"
        case .drop: "drop"
        case .continue: "continue"
        case .return: "return"
        case .jump(let chain): "jump \(chain)"
        case .goto(let chain): "goto \(chain)"
        }
    }
}

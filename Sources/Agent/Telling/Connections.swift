public import Policy
import Synchronization

/// What is heard of connections, on whatever thread, until the agent has looked at it.
public final class Connections: Sendable {
    /// What waits; of more it is only known that it was missed.
    private static let most = 4_096

    /// Why nothing can be heard; nil where it can.
    public let fault: String?
    private let news = Mutex<[ConnectionNews]>([])

    /// Nothing was heard; `fault` says why that stays so.
    public init(fault: String? = nil) { self.fault = fault }

    /// Takes news; answers whether the agent has to be told that there are some.
    public func note(_ more: [ConnectionNews]) -> Bool {
        news.withLock { news in
            defer {
                if news.count + more.count <= Self.most {
                    news += more
                } else if news.last != .missed {
                    news.append(.missed)
                }
            }
            return news.isEmpty && !more.isEmpty
        }
    }

    func take() -> [ConnectionNews] {
        news.withLock { news in
            defer { news = [] }
            return news
        }
    }
}

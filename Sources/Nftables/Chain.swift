/// A chain of rules.
public struct Chain: Hashable, Sendable {
    /// What a chain's hook may do with a packet.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        case filter, nat, route
    }

    /// Where in a packet's way a chain stands, for the families ip, ip6 and inet
    /// (`enum nf_inet_hooks`, linux/netfilter.h).
    public enum Hook: UInt32, Hashable, Sendable, CaseIterable {
        case prerouting, input, forward, output, postrouting, ingress
    }

    /// What becomes of a packet that no rule decided on.
    public enum Policy: UInt32, Hashable, Sendable, CaseIterable {
        case drop = 0
        case accept = 1
    }

    /// What makes a chain see packets by itself.
    public struct Base: Hashable, Sendable {
        /// What it may do.
        public var kind: Kind
        /// Where it stands.
        public var hook: Hook
        /// Chains of one hook see the packet in rising order; conntrack is -200, DNAT -100.
        public var priority: Int32
        /// What becomes of the packets no rule decided on.
        public var policy: Policy

        /// Describes a base chain's place.
        public init(kind: Kind = .filter, hook: Hook, priority: Int32, policy: Policy = .accept) {
            self.kind = kind
            self.hook = hook
            self.priority = priority
            self.policy = policy
        }
    }

    /// The table it is in.
    public var table: Table
    /// 1 to 255 bytes, unique in the table.
    public var name: String
    /// Its hook; nil for a chain that is only jumped to.
    public var base: Base?

    /// Describes a chain; without `base` it sees only what jumps to it.
    public init(_ name: String, in table: Table, base: Base? = nil) {
        self.table = table
        self.name = name
        self.base = base
    }
}

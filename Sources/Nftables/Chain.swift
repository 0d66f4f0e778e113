/// A chain of rules.
public struct Chain: Hashable, Sendable {
    /// What a chain's hook may do with a packet.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        case filter, nat, route
    }

    /// Where in a packet's way a chain stands; which of them there are depends on the family.
    public enum Hook: Hashable, Sendable, CaseIterable {
        case prerouting, input, forward, output, postrouting, ingress, egress, brouting
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
        /// The devices whose packets it sees, of ingress and egress; only in listed chains.
        public var devices: [String] = []

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

extension Chain.Hook {
    /// The kernel's number of the hook: `enum nf_inet_hooks` and `nf_dev_hooks` (linux/netfilter.h),
    /// `NF_BR_*` (linux/netfilter_bridge.h), `NF_ARP_*` (linux/netfilter_arp.h).
    ///
    /// nil where the family has no such hook.
    func number(in family: Family) -> UInt32? {
        Self.hooks(of: family).firstIndex(of: self).map(UInt32.init)
    }

    /// The hook of a number; nil where the family has none.
    init?(number: UInt32, in family: Family) {
        let hooks = Self.hooks(of: family)
        guard let index = Int(exactly: number), hooks.indices.contains(index) else { return nil }
        self = hooks[index]
    }

    /// The hooks of a family, in the order of their numbers.
    private static func hooks(of family: Family) -> [Self] {
        let five: [Self] = [.prerouting, .input, .forward, .output, .postrouting]
        return switch family {
        case .ip, .ip6: five
        case .inet: five + [.ingress]
        case .bridge: five + [.brouting]
        case .arp: [.input, .output, .forward]
        case .netdev: [.ingress, .egress]
        }
    }
}

public import Netlink
public import Nftables
public import Policy

/// What was found on a host, as far as it bears on who reaches its ports.
public struct HostState: Sendable {
    /// All of nf_tables, but the elements of the gate's own sets.
    public var ruleset = WholeRuleset()
    /// The sockets that take what comes in.
    public var listeners: [Listener] = []
    /// The names of the processes that hold sockets, by inode, of those that may be looked at.
    public var processes: [UInt32: String] = [:]
    /// The interfaces with their addresses.
    public var interfaces: [NetworkInterface] = []
    /// Tables of the older iptables, whose rules are not to be read through nf_tables.
    public var legacyTables: [String] = []
    /// The services of IPVS.
    public var virtualServices: [VirtualService] = []
    /// Where packets to those networks go that were asked for: to one address that stands for all.
    public var routes: [CIDR: Route] = [:]
    /// Whether IPv4 packets that come in by an interface are passed on.
    public var forwardingIPv4: [String: Bool] = [:]
    /// Whether IPv6 packets are passed on; nil where the system does not say.
    public var forwardsIPv6: Bool?
    /// How many connections conntrack holds; nil where it does not say.
    public var connectionCount: Int?
    /// How many it can hold.
    public var connectionLimit: Int?
    /// The reverse path filter in force for IPv4 by interface: 0 off, 1 strict, 2 loose.
    public var reversePathFilters: [String: Int] = [:]
    /// Whether a time service keeps the clock right; nil where the system does not say.
    public var isClockSynchronized: Bool?
    /// What could not be read, in words.
    public var gaps: [String] = []

    /// A host of which nothing is known.
    public init() {}
}

/// A service that IPVS takes in place of a socket (`/proc/net/ip_vs`).
public struct VirtualService: Hashable, Sendable {
    /// `TCP`, `UDP`, `SCTP`, or `FWM` for packets of a mark.
    public var kind: String
    /// The port it is reached under; nil for packets of a mark.
    public var port: UInt16?
    /// The ports of the servers behind it.
    public var serverPorts: Set<UInt16>

    /// Reads the kernel's list (`ip_vs_info_seq_show`, net/netfilter/ipvs/ip_vs_ctl.c).
    public static func all(in text: String) -> [VirtualService] {
        var services: [VirtualService] = []
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 2 else { continue }
            if words[0] == "->" {
                // The first such line is the heading.
                guard let port = port(words[1]), !services.isEmpty else { continue }
                services[services.count - 1].serverPorts.insert(port)
            } else if ["TCP", "UDP", "SCTP"].contains(words[0]), let port = port(words[1]) {
                services.append(.init(kind: String(words[0]), port: port, serverPorts: []))
            } else if words[0] == "FWM" {
                services.append(.init(kind: "FWM", port: nil, serverPorts: []))
            }
        }
        return services
    }

    /// The port of `C0000201:0050` or `[2001:...]:0050`.
    private static func port(_ place: Substring) -> UInt16? {
        place.split(separator: ":").last.flatMap { $0.count == 4 ? UInt16($0, radix: 16) : nil }
    }
}

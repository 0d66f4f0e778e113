import Netlink
public import Nftables
public import Policy

/// What the agent knows, and the kernel does not tell.
public struct Situation: Sendable {
    /// A live grant, as far as packets go.
    public struct Opening: Hashable, Sendable {
        /// The ports.
        public var port: PortRange
        /// Whom it lets in.
        public var source: CIDR
        /// The host behind this machine; nil for this machine itself.
        public var host: IPAddress?

        /// Takes the parts.
        public init(port: PortRange, source: CIDR, host: IPAddress? = nil) {
            self.port = port
            self.source = source
            self.host = host
        }
    }

    /// The gate's table.
    public var gate: Table
    /// The priority of its chain at the hook prerouting.
    public var gatePriority: Int32
    /// What is wrong with the gate; nil where nothing is.
    public var gateFault: String?
    /// Whether that is because somebody took it away.
    public var isDisarmed: Bool
    /// Whether the kernel keeps others from changing it.
    public var isGateOwned: Bool
    /// All policies.
    public var policies: [AccessPolicy]
    /// Live grants, or as many of them as are looked at.
    public var openings: [Opening]
    /// Whether some sources are always let in.
    public var hasBreakGlass: Bool
    /// The users that delegates run as, with the delegates' names.
    public var delegates: [UInt32: String]

    /// Takes the parts.
    public init(
        gate: Table,
        gatePriority: Int32,
        gateFault: String? = nil,
        isDisarmed: Bool = false,
        isGateOwned: Bool = true,
        policies: [AccessPolicy],
        openings: [Opening] = [],
        hasBreakGlass: Bool = false,
        delegates: [UInt32: String] = [:]
    ) {
        self.gate = gate
        self.gatePriority = gatePriority
        self.gateFault = gateFault
        self.isDisarmed = isDisarmed
        self.isGateOwned = isGateOwned
        self.policies = policies
        self.openings = openings
        self.hasBreakGlass = hasBreakGlass
        self.delegates = delegates
    }

    /// The policies in force of this machine's own ports: those of hosts behind it close none here.
    var ownPolicies: [AccessPolicy] { policies.filter { $0.enabled && $0.hosts == nil } }

    /// The policies in force of hosts behind this machine.
    var farPolicies: [AccessPolicy] { policies.filter { $0.enabled && $0.hosts != nil } }

    /// The networks whose routes tell how packets come to hosts behind this machine.
    public var ways: [CIDR] {
        let openings = openings.filter { $0.host != nil }
        let ends = farPolicies.flatMap { ($0.hosts ?? []).prefix(8) + $0.allowedSources.prefix(8) }
        let live = openings.flatMap { [$0.source] + ($0.host.map { [CIDR($0)] } ?? []) }
        // All there is has default routes, which are known of each interface.
        return Set(ends + live).filter { $0.prefixLength > 0 }.sorted()
    }

    /// The policy that manages a port of this machine; nil where none does.
    func policy(managing port: UInt16, _ transport: Transport) -> AccessPolicy? {
        ownPolicies.first { $0.names(port, transport) }
    }

    /// Whether all ports of a range are managed on this machine.
    func manages(_ ports: ClosedRange<UInt16>, _ transport: Transport) -> Bool {
        var next = Int(ports.lowerBound)
        // The policies' ranges do not overlap.
        let ranges = ownPolicies.flatMap(\.ports)
            .filter { $0.portProtocol.transports.contains(transport) }.sorted()
        for range in ranges where Int(range.lower) <= next {
            next = max(next, Int(range.upper) + 1)
        }
        return next > Int(ports.upperBound)
    }

    /// The managed ports of a range on this machine, each policy's in one.
    func managed(
        in ports: ClosedRange<UInt16>,
        _ transport: Transport
    ) -> [PortRange] {
        let kind: PortProtocol = transport == .tcp ? .tcp : .udp
        guard let wanted = PortRange(max(1, ports.lowerBound), max(1, ports.upperBound), kind)
        else {
            return []
        }
        return ownPolicies.flatMap(\.ports).compactMap { $0.intersection(wanted) }
    }
}

extension AccessPolicy {
    /// Whether one of its ports is this one.
    func names(_ port: UInt16, _ transport: Transport) -> Bool {
        ports.contains {
            $0.portProtocol.transports.contains(transport) && ($0.lower...$0.upper).contains(port)
        }
    }
}

extension HostState {
    /// Where packets from elsewhere come in: an interface and the address they are for.
    ///
    /// Where there are default routes, it is by their interfaces; else by any that is up. Without
    /// an address of a family, nothing of that family comes in.
    func entries(_ family: AddressFamily) -> [(input: Packet.Interface?, address: [UInt8]?)] {
        let up = interfaces.filter { $0.isUp && !$0.isLoopback }
        let leading = up.filter(\.hasDefaultRoute)
        let chosen = leading.isEmpty ? up : leading
        guard chosen.contains(where: { !$0.addresses.isEmpty }) else { return [(nil, nil)] }
        let entries = chosen.flatMap { interface in
            let all = interface.addresses.filter { $0.bytes.count * 8 == family.bits }
            let wide = all.filter { !$0.isLinkLocal }
            return (wide.isEmpty ? all : wide).map {
                (Packet.Interface(index: interface.index, name: interface.name), $0.bytes)
            }
        }
        return entries.prefix(4).map { ($0.0, $0.1) }
    }
}

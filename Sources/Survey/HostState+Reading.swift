internal import Linux
public import Netlink
public import Nftables
public import Policy
internal import SystemPackage

extension HostState {
    /// How much is read of one host, and how long it may take.
    public struct Limits: Sendable {
        /// The most rules.
        public var rules = 100_000
        /// The most elements of one set.
        public var elementsPerSet = 4096
        /// The most processes whose open files are looked at.
        public var processes = 20_000
        /// How long the reading may take.
        public var time: Duration = .seconds(5)

        /// The limits of the agent.
        public init() {}
    }

    /// Reads the state of the calling thread's network namespace.
    ///
    /// It blocks for as long as the kernel's lists are long: milliseconds, or what `limits` allow.
    /// Reading needs CAP_NET_ADMIN and nothing else; what it does not let be read is in ``gaps``.
    ///
    /// - Parameters:
    ///   - limits: How much is read.
    ///   - gate: The table whose sets' elements are left out.
    ///   - networks: Those to which the routes are asked for.
    ///   - system: Where proc(5) is mounted.
    /// - Returns: What was found.
    /// - Throws: `NetlinkError` where not even the ruleset can be read.
    public static func read(
        _ limits: Limits = Limits(),
        besides gate: Table,
        routesTo networks: [CIDR] = [],
        system: String = "/proc"
    ) throws(NetlinkError) -> HostState {
        let end = SystemClock.boot.milliseconds + limits.time.milliseconds
        let isOver = { @Sendable in SystemClock.boot.milliseconds >= end }
        var state = HostState()
        state.ruleset = try WholeRuleset.read(
            .init(
                rules: limits.rules,
                elementsPerSet: limits.elementsPerSet,
                wantsElements: {
                    $0.table.family != gate.family || $0.table.name != gate.name
                },
                isOver: isOver
            )
        )
        if state.ruleset.isCut {
            state.gaps.append("the ruleset is too large to be read in the time and size allowed")
        }
        if state.ruleset.isTorn {
            state.gaps.append("the ruleset kept changing while it was read")
        }
        state.listeners =
            state.trying("listening sockets") { () throws(NetlinkError) in
                try SocketDiagnostics().listeners()
            } ?? []
        state.interfaces =
            state.trying("interfaces") { () throws(NetlinkError) in
                try NetworkInterface.all()
            } ?? []
        let ways = networks.map { ($0, state.representative(of: $0)) }
        let routes = state.trying("routes") { () throws(NetlinkError) in
            try Route.all(to: Set(ways.map(\.1)))
        }
        for (network, address) in ways { state.routes[network] = routes?[address] }
        state.readFiles(of: system)
        state.readProcesses(of: system, limits, isOver)
        state.isClockSynchronized = SystemClock.isSynchronized
        return state
    }

    /// An address that stands for those of a network: not the network's own, nor one of this host.
    private func representative(of network: CIDR) -> [UInt8] {
        let first = Value(network.address.bytes)
        let rest = network.family.bits - network.prefixLength
        guard rest > 1 else { return first.bytes }
        let own = Set(interfaces.flatMap { $0.addresses.map(\.bytes) })
        // A network of four has two addresses of hosts.
        let candidates = (1...(rest == 2 ? 2 : 6)).map {
            Value(first.low + $0, length: first.length).bytes
        }
        return candidates.first { !own.contains($0) } ?? candidates[0]
    }

    private mutating func trying<Found>(
        _ what: String,
        _ read: () throws(NetlinkError) -> Found
    ) -> Found? {
        do throws(NetlinkError) {
            return try read()
        } catch {
            gaps.append("\(what): \(error)")
            return nil
        }
    }

    private mutating func readFiles(of system: String) {
        let net = "\(system)/thread-self/net"
        // Only root may read these; that there are such tables can also be told by their modules.
        for (file, family) in [("ip_tables_names", "ip"), ("ip6_tables_names", "ip6")] {
            let names = try? text(of: "\(net)/\(file)", atMost: 65_536)
            legacyTables += (names ?? "").split(separator: "\n").map { "\(family) \($0)" }
        }
        if legacyTables.isEmpty, (try? text(of: "\(net)/ip_tables_names", atMost: 65_536)) == nil {
            let modules = (try? text(of: "\(system)/modules", atMost: 1 << 20)) ?? ""
            legacyTables = modules.split(separator: "\n").compactMap { line in
                let name = line.prefix { $0 != " " }
                let parts = name.split(separator: "_", maxSplits: 1)
                guard parts.count == 2, ["iptable", "ip6table"].contains(parts[0]) else {
                    return nil
                }
                return "\(parts[0] == "iptable" ? "ip" : "ip6") \(parts[1])"
            }
        }
        // The file is there only with IPVS.
        virtualServices = VirtualService.all(
            in: (try? text(of: "\(net)/ip_vs", atMost: 1 << 20)) ?? ""
        )
        let settings = "\(system)/sys/net"
        connectionCount = number("\(settings)/netfilter/nf_conntrack_count")
        connectionLimit = number("\(settings)/netfilter/nf_conntrack_max")
        let forAll = number("\(settings)/ipv4/conf/all/rp_filter") ?? 0
        for interface in interfaces where interface.isUp && !interface.isLoopback {
            // The higher of both counts (ip-sysctl.rst of the kernel).
            let own = number("\(settings)/ipv4/conf/\(interface.name)/rp_filter")
            reversePathFilters[interface.name] = own.map { max($0, forAll) }
            let isForwarding = number("\(settings)/ipv4/conf/\(interface.name)/forwarding")
            forwardingIPv4[interface.name] = isForwarding.map { $0 != 0 }
        }
        forwardsIPv6 = number("\(settings)/ipv6/conf/all/forwarding").map { $0 != 0 }
    }

    private func number(_ path: String) -> Int? { (try? firstLine(of: path)).flatMap { Int($0) } }

    /// Finds out whose the listening sockets are, as far as this process may see it.
    private mutating func readProcesses(
        of system: String,
        _ limits: Limits,
        _ isOver: () -> Bool
    ) {
        let wanted = Set(listeners.map(\.inode))
        guard !wanted.isEmpty, let entries = try? folderNames(system) else { return }
        for process in entries.lazy.filter({ UInt32($0) != nil }).prefix(limits.processes) {
            if isOver() { return }
            // Other users' open files are not for this process to see.
            guard let files = try? folderNames("\(system)/\(process)/fd") else { continue }
            for file in files {
                guard let target = try? linkTarget("\(system)/\(process)/fd/\(file)"),
                    target.hasPrefix("socket:["),
                    let inode = UInt32(target.dropFirst(8).dropLast()), wanted.contains(inode),
                    let name = try? firstLine(of: "\(system)/\(process)/comm")
                else { continue }
                processes[inode] = name
            }
        }
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}

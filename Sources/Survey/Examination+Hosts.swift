import API
import Netlink
import Policy

// Hosts behind this machine.

extension Examination {
    /// To managed ports of hosts behind this machine.
    ///
    /// Who answers there cannot be told from here.
    func farProbes() -> [Probe] {
        situation.farPolicies.flatMap { policy in
            policy.ports.flatMap { range in
                range.portProtocol.transports.flatMap { transport in
                    range.parts(of: transport).flatMap { port in
                        (policy.hosts ?? []).prefix(8).flatMap { host in
                            farProbes(port, transport, host, policy.allowedSources)
                        }
                    }
                }
            }
        }
    }

    private func farProbes(
        _ port: PortRange,
        _ transport: Transport,
        _ host: CIDR,
        _ sources: [CIDR]
    ) -> [Probe] {
        let live = situation.openings.filter { opening in
            opening.port.overlaps(port) && opening.host.map(host.contains) ?? false
        }
        return live.flatMap { opening in
            farProbes(port, transport, opening.host.map { CIDR($0) } ?? host, from: opening.source)
        }
            + sources.prefix(8).flatMap {
                farProbes(port, transport, host, from: $0, isTypical: true)
            }
    }

    private func farProbes(
        _ port: PortRange,
        _ transport: Transport,
        _ host: CIDR,
        from source: CIDR,
        isTypical: Bool = false
    ) -> [Probe] {
        guard host.family == source.family else { return [] }
        return inputs(for: source, to: host).map { input in
            var packet = Packet(
                from: source,
                isTypical: isTypical,
                transport,
                to: port.lower...port.upper,
                by: input
            )
            packet.destination = Value(host, isTypical: isTypical)
            packet.isForThisHost = state.routes[host] == .here
            if case .through(let index) = state.routes[host] { packet.output = interface(index) }
            return Probe(
                packet: packet,
                port: OpenPort(port: port, hosts: host),
                source: source
            )
        }
    }

    /// The interfaces that packets from a source to a host may come in by: never the one they leave
    /// by.
    private func inputs(for source: CIDR, to host: CIDR) -> [Packet.Interface?] {
        if case .through(let index) = state.routes[source], state.routes[host] != .through(index),
            let interface = interface(index)
        {
            return [interface]
        }
        let others = state.interfaces.filter {
            $0.isUp && !$0.isLoopback && state.routes[host] != .through($0.index)
        }
        let leading = others.filter(\.hasDefaultRoute)
        let chosen = (leading.isEmpty ? others : leading).prefix(4)
        return chosen.isEmpty ? [nil] : chosen.map { .init(index: $0.index, name: $0.name) }
    }

    private func interface(_ index: UInt32) -> Packet.Interface? {
        state.interfaces.first { $0.index == index }.map { .init(index: index, name: $0.name) }
    }

    /// Whether the kernel passes on what comes for hosts behind this machine.
    mutating func wayFindings() -> [Finding] {
        var lost: [CIDR: Set<OpenPort>] = [:]
        var kept: [AddressFamily: (inputs: Set<String>, ports: Set<OpenPort>)] = [:]
        for probe in farProbes() {
            guard let host = probe.port.hosts, let route = state.routes[host], route != .here,
                // Where rules lead elsewhere, the route to there counts, which was not asked for.
                !journey.translations(probe.packet).contains(where: \.event.isCertain)
            else { continue }
            let input = probe.packet.input?.name
            let isPassedOn =
                host.family == .ipv4
                ? input.flatMap { state.forwardingIPv4[$0] } : state.forwardsIPv6
            if route == .nowhere {
                lost[host, default: []].insert(probe.port)
            } else if isPassedOn == false {
                kept[host.family, default: ([], [])].ports.insert(probe.port)
                if let input { kept[host.family]?.inputs.insert(input) }
            }
        }
        let noRoutes = lost.sorted { $0.key < $1.key }.map { host, ports in
            Finding(
                .error,
                .noRoute,
                "no route leads to \(host): a grant for it lets nobody in",
                advice:
                    "see ip route get \(host.address), and bring up the interface or add a route",
                ports: ports.texts
            )
        }
        return noRoutes
            + kept.sorted { $0.key < $1.key }.map { family, kept in
                let isIPv4 = family == .ipv4
                let place = isIPv4 ? " that come in by \(kept.inputs.sorted().list)" : ""
                let key = isIPv4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding"
                return Finding(
                    .error,
                    .notForwarded,
                    "the kernel does not pass \(isIPv4 ? "IPv4" : "IPv6") packets on\(place): grants "
                        + "for hosts behind this machine let nobody in",
                    advice: "set the sysctl \(key) to 1",
                    ports: kept.ports.texts
                )
            }
    }
}

extension Set<OpenPort> {
    /// In order of their numbers.
    var inOrder: [OpenPort] {
        sorted { $0.port == $1.port ? "\($0)" < "\($1)" : $0.port < $1.port }
    }

    /// `22/tcp`, `8080/tcp@192.0.2.0/24`.
    var texts: [String] { inOrder.map(\.description) }
}

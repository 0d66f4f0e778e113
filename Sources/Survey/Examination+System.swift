import API
import Netlink
import Nftables
import Policy

extension Examination {
    /// What packets meet outside the chains that are followed.
    func pathFindings() -> [Finding] {
        flowtableFindings() + interfaceFindings() + virtualServerFindings() + otherRuleFindings()
    }

    private func flowtableFindings() -> [Finding] {
        state.ruleset.flowtables.filter { !$0.table.flags.contains(.dormant) }.map { flowtable in
            Finding(
                .warning,
                .flowtable,
                "flowtable \(flowtable.table.path) \(flowtable.name) takes forwarded connections of "
                    + "\(flowtable.devices.list) past all chains: the gate sees their first packets "
                    + "alone",
                advice: "leave managed ports out of the rules that add to it",
                table: flowtable.table.path
            )
        }
    }

    private func interfaceFindings() -> [Finding] {
        state.interfaces.filter { $0.isUp && !$0.isLoopback }.flatMap { interface in
            var findings: [Finding] = []
            if let program = interface.xdpProgram {
                findings.append(
                    Finding(
                        .warning,
                        .xdp,
                        "XDP program \(program) sees packets of \(interface.name) before the gate, "
                            + "and may answer, drop or redirect them",
                        advice: "see what it does: bpftool prog show id \(program)"
                    )
                )
            }
            if !interface.ingressFilters.isEmpty {
                findings.append(
                    Finding(
                        .warning,
                        .ingressFilter,
                        "tc filters (\(interface.ingressFilters.list)) see packets of "
                            + "\(interface.name) before the gate, and may drop or redirect them",
                        advice: "see what they do: tc filter show dev \(interface.name) ingress"
                    )
                )
            }
            return findings
        }
    }

    private func virtualServerFindings() -> [Finding] {
        let all = state.virtualServices
        guard !all.isEmpty else { return [] }
        let doors = all.compactMap { service -> Finding? in
            let transport: Transport = service.kind == "UDP" ? .udp : .tcp
            let managed = service.serverPorts.sorted().flatMap {
                situation.managed(in: $0...$0, transport)
            }.map(\.description)
            if let port = service.port, situation.policy(managing: port, transport) != nil {
                return nil
            }
            guard !managed.isEmpty else { return nil }
            let name =
                service.port.map { "\($0)/\(transport)" } ?? "what has a certain mark"
            return Finding(
                .warning,
                .virtualServer,
                "IPVS leads \(name), which is not managed, to servers' \(managed.list): if one of "
                    + "them is this host, it is open",
                advice: "let a policy manage it as well: ipvsadm -Ln shows it",
                ports: managed
            )
        }
        guard doors.isEmpty else { return doors }
        return [
            Finding(
                .note,
                .virtualServer,
                "IPVS takes connections of \(all.count) services in, behind the gate, which judges "
                    + "them under the service's port",
                advice: "nothing: ipvsadm -Ln shows them"
            )
        ]
    }

    private func otherRuleFindings() -> [Finding] {
        var findings: [Finding] = []
        if !state.legacyTables.isEmpty {
            findings.append(
                Finding(
                    .warning,
                    .legacyTables,
                    "there are tables of the older iptables (\(state.legacyTables.list)), whose "
                        + "rules cannot be read: what they drop or rewrite is not known",
                    advice: "look at iptables-legacy-save, and move the rules to nftables or "
                        + "iptables-nft"
                )
            )
        }
        for chain in state.ruleset.chains
        where chain.table.family == .bridge && !chain.table.flags.contains(.dormant) {
            guard let base = chain.base, base.policy == .drop || hasRules(chain) else { continue }
            findings.append(
                Finding(
                    .note,
                    .notUnderstood,
                    "chain \(chain.path) sees packets of bridges, which are not followed here",
                    advice: "see that it lets managed ports through to where they are answered",
                    table: chain.table.path,
                    chain: chain.name
                )
            )
        }
        for what in Set(state.ruleset.unknown).sorted() {
            findings.append(
                Finding(
                    .warning,
                    .notUnderstood,
                    "the kernel has \(what) that is not known here: what it does is not known",
                    advice: "look at nft list ruleset"
                )
            )
        }
        return findings
    }

    private func hasRules(_ chain: Chain) -> Bool {
        state.ruleset.rules.contains { $0.chain.id == chain.id }
    }

    /// What the system is like.
    func systemFindings() -> [Finding] {
        var findings: [Finding] = []
        if let count = state.connectionCount, let limit = state.connectionLimit, limit > 0,
            count * 10 > limit * 9
        {
            findings.append(
                Finding(
                    .warning,
                    .connectionsNearlyFull,
                    "conntrack holds \(count) of \(limit) connections: when it is full, new ones "
                        + "are dropped, granted or not",
                    advice: "raise the sysctl net.netfilter.nf_conntrack_max"
                )
            )
        }
        let managesUDP = situation.policies.contains { policy in
            policy.enabled
                && policy.ports.contains { $0.portProtocol.transports.contains(.udp) }
        }
        if managesUDP {
            for (mode, severity, word) in [
                (0, Finding.Severity.warning, "off"), (2, .note, "loose"),
            ] {
                let names = state.reversePathFilters.filter { $0.value == mode }.keys.sorted()
                guard !names.isEmpty else { continue }
                findings.append(
                    Finding(
                        severity,
                        .forgeableSources,
                        "the reverse path filter is \(word) on \(names.list): datagrams to managed "
                            + "UDP ports may have a forged source that a grant lets in",
                        advice: "where routes are symmetric, set the sysctls "
                            + "net.ipv4.conf.*.rp_filter to 1"
                    )
                )
            }
        }
        switch state.isClockSynchronized {
        case true?: break
        case false?:
            findings.append(
                Finding(
                    .warning,
                    .clockNotSynchronized,
                    "no time service keeps the clock right: grants end by it",
                    advice: "run one, like systemd-timesyncd or chrony"
                )
            )
        case nil:
            findings.append(
                Finding(
                    .note,
                    .clockNotSynchronized,
                    "the system does not say whether a time service keeps the clock right",
                    advice: "look at timedatectl"
                )
            )
        }
        return findings
    }

    /// Delegates that nobody reaches who has no grant yet.
    func delegateFindings() -> [Finding] {
        guard !situation.hasBreakGlass else { return [] }
        var findings: [Finding] = []
        for (uid, name) in situation.delegates.sorted(by: { $0.value < $1.value }) {
            let ports = Set(
                state.listeners.filter {
                    $0.uid == uid && !$0.isLoopback && $0.transport == Transport.tcp.rawValue
                        && situation.policy(managing: $0.port, .tcp) != nil
                }.map(\.port)
            )
            for port in ports.sorted() {
                findings.append(
                    Finding(
                        .warning,
                        .delegateManaged,
                        "\(port)/tcp of the delegate \(name) is managed itself, and no source is "
                            + "always let in: who has no grant cannot ask for one there",
                        advice: "take the port out of the policy, or name sources in break_glass",
                        ports: ["\(port)/tcp"]
                    )
                )
            }
        }
        return findings
    }
}

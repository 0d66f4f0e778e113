public import API
import Netlink
import Nftables
import Policy

/// Looks for what stands in the gate's way on a host, or leads past it.
public struct Examination {
    let state: HostState
    let situation: Situation
    var journey: Journey

    /// How many rules are evaluated at most: a second or two.
    static let steps = 2_000_000

    /// Prepares the examination of a host.
    ///
    /// - Parameters:
    ///   - state: What was found on it.
    ///   - situation: What the agent knows.
    public init(_ state: HostState, _ situation: Situation) {
        self.state = state
        self.situation = situation
        journey = Journey(
            state,
            besides: situation.gate,
            at: situation.gatePriority,
            steps: Self.steps
        )
    }

    /// Everything that was found.
    public mutating func document() -> DoctorDocument {
        let findings =
            gateFindings() + packetFindings() + wayFindings() + doorFindings() + pathFindings()
            + systemFindings()
            + delegateFindings() + gapFindings()
        return DoctorDocument(findings: findings, rules: state.ruleset.rules.count)
    }

    // MARK: The gate

    private func gateFindings() -> [Finding] {
        var findings: [Finding] = []
        if let fault = situation.gateFault {
            findings.append(
                Finding(
                    .error,
                    .gateNotArmed,
                    "the gate is not armed: \(fault)",
                    advice: situation.isDisarmed
                        ? "sallyport arm"
                        : "look into the agent's log (journalctl -u sallyportd), and restart it",
                    table: situation.gate.path
                )
            )
        }
        if !situation.isGateOwned {
            findings.append(
                Finding(
                    .warning,
                    .gateNotOwned,
                    "the kernel lets other programs change the gate; the agent notices, and puts it "
                        + "back",
                    advice: "run Linux 6.9 or later, which keeps them from it",
                    table: situation.gate.path
                )
            )
        }
        return findings
    }

    // MARK: What else the packets meet

    /// One rule, or the policy of one chain, and what it does with managed ports.
    private struct Obstacle {
        var code: Finding.Code
        var event: Evaluator.Event
        var isBeforeGate: Bool
        /// Whether it does so with answers too, or with them alone.
        var meetsAnswers = false
        var ports: Set<OpenPort> = []
        var sources: Set<CIDR> = []
    }

    private struct ObstacleID: Hashable {
        var code: Finding.Code
        var chain: Evaluator.ChainID
        var handle: UInt64?
    }

    /// The first packet of what a grant lets in now, or could.
    struct Probe {
        var packet: Packet
        var port: OpenPort
        var source: CIDR
    }

    private mutating func packetFindings() -> [Finding] {
        var obstacles: [ObstacleID: Obstacle] = [:]
        var order: [ObstacleID] = []
        for probe in probes() + farProbes() {
            for meeting in journey.travel(probe.packet) {
                guard let code = meeting.code(isFar: probe.port.hosts != nil) else { continue }
                let event = meeting.event
                let id = ObstacleID(code: code, chain: event.chain.id, handle: event.rule?.handle)
                if obstacles[id] == nil {
                    order.append(id)
                    obstacles[id] = Obstacle(
                        code: code,
                        event: event,
                        isBeforeGate: meeting.isBeforeGate
                    )
                }
                if meeting.isReply {
                    obstacles[id]?.meetsAnswers = true
                } else if obstacles[id]?.event.packet.isReply ?? false {
                    obstacles[id]?.event = event
                }
                obstacles[id]?.ports.insert(probe.port)
                obstacles[id]?.sources.insert(probe.source)
            }
        }
        return order.compactMap { id in
            // What certainly is dropped need not be told again as what may be.
            if id.code == .mayDropGranted {
                var certain = id
                certain.code = .dropsGranted
                guard obstacles[certain] == nil else { return nil }
            }
            return obstacles[id].map(finding)
        }
    }

    /// To managed ports of this machine that something answers at.
    private mutating func probes() -> [Probe] {
        let published = journey.publications(state)
        var probes: [Probe] = []
        for policy in situation.ownPolicies {
            for range in policy.ports {
                for transport in range.portProtocol.transports {
                    for port in range.parts(of: transport)
                    where isAnswered(port, transport, published) {
                        let live = situation.openings.filter {
                            $0.host == nil && $0.port.overlaps(port)
                        }
                        let sources =
                            Set(live.map(\.source)).sorted().map { ($0, false) }
                            + policy.allowedSources.prefix(8).map { ($0, true) }
                        for (source, isTypical) in sources {
                            for (input, address) in state.entries(source.family) {
                                let packet = Packet(
                                    from: source,
                                    isTypical: isTypical,
                                    transport,
                                    to: port.lower...port.upper,
                                    at: address,
                                    by: input
                                )
                                probes.append(
                                    Probe(
                                        packet: packet,
                                        port: OpenPort(port: port),
                                        source: source
                                    )
                                )
                            }
                        }
                    }
                }
            }
        }
        return probes
    }

    /// Whether somebody could want to get in there: it is open, listened at, or published.
    private func isAnswered(
        _ port: PortRange,
        _ transport: Transport,
        _ published: [Publication]
    ) -> Bool {
        let ports = port.lower...port.upper
        return situation.openings.contains { $0.host == nil && $0.port.overlaps(port) }
            || state.listeners.contains {
                $0.transport == transport.rawValue && ports.contains($0.port) && !$0.isLoopback
            }
            || published.contains { $0.transport == transport && $0.ports.overlaps(ports) }
    }

    private func finding(_ obstacle: Obstacle) -> Finding {
        let event = obstacle.event
        let ports = obstacle.ports.texts
        let sources = obstacle.sources.sorted().prefix(3).map(\.description)
        let what =
            event.packet.isReply
            ? "the answers of \(ports.list) to \(sources.list)"
            : "\(ports.list) from \(sources.list)"
                + (obstacle.meetsAnswers ? " and its answers" : "")
        let place = obstacle.isBeforeGate ? "in front of the gate" : "behind the gate"
        let (severity, message, advice): (Finding.Severity, String, String)
        switch obstacle.code {
        case .dropsGranted:
            severity = .error
            message =
                "\(event.who) drops \(what), \(place): a grant for it lets nobody in, because what "
                + "one chain drops no other can accept"
            advice = acceptAdvice(obstacle)
        case .mayDropGranted:
            severity = .warning
            let why = event.isUnderstood ? "under conditions" : "but not everything in it is known"
            message = "\(event.who) may drop \(what), \(place), \(why): a grant may let nobody in"
            advice = acceptAdvice(obstacle)
        case .hidesPort:
            severity = .error
            message =
                "\(event.who) rewrites where packets to \(ports.list) go before the gate sees them: "
                + "they are not judged as \(ports.list)"
            advice = "put the rule into a chain of priority dstnat (-100), behind the gate"
        case .notTracked:
            severity = .warning
            message =
                "\(event.who) keeps \(what) from being tracked: sessions end with their grant"
            advice = "leave the managed ports out of it"
        case .leadsElsewhere:
            severity = .note
            message =
                "\(event.who) leads \(ports.list) elsewhere, behind the gate: that is where a grant "
                + "for it lets in"
            advice = "nothing, where the address is a balancer's or the like"
        case .acceptedBefore:
            severity = .note
            message =
                "\(event.who) accepts \(what) in front of the gate, which judges it all the same"
            advice = "nothing, or remove the rule: it opens no managed port"
        default:
            severity = .warning
            message = "\(event.who) decides about \(what) \(place), and not by rules"
            advice = "see that what it hands packets to lets them go on"
        }
        return Finding(
            severity,
            obstacle.code,
            message,
            advice: advice,
            table: event.chain.table.path,
            chain: event.chain.name,
            handle: event.rule?.handle,
            ports: ports
        )
    }

    /// How the packets are accepted with the tool whose chain it is.
    private func acceptAdvice(_ obstacle: Obstacle) -> String {
        let (event, gateIsEnough) = (obstacle.event, "the gate closes what is not granted")
        let (packet, table) = (event.packet, event.chain.table)
        let established = "nft insert rule \(event.chain.path) ct state established accept"
        if packet.isReply { return "let what is established pass there, as with \(established)" }
        guard let port = obstacle.ports.inOrder.first else { return "accept it there as well" }
        // In the words of the chain, which sees it where it was led to.
        let kind = packet.transport == .tcp ? "tcp" : "udp"
        let number =
            packet.isTranslated ? packet.ports.text : (port.port.lower...port.port.upper).text
        var host = packet.isForThisHost ? nil : port.hosts
        if packet.isTranslated, packet.destination.isExact {
            host = IPAddress(bytes: packet.destination.bytes).map { CIDR($0) }
        }
        let names = state.ruleset.chains.filter { $0.isOf(table) }.map(\.name)
        if table.name == "firewalld" {
            let add = "--add-port=\(number)/\(kind) and --reload: \(gateIsEnough)"
            guard !packet.isForThisHost else { return "firewall-cmd --permanent \(add)" }
            return "firewall-cmd --permanent --policy=NAME \(add); such a policy is made with "
                + "--new-policy, --add-ingress-zone and --add-egress-zone"
        }
        if names.contains(where: { $0.hasPrefix("ufw") }) {
            guard !packet.isForThisHost else {
                return "ufw allow \(number)/\(kind): \(gateIsEnough)"
            }
            let target = host.map { "to \($0) " } ?? ""
            return "ufw route allow proto \(kind) \(target)port \(number): \(gateIsEnough)"
        }
        // Docker leaves that chain to others, in front of its own rules.
        let chain =
            !packet.isForThisHost && names.contains("DOCKER-USER")
            ? "\(table.path) DOCKER-USER" : event.chain.path
        let field = host.map { "\($0.family == .ipv4 ? "ip" : "ip6") daddr \($0) " } ?? ""
        return "accept it there as well, as with nft insert rule \(chain) \(field)\(kind) dport "
            + "\(number) accept: \(gateIsEnough)"
            + (obstacle.meetsAnswers ? "; and for the answers, \(established)" : "")
    }

    // MARK: Ways to managed ports under other numbers

    private mutating func doorFindings() -> [Finding] {
        let doors = journey.publications(state).filter { door in
            // Before the gate it is judged as what it leads to.
            guard !door.isBeforeGate, door.isThisHost, let target = door.target.ports else {
                return false
            }
            return !situation.manages(door.ports, door.transport)
                && !situation.managed(in: target, door.transport).isEmpty
        }
        // A rule may lead several ports to managed ones, and is one finding.
        var byRule: [(first: Publication, all: [Publication])] = []
        for door in doors {
            let place = byRule.firstIndex {
                $0.first.chain.id == door.chain.id && $0.first.rule.handle == door.rule.handle
            }
            if let place { byRule[place].all.append(door) } else { byRule.append((door, [door])) }
        }
        return byRule.map { door, all in
            let managed = Set(
                all.flatMap { door in
                    door.target.ports.map { situation.managed(in: $0, door.transport) } ?? []
                }
            ).sorted().map(\.description)
            let name = all.map { "\($0.ports.text)/\($0.transport)" }.list
            return Finding(
                .note,
                .judgedBehind,
                "\(door.chain.path) handle \(door.rule.handle ?? 0) leads \(name) to "
                    + "\(managed.list): whoever comes by it needs a grant for that",
                advice: "nothing, or remove the rule: it opens no managed port",
                table: door.chain.table.path,
                chain: door.chain.name,
                handle: door.rule.handle,
                ports: managed
            )
        }
    }

    private func gapFindings() -> [Finding] {
        var gaps = state.gaps
        if journey.isExhausted { gaps.append("there are too many rules to follow all packets") }
        return gaps.map {
            Finding(
                .warning,
                .incomplete,
                "not everything was looked at: \($0)",
                advice: "ask again; if it stays, look at what is named with its own tools"
            )
        }
    }
}

extension Journey.Meeting {
    /// What it means for a managed port, of this machine or far behind it; nil where nothing.
    fileprivate func code(isFar: Bool) -> Finding.Code? {
        switch event.kind {
        case .drop: return event.isCertain ? .dropsGranted : .mayDropGranted
        case .accept:
            return isBeforeGate && event.isCertain && event.chain.base?.kind != .nat
                ? .acceptedBefore : nil
        case .undecided: return isBeforeGate ? .decidedBefore : .mayDropGranted
        case .notrack: return isBeforeGate || isReply ? .notTracked : nil
        case .translate(let target):
            let isOtherPort = target.ports.map { $0 != event.packet.ports } ?? false
            if isBeforeGate {
                return isFar || target.isUnknown || isOtherPort ? .hidesPort : nil
            }
            return isFar && event.isCertain ? .leadsElsewhere : nil
        }
    }
}

extension Evaluator.Event {
    /// The rule or chain that does it.
    fileprivate var who: String {
        guard let rule else { return "the policy of chain \(chain.path)" }
        return "rule \(rule.handle ?? 0) of chain \(chain.path)"
    }

    /// Whether all of the rule is known to the evaluation.
    fileprivate var isUnderstood: Bool {
        if case .undecided = kind { return false }
        return rule?.expressions.allSatisfy {
            if case .other = $0 { false } else { true }
        } ?? true
    }
}

extension PortRange {
    /// The range in parts that are judged one by one: single ports where they are few.
    func parts(of transport: Transport) -> [PortRange] {
        let kind: PortProtocol = transport == .tcp ? .tcp : .udp
        guard count <= 16 else { return [PortRange(lower, upper, kind)].compactMap(\.self) }
        return (lower...upper).compactMap { PortRange($0, $0, kind) }
    }
}

extension Listener {
    /// Whether nobody from elsewhere reaches it: 127.0.0.0/8 or ::1, or only by loopback, which has
    /// the index 1 in every namespace.
    var isLoopback: Bool {
        if interface == 1 { return true }
        if address.count == 4 { return address[0] == 127 }
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
        if address.starts(with: mapped) { return address[12] == 127 }
        return address == [UInt8](repeating: 0, count: 15) + [1]
    }
}

extension [String] {
    /// `a, b and c`.
    var list: String {
        guard count > 1, let last else { return first ?? "nothing" }
        return dropLast().joined(separator: ", ") + " and " + last
    }
}

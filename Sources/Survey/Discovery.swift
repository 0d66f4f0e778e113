public import API
import Netlink
import Nftables
import Policy

extension Examination {
    /// What of the host takes connections, and whether it is managed.
    public mutating func services() -> DiscoverDocument {
        var published = journey.publications(state)
        var services: [(order: Order, document: ServiceDocument)] = []
        var groups: [[Listener]] = []
        var places: [Place: Int] = [:]
        for listener in state.listeners {
            guard let transport = Transport(rawValue: listener.transport), listener.port > 0 else {
                continue
            }
            let place = Place(port: listener.port, transport: transport)
            if let index = places[place] {
                groups[index].append(listener)
            } else {
                places[place] = groups.count
                groups.append([listener])
            }
        }
        for listeners in groups {
            guard let first = listeners.first,
                let transport = Transport(rawValue: first.transport)
            else { continue }
            // Docker's proxy listens at the port that the rule leads to a container.
            let own = published.firstIndex {
                $0.transport == transport && $0.ports == first.port...first.port
            }.map { published.remove(at: $0) }
            services.append(
                (
                    Order(first.port, transport),
                    document(of: listeners, first.port, transport, own)
                )
            )
        }
        for publication in published {
            services.append(
                (
                    Order(publication.ports.lowerBound, publication.transport),
                    document(of: publication)
                )
            )
        }
        return DiscoverDocument(
            services: services.sorted { $0.order < $1.order }.map(\.document),
            gaps: state.gaps
        )
    }

    private struct Place: Hashable {
        var port: UInt16
        var transport: Transport
    }

    /// Azure's default ports come first, then by number.
    private struct Order: Comparable {
        var rank: Int
        var port: UInt16
        var transport: UInt8

        init(_ port: UInt16, _ transport: Transport) {
            rank = transport == .tcp ? azurePorts.firstIndex(of: port) ?? .max : .max
            self.port = port
            self.transport = transport.rawValue
        }

        static func < (one: Order, other: Order) -> Bool {
            (one.rank, one.port, one.transport) < (other.rank, other.port, other.transport)
        }
    }

    private mutating func document(
        of listeners: [Listener],
        _ port: UInt16,
        _ transport: Transport,
        _ publication: Publication?
    ) -> ServiceDocument {
        var document = judged(port...port, transport)
        document.addresses =
            listeners.compactMap { IPAddress(bytes: $0.address)?.description }
            .uniqued
        document.uid = listeners.first?.uid
        document.process = listeners.compactMap { [state] in state.processes[$0.inode] }.first
        if let publication {
            document.target = publication.text
            document.rule = publication.rulePath
        } else if listeners.allSatisfy(\.isLoopback), document.state == .notConfigured {
            document.state = .unsupported
            document.reason = "it listens on loopback only: nobody from elsewhere reaches it"
            document.lines = nil
        }
        return document
    }

    private mutating func document(of publication: Publication) -> ServiceDocument {
        var document = judged(publication.ports, publication.transport)
        document.target = publication.text
        document.rule = publication.rulePath
        return document
    }

    /// Whether ports are managed, and what would manage them.
    private mutating func judged(
        _ ports: ClosedRange<UInt16>,
        _ transport: Transport
    ) -> ServiceDocument {
        let name = "\(ports.text)/\(transport)"
        if situation.manages(ports, transport) {
            let policy = situation.policy(managing: ports.lowerBound, transport)?.name
            return ServiceDocument(
                port: name,
                state: .configured,
                reason: situation.gateFault == nil
                    ? "closed unless granted" : "THE GATE IS NOT ARMED: may be open to everybody",
                policy: policy
            )
        }
        if let policy = situation.policies.first(where: {
            !$0.enabled && $0.hosts == nil && $0.names(ports.lowerBound, transport)
        }) {
            return ServiceDocument(
                port: name,
                state: .notConfigured,
                reason: reason(
                    "the policy \(policy.name) names it, but is not enabled",
                    ports,
                    transport
                ),
                policy: policy.name,
                lines: "enabled: true"
            )
        }
        return ServiceDocument(
            port: name,
            state: .notConfigured,
            reason: reason("no policy names it", ports, transport),
            lines: lines(ports, transport)
        )
    }

    /// Why it is open, or that something else closes it.
    private mutating func reason(
        _ why: String,
        _ ports: ClosedRange<UInt16>,
        _ transport: Transport
    ) -> String {
        var closing: Chain?
        for source in AccessPolicy.anySource {
            for (input, address) in state.entries(source.family) {
                let packet = Packet(
                    from: source,
                    isTypical: true,
                    transport,
                    to: ports,
                    at: address,
                    by: input
                )
                let drop = journey.travel(packet).first {
                    $0.event.kind == .drop && $0.event.isCertain
                }
                guard let drop else { return "open to the network: \(why)" }
                closing = drop.event.chain
            }
        }
        guard let closing else { return "open to the network: \(why)" }
        return "\(why); chain \(closing.path) drops it from most sources"
    }

    /// The lines of a policy that manages ports; Azure's name for its default ports.
    private func lines(_ ports: ClosedRange<UInt16>, _ transport: Transport) -> String {
        var text = "\(ports.text)/\(transport)"
        var name = "port-\(ports.text)-\(transport)"
        if transport == .tcp, ports.count == 1, let known = azureNames[ports.lowerBound] {
            name = known
            if known == "winrm", !situation.manages(5985...5986, .tcp) { text = "5985-5986/tcp" }
        }
        if situation.policies.contains(where: { $0.name == name }) { name += "-more" }
        return "policies:\n  - name: \(name)\n    ports: [\(text)]\n"
    }
}

/// The ports that Azure's just-in-time access proposes, in its order.
private let azurePorts: [UInt16] = [22, 3389, 5985, 5986]
private let azureNames: [UInt16: String] = [22: "ssh", 3389: "rdp", 5985: "winrm", 5986: "winrm"]

extension Publication {
    fileprivate var rulePath: String { "\(chain.path) \(rule.handle ?? 0)" }
}

extension [String] {
    fileprivate var uniqued: [String] {
        var seen: Set<String> = []
        return filter { seen.insert($0).inserted }
    }
}

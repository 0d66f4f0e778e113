import Nftables
import Policy

/// Ports that rules lead elsewhere: containers' published ports, redirections.
struct Publication {
    var transport: Transport
    /// As others see it.
    var ports: ClosedRange<UInt16>
    var target: Evaluator.Target
    var chain: Chain
    var rule: Rule
    var isBeforeGate: Bool
    /// Whether it leads to this host itself.
    var isThisHost: Bool

    /// Whom a connection to one of the ports ends at: `172.17.0.2:80`.
    var text: String {
        let address = target.address.flatMap { IPAddress(bytes: $0) }
        let host =
            address.map { $0.family == .ipv6 ? "[\($0)]" : $0.description }
            ?? (target.isThisHost ? "this host" : "an address that is not told")
        guard let ports = target.ports else { return host }
        return "\(host):\(ports.text)"
    }
}

extension ClosedRange<UInt16> {
    /// `80`, or `80-90`.
    var text: String {
        lowerBound == upperBound ? "\(lowerBound)" : "\(lowerBound)-\(upperBound)"
    }
}

extension Journey {
    /// What rules lead elsewhere, each rule's ports once.
    mutating func publications(_ state: HostState) -> [Publication] {
        var found: [Publication] = []
        var seen: Set<[String]> = []
        for any in AccessPolicy.anySource {
            for transport in Transport.allCases {
                for (input, address) in state.entries(any.family) {
                    let packet = Packet(
                        from: any,
                        isTypical: true,
                        transport,
                        to: 1...65_535,
                        at: address,
                        by: input
                    )
                    for meeting in translations(packet) {
                        let event = meeting.event
                        guard case .translate(let target) = event.kind, let rule = event.rule else {
                            continue
                        }
                        let isThisHost =
                            target.isThisHost || (target.address.map(isThisHosts) ?? false)
                        let publication = Publication(
                            transport: transport,
                            ports: event.packet.ports,
                            target: target,
                            chain: event.chain,
                            rule: rule,
                            isBeforeGate: meeting.isBeforeGate,
                            isThisHost: isThisHost
                        )
                        let key = [
                            "\(transport)", event.packet.ports.text, publication.text,
                            event.chain.path, "\(rule.handle ?? 0)",
                        ]
                        if seen.insert(key).inserted { found.append(publication) }
                    }
                }
            }
        }
        return found
    }
}

extension Chain {
    /// `ip nat DOCKER`.
    var path: String { "\(table.path) \(name)" }
}

extension Table {
    /// `ip nat`.
    var path: String { "\(family) \(name)" }
}

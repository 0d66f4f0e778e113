import Netlink
import Nftables
import Policy

/// The way of a connection's first packet, and of the answer to it, through the base chains, but
/// those of the gate.
struct Journey {
    /// Something that a chain does with a packet on its way.
    struct Meeting {
        var event: Evaluator.Event
        /// Whether it does so before the gate sees the packet.
        var isBeforeGate: Bool
        /// Whether it does so with the answer.
        var isReply: Bool { event.packet.isReply }
    }

    /// A packet and how it got to where it is.
    private struct Path {
        var packet: Packet
        var isCertain: Bool
    }

    private var evaluator: Evaluator
    private let interfaces: [NetworkInterface]
    private let gatePriority: Int32
    /// The chains at the hooks that packets come in by, in their order.
    private let early: [Chain]
    private let input: [Chain]
    private let forward: [Chain]
    /// Those at the hooks that packets leave by.
    private let output: [Chain]
    private let late: [Chain]

    init(_ state: HostState, besides gate: Table, at priority: Int32, steps: Int) {
        evaluator = Evaluator(state.ruleset, steps: steps)
        interfaces = state.interfaces
        gatePriority = priority
        let chains = state.ruleset.chains.filter {
            !$0.isOf(gate) && !$0.table.flags.contains(.dormant)
        }
        func at(_ hook: Chain.Hook) -> [Chain] {
            chains.filter { chain in
                guard let base = chain.base, base.hook == hook else { return false }
                return [.ip, .ip6, .inet].contains(chain.table.family) || base.isOfDevices
            }.sorted { ($0.base?.priority ?? 0) < ($1.base?.priority ?? 0) }
        }
        early = at(.ingress) + at(.prerouting)
        input = at(.input)
        forward = at(.forward)
        output = at(.output)
        late = at(.postrouting) + at(.egress)
    }

    /// Whether it was given up because there are too many rules.
    var isExhausted: Bool { evaluator.isExhausted }

    /// Whether a chain sees packets before the gate does; of two of one priority nobody knows.
    private func isBeforeGate(_ chain: Chain) -> Bool {
        guard let base = chain.base else { return false }
        return base.hook == .ingress || base.hook == .prerouting && base.priority <= gatePriority
    }

    /// Follows a packet and the answer to it; tells what they meet.
    mutating func travel(_ packet: Packet) -> [Meeting] {
        evaluator.begin()
        var meetings: [Meeting] = []
        var paths = [Path(packet: packet, isCertain: true)]
        for chain in early { paths = pass(chain, paths, &meetings) }
        let arrived = paths
        for chain in input {
            paths = pass(chain, paths, &meetings) { $0.isForThisHost }
        }
        for chain in forward + late {
            paths = pass(chain, paths, &meetings) { !$0.isForThisHost }
        }
        // Also to what is dropped: so all that is in the way is told at once.
        evaluator.beginReply()
        paths = arrived.map { Path(packet: $0.packet.reply, isCertain: $0.isCertain) }
        for chain in early + forward {
            paths = pass(chain, paths, &meetings) { !$0.isFromThisHost }
        }
        for chain in output {
            paths = pass(chain, paths, &meetings) { $0.isFromThisHost }
        }
        for chain in late { paths = pass(chain, paths, &meetings) }
        return meetings
    }

    /// Follows a packet up to where its destination may be rewritten; answers by whom.
    mutating func translations(_ packet: Packet) -> [Meeting] {
        evaluator.begin()
        var meetings: [Meeting] = []
        var paths = [Path(packet: packet, isCertain: true)]
        for chain in early where chain.base?.kind == .nat {
            paths = pass(chain, paths, &meetings)
        }
        return meetings.filter { if case .translate = $0.event.kind { true } else { false } }
    }

    private mutating func pass(
        _ chain: Chain,
        _ paths: [Path],
        _ meetings: inout [Meeting],
        where isMet: (Packet) -> Bool = { _ in true }
    ) -> [Path] {
        var left: [Path] = []
        for path in paths {
            guard isMet(path.packet), chain.sees(path.packet),
                // These see the first packet of a connection, until one rewrites it.
                !(chain.base?.kind == .nat && (path.packet.isTranslated || path.packet.isReply))
            else {
                left.append(path)
                continue
            }
            let isCertain = path.isCertain && chain.certainlySees(path.packet)
            var goesOn = evaluator.evaluate(chain, path.packet, isCertain: isCertain)
            if !chain.certainlySees(path.packet) { goesOn = true }
            for event in evaluator.takeEvents() {
                let isBeforeGate = isBeforeGate(chain) && !event.packet.isReply
                meetings.append(Meeting(event: event, isBeforeGate: isBeforeGate))
                guard case .translate(let target) = event.kind else { continue }
                left += rewritten(event.packet, target).map {
                    Path(packet: $0, isCertain: event.isCertain && !target.isUnknown)
                }
                if event.isCertain { goesOn = false }
            }
            if goesOn { left.append(path) }
        }
        return Array(left.prefix(16))
    }

    /// The packet as it goes on after its destination was rewritten.
    private func rewritten(_ packet: Packet, _ target: Evaluator.Target) -> [Packet] {
        var packet = packet
        packet.isTranslated = true
        if let ports = target.ports {
            packet.destinationPort = Value(
                UInt128(ports.lowerBound),
                through: UInt128(ports.upperBound),
                length: 2
            )
        }
        guard !target.isThisHost else { return [packet] }
        guard let address = target.address, !target.isUnknown else {
            packet.destination = .unknown(length: packet.family.bits / 8)
            var other = packet
            other.isForThisHost.toggle()
            return [packet, other]
        }
        packet.destination = Value(address)
        packet.isForThisHost = isThisHosts(address)
        packet.output = interfaces.first { interface in
            interface.addresses.contains { $0.sharesNetwork(with: address) }
        }.map { .init(index: $0.index, name: $0.name) }
        return [packet]
    }

    /// Whether an address is one of this host.
    func isThisHosts(_ address: [UInt8]) -> Bool {
        address.count == 4 && address[0] == 127
            || interfaces.contains { $0.addresses.contains { $0.bytes == address } }
    }
}

extension Chain {
    /// Whether it is in the table, whatever that table's flags.
    func isOf(_ table: Table) -> Bool {
        self.table.family == table.family && self.table.name == table.name
    }

    /// Whether it sees packets of the packet's family.
    fileprivate func sees(_ packet: Packet) -> Bool {
        switch table.family {
        case .ip: packet.family == .ipv4
        case .ip6: packet.family == .ipv6
        case .inet, .netdev: certainlySees(packet) || device(of: packet) == nil
        case .arp, .bridge: false
        }
    }

    /// Whether that does not depend on an interface that is not known.
    fileprivate func certainlySees(_ packet: Packet) -> Bool {
        guard let base, base.isOfDevices else { return true }
        return device(of: packet).map { base.devices.contains($0.name) } ?? false
    }

    /// By which interface the packet comes to where this stands; nil where it is not known.
    private func device(of packet: Packet) -> Packet.Interface? {
        base?.hook == .egress ? packet.output : packet.input
    }
}

extension Chain.Base {
    /// Whether it sees the packets of some interfaces alone.
    fileprivate var isOfDevices: Bool { hook == .ingress || hook == .egress }
}

extension NetworkInterface.Address {
    fileprivate func sharesNetwork(with other: [UInt8]) -> Bool {
        guard other.count == bytes.count else { return false }
        let rest = UInt128(max(0, bytes.count * 8 - prefixLength))
        return rest >= 128 || Value(bytes).low >> rest == Value(other).low >> rest
    }
}

import API
import FoundationEssentials
import Netlink
import Nftables
import Policy
import TestSupport
import Testing

@testable import Survey

let gateTable = Nftables.Table(family: .inet, name: "sallyport")

func ports(_ texts: String...) throws -> [PortRange] { try texts.map(PortRange.init(parsing:)) }

/// What an agent knows that manages ports and has opened some of them.
func situation(
    _ ports: [String] = ["22/tcp"],
    from sources: [String] = ["0.0.0.0/0", "::/0"],
    open: [(port: String, source: String)] = []
) throws -> Situation {
    Situation(
        gate: gateTable,
        gatePriority: -150,
        policies: [
            AccessPolicy(
                name: "ssh",
                ports: try ports.map(PortRange.init(parsing:)),
                allowedSources: try sources.map(CIDR.init(parsing:))
            )
        ],
        openings: try open.map {
            .init(port: try PortRange(parsing: $0.port), source: try CIDR(parsing: $0.source))
        }
    )
}

extension HostState {
    /// A host with nothing wrong: ssh listens, and eth0 leads to the world.
    static var healthy: HostState {
        var state = HostState()
        var uplink = NetworkInterface(index: 2, name: "eth0")
        uplink.hasDefaultRoute = true
        uplink.addresses = [
            .init(bytes: [192, 0, 2, 1], prefixLength: 24),
            .init(bytes: IPv6.host, prefixLength: 64),
        ]
        var bridge = NetworkInterface(index: 3, name: "docker0")
        bridge.addresses = [.init(bytes: [172, 17, 0, 1], prefixLength: 16)]
        state.interfaces = [uplink, bridge]
        state.listeners = [
            Listener(transport: 6, address: [0, 0, 0, 0], port: 22),
            Listener(transport: 6, address: IPv6.any, port: 22),
        ]
        state.isClockSynchronized = true
        return state
    }

    /// The same host with rules as the kernel has them once nft has loaded a text.
    static func loaded(_ text: String) throws -> (state: HostState, listing: String) {
        try inNetworkNamespace {
            // Interfaces that rules name by their numbers.
            try shell("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p").get()
            try shell("nft", "-f", "-", input: text).get()
            var state = HostState.healthy
            state.ruleset = try HostState.read(besides: gateTable).ruleset
            return (state, try shell("nft", "-a", "list", "ruleset").get())
        }
    }
}

enum IPv6 {
    static let any = [UInt8](repeating: 0, count: 16)
    static let host: [UInt8] = [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1]
}

/// A file of `Rulesets`.
func ruleset(_ name: String) throws -> String {
    let folder = "/" + #filePath.split(separator: "/").dropLast().joined(separator: "/")
    return try String(contentsOfFile: "\(folder)/Rulesets/\(name).nft", encoding: .utf8)
}

/// What the doctor finds, in short: `error drops-granted ip filter INPUT 7: 22/tcp`.
func findings(_ state: HostState, _ situation: Situation) -> [String] {
    var examination = Examination(state, situation)
    return examination.document().findings.map(\.brief)
}

extension Finding {
    var brief: String {
        let place = [table, chain, handle.map { "\($0)" }].compactMap(\.self)
        return ([severity.rawValue, code.rawValue] + place).joined(separator: " ")
            + (ports.isEmpty ? "" : ": " + ports.joined(separator: " "))
    }
}

/// The handle of the rule that a listing has with a text, `handle(of: "tcp dport 22", in: listing)`.
func handle(of text: String, in listing: String) throws -> String {
    let line = try #require(
        listing.split(separator: "\n").first { $0.contains(text) && $0.contains("# handle ") },
        "no rule with \(text)"
    )
    return String(try #require(line.split(separator: " ").last))
}

import Netlink
import Nftables
import Policy
import Survey

// Feeds arbitrary datagrams to everything that reads the kernel's answers, the rules in them to the
// doctor, and arbitrary text to the parsers of Policy. Each may be refused by an error; anything else
// that ends the process is a finding.

/// libFuzzer's loop; the name SwiftPM gives to the entry point of a target called `fuzzer`.
@_cdecl("fuzzer_main")
func main(
    _ count: CInt,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
    var count = count
    var arguments = unsafe arguments
    return unsafe runDriver(&count, &arguments, tryInput)
}

/// One input; libFuzzer's own entry point, which is linked but not used, wants this name.
@_cdecl("LLVMFuzzerTestOneInput")
func tryInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = unsafe UnsafeBufferPointer(start: bytes, count: count)
    unsafe read(input)
    readPolicyText(unsafe String(decoding: input, as: UTF8.self))
    return 0
}

// Declared here since libFuzzer has no header for it; its arguments are the same in C and Swift.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

private func read(_ bytes: UnsafeBufferPointer<UInt8>) {
    let datagram = unsafe UnsafeRawBufferPointer(bytes).bytes
    var host = HostState()
    var cursor = ReplyCursor()
    while let reply = try? cursor.next(in: datagram) {
        _ = try? Monitor.Generation(reply, in: datagram)
        guard case .object(_, let body) = reply.content else { continue }
        _ = try? ConntrackEntry(in: datagram, at: body)
        _ = try? PacketLog.packet(in: datagram, at: body)
        _ = LoggedPacket(headers: (try? datagram.bytes(in: body)) ?? [])
        if let socket = try? SocketMessage(in: datagram, at: body) {
            _ = InternetSocket(socket, of: .tcp)
        }
        _ = try? NetworkInterface(in: datagram, at: body)
        _ = try? NetworkInterface.Address(in: datagram, at: body)
        _ = try? NetworkInterface.queue(in: datagram, at: body)
        _ = try? Route(in: datagram, at: body)
        guard body.count >= 4 else { continue }
        let attributes = body.lowerBound + 4..<body.upperBound
        _ = try? Table(in: datagram, at: attributes, family: 1)
        _ = try? Chain(in: datagram, at: attributes, of: table)
        _ = try? Flowtable(in: datagram, at: attributes, of: table)
        if var rule = try? Rule(in: datagram, at: attributes, of: table) {
            rule.chain = input
            host.ruleset.rules.append(rule)
        }
        if let set = try? NamedSet(in: datagram, at: attributes, of: table) {
            host.ruleset.sets.append(set)
        }
        for set in sets + host.ruleset.sets {
            var decoder = ElementDecoder(of: set)
            _ = try? decoder.decode(in: datagram, at: attributes) {
                // Naming it in an error reads its key by the set's types.
                _ = Transaction.Operation.elements(.add, [$0], set).summary(part: 0)
                host.ruleset.elements[.init(set.name, in: table), default: []].append($0)
            }
        }
    }
    if !host.ruleset.rules.isEmpty { examine(host) }
}

/// Follows a packet to a managed port through the rules.
private func examine(_ host: HostState) {
    var host = host
    host.ruleset.chains = [input]
    host.listeners = [Listener(transport: 6, address: [0, 0, 0, 0], port: 22)]
    var policy = AccessPolicy(name: "ssh", ports: [])
    policy.ports = [PortRange(22, 22, .tcp)].compactMap(\.self)
    var examination = Examination(
        host,
        Situation(gate: Table(family: .inet, name: "gate"), gatePriority: -150, policies: [policy])
    )
    _ = examination.document()
}

private let table = Table(family: .inet, name: "sallyport")
private let input = Chain(
    "input",
    in: table,
    base: .init(hook: .input, priority: 0, policy: .accept)
)
private let sets = [
    NamedSet("ranges", in: table, key: [.ipv4Address], flags: .interval),
    NamedSet(
        "grants",
        in: table,
        key: [.ipv6Address, .transportProtocol, .port],
        flags: [.interval, .timeout],
        mapsToVerdict: true
    ),
]

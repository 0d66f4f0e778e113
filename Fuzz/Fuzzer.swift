import Netlink
import Nftables

// Feeds arbitrary datagrams to everything that reads the kernel's answers, and arbitrary text to the
// parsers of Policy. Each may be refused by an error; anything else that ends the process is a finding.

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
    var cursor = ReplyCursor()
    while let reply = try? cursor.next(in: datagram) {
        _ = try? Monitor.Generation(reply, in: datagram)
        guard case .object(_, let body) = reply.content else { continue }
        _ = try? ConntrackEntry(in: datagram, at: body)
        _ = try? PacketLog.packet(in: datagram, at: body)
        if let socket = try? SocketMessage(in: datagram, at: body) {
            _ = InternetSocket(socket, of: .tcp)
        }
        _ = try? NetworkInterface(in: datagram, at: body)
        guard body.count >= 4 else { continue }
        let attributes = body.lowerBound + 4..<body.upperBound
        _ = try? Table(in: datagram, at: attributes, family: 1)
        _ = try? Chain(in: datagram, at: attributes, of: table)
        _ = try? Flowtable(in: datagram, at: attributes, of: table)
        _ = try? Rule(in: datagram, at: attributes, of: table)
        _ = try? NamedSet(in: datagram, at: attributes, of: table)
        for set in sets {
            var decoder = ElementDecoder(of: set)
            _ = try? decoder.decode(in: datagram, at: attributes) {
                // Naming it in an error reads its key by the set's types.
                _ = Transaction.Operation.elements(.add, [$0], set).summary(part: 0)
            }
        }
    }
}

private let table = Table(family: .inet, name: "sallyport")
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

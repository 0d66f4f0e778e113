import CLinux
import Glibc
import Linux
import SystemPackage

/// A network namespace with loopback up, kept by its descriptor and gone with it.
///
/// Sockets opened inside stay in it; programs started by ``shell(_:input:)`` inside run in it.
public final class NetworkNamespace: Sendable {
    /// Open as long as the namespace is needed; `/proc/PID/fd/N` names it to `ip`.
    public let descriptor: CInt

    /// Makes a namespace of its own with nothing but loopback.
    public init() throws {
        descriptor = try onOwnThread {
            try systemCall("unshare") { unshare(CLONE_NEWNET) }
            try bringUpLoopback()
            return try systemCall("open") {
                open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
            }
        }
    }

    deinit { close(descriptor) }

    /// Runs `body` inside, on a pthread of its own; the body must be synchronous.
    @discardableResult
    public func run<Value>(_ body: @escaping () throws -> Value) throws -> Value {
        try onOwnThread { [self] in
            try systemCall("setns") { setns(descriptor, CLONE_NEWNET) }
            return try body()
        }
    }

    /// Joins two namespaces by a veth pair and gives each end its addresses.
    ///
    /// - Parameters:
    ///   - name: The device's name at this end, at most 15 bytes.
    ///   - addresses: This end's, with prefix length, as `ip address add` takes them.
    ///   - peer: The other namespace.
    ///   - peerName: The device's name there.
    ///   - peerAddresses: The other end's.
    /// - Throws: what `ip` says when it fails.
    public func connect(
        _ name: String,
        _ addresses: [String],
        to peer: NetworkNamespace,
        _ peerName: String,
        _ peerAddresses: [String]
    ) throws {
        try run {
            try shell(
                "ip",
                "link",
                "add",
                name,
                "type",
                "veth",
                "peer",
                "name",
                peerName,
                "netns",
                "/proc/\(getpid())/fd/\(peer.descriptor)"
            ).get()
        }
        for (namespace, name, addresses) in [
            (self, name, addresses), (peer, peerName, peerAddresses),
        ] {
            try namespace.run {
                for address in addresses {
                    // nodad: an IPv6 address is usable at once.
                    let nodad = address.contains(":") ? ["nodad"] : []
                    try shell(["ip", "address", "add", address, "dev", name] + nodad).get()
                }
                try shell("ip", "link", "set", name, "up").get()
            }
        }
        // Until the kernel has seen the carrier, a device drops what it is given.
        for (namespace, name) in [(self, name), (peer, peerName)] {
            try namespace.run { try waitUntilRunning(name) }
        }
    }
}

/// Runs `body` in a fresh network namespace with loopback up, on a pthread of its own.
///
/// The body must be synchronous: a Swift task may go on another thread, outside.
@discardableResult
public func inNetworkNamespace<Value>(_ body: @escaping () throws -> Value) throws -> Value {
    try onOwnThread {
        try systemCall("unshare") { unshare(CLONE_NEWNET) }
        try bringUpLoopback()
        return try body()
    }
}

private func bringUpLoopback() throws {
    let descriptor = try systemCall("socket") {
        socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    }
    defer { close(descriptor) }
    var request = ifreq()
    withUnsafeMutableBytes(of: &request.ifr_ifrn) { $0.copyBytes(from: "lo".utf8) }
    request.ifr_ifru.ifru_flags = Int16(IFF_UP | IFF_RUNNING)
    try systemCall("ioctl") { ioctl(descriptor, UInt(SIOCSIFFLAGS), &request) }
}

private func waitUntilRunning(_ name: String) throws {
    let descriptor = try systemCall("socket") {
        socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    }
    defer { close(descriptor) }
    for _ in 0..<2000 {
        var request = ifreq()
        withUnsafeMutableBytes(of: &request.ifr_ifrn) { $0.copyBytes(from: name.utf8) }
        try systemCall("ioctl") { ioctl(descriptor, UInt(SIOCGIFFLAGS), &request) }
        if request.ifr_ifru.ifru_flags & Int16(IFF_RUNNING) != 0 { return }
        usleep(1000)
    }
    throw SystemError(call: "bring up \(name)", errno: .timedOut)
}

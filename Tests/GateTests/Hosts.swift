import Gate
import Glibc
import Policy
import TestSupport
import Testing

/// Two hosts with a cable between them: `host` has the gate, `client` knocks.
struct Hosts {
    static let managed = [
        try? PortRange(parsing: "22/tcp"), try? PortRange(parsing: "5000-5010/any"),
    ]
    .compactMap { $0 }

    let host: NetworkNamespace
    let client: NetworkNamespace

    init() throws {
        host = try NetworkNamespace()
        client = try NetworkNamespace()
        try host.connect(
            "eth0",
            ["198.51.100.1/24", "2001:db8::1/64"],
            to: client,
            "eth0",
            ["198.51.100.7/24", "198.51.100.8/24", "2001:db8::7/64", "2001:db8::8/64"]
        )
    }

    /// A gate on the host, armed with the managed ports and no grants.
    func armedGate(
        owning: Bool = true,
        breakGlass: [CIDR] = [],
        plan: Plan? = Plan()
    ) throws -> Gate {
        try host.run {
            let gate = try Gate(owning: owning)
            try gate.arm(
                managed: Self.managed,
                breakGlass: breakGlass,
                plan: plan,
                now: bootTime
            )
            return gate
        }
    }

    /// Whether a connection from the client to a port of the host is made.
    func connects(
        to port: UInt16,
        at address: String = "198.51.100.1",
        from source: String = "198.51.100.7",
        fromPort sourcePort: UInt16 = 0
    ) throws -> Bool {
        try client.run {
            let socket = try Endpoint(isIPv6: address.contains(":"))
            try socket.bind(to: source, port: sourcePort)
            return try socket.connect(to: address, port: port, withinMilliseconds: 150)
        }
    }

    /// A socket of the host that takes connections.
    func listener(on port: UInt16, at address: String = "198.51.100.1") throws -> Endpoint {
        try host.run {
            let socket = try Endpoint(isIPv6: address.contains(":"))
            try socket.bind(to: address, port: port)
            try socket.listen()
            return socket
        }
    }

    /// A connection between client and host, as its two ends.
    func session(
        to listener: Endpoint,
        on port: UInt16,
        at address: String = "198.51.100.1",
        from source: String = "198.51.100.7",
        port sourcePort: UInt16 = 0
    ) throws -> (client: Endpoint, host: Endpoint) {
        let end = try client.run {
            let socket = try Endpoint(isIPv6: address.contains(":"))
            try socket.bind(to: source, port: sourcePort)
            try #require(try socket.connect(to: address, port: port, withinMilliseconds: 1000))
            return socket
        }
        return (end, try listener.accept())
    }

    func nft(_ arguments: String...) throws -> String {
        try host.run { try shell(["nft"] + arguments).get() }
    }
}

/// Milliseconds of CLOCK_BOOTTIME.
func bootTime() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

extension Grant {
    /// A grant that ends in so many milliseconds.
    init(
        _ request: Int64,
        _ port: String,
        from source: String,
        endsIn milliseconds: Int64 = 60_000,
        by user: String = "alice"
    ) throws {
        self.init(
            id: ID(request: request, ordinal: 1),
            policy: "test",
            port: try PortRange(parsing: port),
            source: try CIDR(parsing: source),
            requester: Requester(uid: 1000, user: user),
            startsAt: Timestamp(milliseconds: 0),
            expiresAt: Timestamp(milliseconds: milliseconds),
            deadline: bootTime() + milliseconds
        )
    }
}

extension Gate {
    /// Makes changes in the plan and brings the kernel to them.
    func perform(_ changes: [GrantChange], in plan: inout Plan) throws {
        try apply(plan.apply(changes).changes, now: bootTime())
    }
}

/// A TCP or UDP socket of the calling thread's network namespace, closed with it.
final class Endpoint: Sendable {
    let descriptor: Int32
    private let family: Int32

    init(isIPv6: Bool = false, isUDP: Bool = false) throws {
        family = isIPv6 ? AF_INET6 : AF_INET
        let type = isUDP ? SOCK_DGRAM : SOCK_STREAM
        descriptor = socket(family, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try check(descriptor, "socket")
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
    }

    private init(accepted descriptor: Int32, family: Int32) {
        self.descriptor = descriptor
        self.family = family
    }

    deinit { close(descriptor) }

    /// Ends the connection without a packet: in repair mode (tcp(7) of the kernel's CRIU) closing
    /// tells nobody.
    func vanish() {
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_REPAIR, &yes, 4)
        shut()
    }

    /// Ends the connection as `close` would, with the descriptor still in use.
    func shut() {
        let spare = socket(family, Int32(SOCK_STREAM.rawValue), 0)
        dup2(spare, descriptor)
        close(spare)
    }

    func bind(to address: String, port: UInt16) throws {
        try check(withAddress(address, port) { Glibc.bind(descriptor, $0, $1) }, "bind")
    }

    func listen() throws { try check(Glibc.listen(descriptor, 64), "listen") }

    func accept() throws -> Endpoint {
        let accepted = Glibc.accept(descriptor, nil, nil)
        try check(accepted, "accept")
        return Endpoint(accepted: accepted, family: family)
    }

    /// Whether the connection is made in time.
    func connect(to address: String, port: UInt16, withinMilliseconds limit: Int32) throws -> Bool {
        let flags = fcntl(descriptor, F_GETFL)
        _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
        defer { _ = fcntl(descriptor, F_SETFL, flags) }
        if withAddress(address, port, { Glibc.connect(descriptor, $0, $1) }) == 0 { return true }
        guard errno == EINPROGRESS else { return false }
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, limit) == 1 else { return false }
        var failure: Int32 = 0
        var size = socklen_t(4)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size)
        return failure == 0
    }

    /// Sends a text and says whether the other end got it in time.
    func says(_ text: String, to other: Endpoint, withinMilliseconds limit: Int32 = 1500) -> Bool {
        let bytes = Array(text.utf8)
        let noSignal = Int32(MSG_NOSIGNAL)
        guard send(descriptor, bytes, bytes.count, noSignal) == bytes.count else {
            return false
        }
        return other.hears(text, withinMilliseconds: limit)
    }

    func hears(_ text: String, withinMilliseconds limit: Int32) -> Bool {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, limit) == 1 else { return false }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count >= 0 && String(decoding: buffer[..<count], as: UTF8.self) == text
    }

    private func check(_ result: Int32, _ call: String) throws {
        struct Failure: Error {
            let call: String
            let reason: String
        }
        if result < 0 { throw Failure(call: call, reason: String(cString: strerror(errno))) }
    }

    private func withAddress<Result>(
        _ text: String,
        _ port: UInt16,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        if family == AF_INET6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            inet_pton(AF_INET6, text, &address.sin6_addr)
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, text, &address.sin_addr)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

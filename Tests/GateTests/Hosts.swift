import Gate
import Glibc
import Linux
import Policy
import TestSupport
import Testing

/// Two hosts with a cable between them: `host` has the gate, `client` knocks.
struct Hosts {
    static let managed = ports("22/tcp", "5000-5010/any")

    /// Managed ports whose sessions, but those of UDP, outlive their grant.
    static func ports(
        _ texts: String...,
        sessions: SessionMode = .keep,
        at hosts: [String]? = nil
    ) -> [ManagedPort] {
        texts.compactMap { try? PortRange(parsing: $0) }
            .map {
                ManagedPort(
                    range: $0,
                    sessions: sessions,
                    udpSessions: .cut,
                    hosts: hosts?.compactMap { try? CIDR(parsing: $0) }
                )
            }
    }

    /// Whether the kernel has a kind of network device.
    static func knows(_ kind: String, _ options: String...) -> Bool {
        nonisolated(unsafe) var isKnown = false
        // Conditions of tests are asked for on threads of Swift's own.
        guard
            let thread = try? OwnThread.start({
                let made = try? inNetworkNamespace {
                    try shell(["ip", "link", "add", "probe", "type", kind] + options).status == 0
                }
                isKnown = made ?? false
            })
        else { return false }
        thread.join()
        return isKnown
    }

    let host: NetworkNamespace
    let client: NetworkNamespace

    init() throws {
        host = try Self.namespace()
        client = try Self.namespace()
        try host.connect(
            "eth0",
            ["198.51.100.1/24", "2001:db8::1/64"],
            to: client,
            "eth0",
            ["198.51.100.7/24", "198.51.100.8/24", "2001:db8::7/64", "2001:db8::8/64"]
        )
    }

    /// A gate on the host, armed with managed ports and no grants.
    func armedGate(
        _ managed: [ManagedPort] = managed,
        breakGlass: [CIDR] = [],
        owning: Bool = true
    ) throws -> Gate {
        try host.run {
            let gate = try Gate(owning: owning)
            try gate.arm(
                managed: managed,
                breakGlass: breakGlass,
                holding: .exactly(Plan()),
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
        try listener(on: port, at: address, in: host)
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
            try #require(
                try socket.connect(to: address, port: port, withinMilliseconds: Endpoint.patience)
            )
            return socket
        }
        // Others may wait to be accepted before it.
        let port = end.port(ofPeer: false)
        while true {
            let other = try listener.accept()
            if other.port(ofPeer: true) == port { return (end, other) }
        }
    }

    /// A namespace whose link-local addresses can be used at once, too.
    private static func namespace() throws -> NetworkNamespace {
        let namespace = try NetworkNamespace()
        try namespace.run {
            try shell("sysctl", "-wq", "net.ipv6.conf.default.accept_dad=0").get()
        }
        return namespace
    }

    /// A host behind `host`, at 10.0.0.2 and fd00::2, and at 10.0.0.3 and fd00::3, that can be
    /// reached through it.
    func innerHost() throws -> NetworkNamespace {
        let inner = try Self.namespace()
        try host.connect(
            "eth1",
            ["10.0.0.1/24", "fd00::1/64"],
            to: inner,
            "eth0",
            ["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "fd00::3/64"]
        )
        try inner.run {
            try shell("ip", "route", "add", "default", "via", "10.0.0.1").get()
            try shell("ip", "route", "add", "default", "via", "fd00::1").get()
        }
        try client.run {
            try shell("ip", "route", "add", "default", "via", "198.51.100.1").get()
            try shell("ip", "route", "add", "default", "via", "2001:db8::1").get()
        }
        try host.run {
            // As in real life all the world is where the client is, the inner network's numbers too.
            try shell("ip", "route", "add", "default", "via", "198.51.100.7").get()
            try shell("ip", "route", "add", "default", "via", "2001:db8::7").get()
            try forward()
        }
        return inner
    }

    /// A namespace's socket that takes connections.
    func listener(on port: UInt16, at address: String, in place: NetworkNamespace) throws
        -> Endpoint
    {
        try place.run {
            let socket = try Endpoint(isIPv6: address.contains(":"))
            try socket.bind(to: address, port: port)
            try socket.listen()
            return socket
        }
    }

    /// Has the host's conntrack forget all it knows.
    func forgetConnections() throws {
        try host.run {
            let descriptor = socket(
                AF_NETLINK,
                Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
                12  // NETLINK_NETFILTER, linux/netlink.h
            )
            defer { close(descriptor) }
            // nlmsghdr: IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK, NLM_F_REQUEST | NLM_F_ACK;
            // nfgenmsg: of no family, and so all.
            let message: [UInt8] = [
                20, 0, 0, 0, 2, 1, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0,
            ]
            #expect(Glibc.send(descriptor, message, message.count, 0) == message.count)
            var answer = [UInt8](repeating: 0, count: 64)
            #expect(recv(descriptor, &answer, answer.count, 0) >= 20)
            #expect(answer[16..<20] == [0, 0, 0, 0])
        }
    }

    func nft(_ arguments: String...) throws -> String {
        try host.run { try shell(["nft"] + arguments).get() }
    }
}

/// Has the calling thread's namespace forward packets.
func forward() throws {
    for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        try shell("sysctl", "-wq", "\(key)=1").get()
    }
}

/// Reads CLOCK_BOOTTIME.
func bootTime() -> BootTime {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return BootTime(
        milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    )
}

/// Waits until an instant, if it is still to come.
func sleep(until instant: BootTime) {
    let left = instant.milliseconds - bootTime().milliseconds
    if left > 0 { usleep(UInt32(left) * 1000) }
}

extension Grant {
    /// A grant that ends in so many milliseconds.
    init(
        _ request: Int64,
        _ port: String,
        at host: String? = nil,
        from source: String,
        endsIn milliseconds: Int64 = 60_000,
        by user: String = "alice"
    ) throws {
        self.init(
            id: ID(request: request, ordinal: 1),
            policy: "test",
            port: try PortRange(parsing: port),
            host: try host.map(IPAddress.init(parsing:)),
            source: try CIDR(parsing: source),
            requester: Requester(subject: .local(uid: 1000), name: user),
            startsAt: Timestamp(milliseconds: 0),
            end: GrantEnd(
                expiresAt: Timestamp(milliseconds: milliseconds),
                deadline: bootTime() + .milliseconds(milliseconds)
            )
        )
    }
}

extension Event {
    /// A request for one grant was granted.
    static func open(_ grant: Grant) -> Event {
        .opened(
            AccessRequest(
                id: grant.id.request,
                requester: Person(
                    subject: grant.requester.subject,
                    name: grant.requester.name,
                    origin: .process(Origin.Process(pid: 1))
                ),
                ask: Ask(targets: [grant.policy], sources: [grant.source.description]),
                createdAt: grant.startsAt,
                idempotencyKey: nil,
                grants: [grant]
            )
        )
    }

    static func close(_ id: Grant.ID) -> Event {
        .ended(id, .closedByRequester, at: Timestamp(milliseconds: 0), by: nil)
    }
}

extension Gate {
    /// Arms as soon as the table of a gate that is gone is nobody's.
    ///
    /// A program that another test is just starting may hold the socket for a moment.
    func armWhenLetGo(_ managed: [ManagedPort], holding: Holding) throws {
        var triesLeft = 200
        while true {
            do {
                try arm(managed: managed, breakGlass: [], holding: holding, now: bootTime)
                return
            } catch {
                triesLeft -= 1
                guard triesLeft > 0, error.description.contains("owns it") else { throw error }
                usleep(5000)
            }
        }
    }

    /// Makes changes in the plan and brings the kernel to them.
    func perform(_ events: [Event], in plan: inout Plan) throws {
        try apply(plan.apply(events).changes, now: bootTime())
    }
}

/// A TCP or UDP socket of the calling thread's network namespace, closed with it.
final class Endpoint: Sendable {
    /// Longer than anything takes that happens, in milliseconds; a test that meets it fails.
    static let patience: Int32 = 20_000

    let descriptor: Int32
    private let family: Int32

    init(isIPv6: Bool = false, isUDP: Bool = false, number: Int32 = 0, isRaw: Bool = false) throws {
        family = isIPv6 ? AF_INET6 : AF_INET
        let type = isRaw ? SOCK_RAW : isUDP ? SOCK_DGRAM : SOCK_STREAM
        descriptor = socket(family, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), number)
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

    /// Lets the socket be bound to addresses that are not this host's.
    func allowForeignAddresses() throws {
        let isIPv6 = family == AF_INET6
        let level = Int32(isIPv6 ? IPPROTO_IPV6 : IPPROTO_IP)
        let transparent: Int32 = isIPv6 ? 75 : 19  // linux/in6.h, linux/in.h
        var yes: Int32 = 1
        try check(setsockopt(descriptor, level, transparent, &yes, 4), "setsockopt")
    }

    func listen() throws { try check(Glibc.listen(descriptor, 64), "listen") }

    /// The port of the socket, or of the one that it is connected to.
    func port(ofPeer: Bool) -> UInt16 {
        var address = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let name = ofPeer ? getpeername : getsockname
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name(descriptor, $0, &size) }
        }
        // In both families the port stands behind the family.
        return UInt16(bigEndian: address.sin6_port)
    }

    func accept() throws -> Endpoint {
        let accepted = Glibc.accept(descriptor, nil, nil)
        try check(accepted, "accept")
        return Endpoint(accepted: accepted, family: family)
    }

    /// A datagram socket of an address and a port.
    static func datagrams(
        _ address: String,
        _ port: UInt16,
        number: Int32 = 0
    ) throws -> Endpoint {
        let socket = try Endpoint(isIPv6: address.contains(":"), isUDP: true, number: number)
        try socket.bind(to: address, port: port)
        return socket
    }

    /// Sends a datagram to an address.
    func send(_ text: String, to address: String, port: UInt16) throws {
        let bytes = Array(text.utf8)
        let sent = withAddress(address, port) { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
        try check(Int32(sent), "sendto")
    }

    /// Sends a text on a connection.
    func send(_ text: String) throws {
        let bytes = Array(text.utf8)
        let sent = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        try check(Int32(sent), "send")
    }

    /// The port it was bound to.
    func localPort() throws -> UInt16 {
        var address = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &size)
            }
        }
        try check(status, "getsockname")
        // It lies at the same place in both families.
        return UInt16(bigEndian: address.sin6_port)
    }

    /// Whether the socket hears in time that its connection was ended, or what it sends refused.
    func isReset(withinMilliseconds limit: Int32) -> Bool {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, limit) == 1 else { return false }
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, 0) < 0
            && [ECONNRESET, ECONNREFUSED, ECONNABORTED].contains(errno)
    }

    /// Whether the connection is made in time.
    func connect(to address: String, port: UInt16, withinMilliseconds limit: Int32) throws -> Bool {
        let flags = fcntl(descriptor, F_GETFL)
        _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
        defer { _ = fcntl(descriptor, F_SETFL, flags) }
        if withAddress(address, port, { Glibc.connect(descriptor, $0, $1) }) == 0 { return true }
        guard errno == EINPROGRESS else { return false }
        return isConnected(withinMilliseconds: limit)
    }

    /// Whether the connection that is being made is made in time.
    func isConnected(withinMilliseconds limit: Int32) -> Bool {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, limit) == 1 else { return false }
        var failure: Int32 = 0
        var size = socklen_t(4)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size)
        return failure == 0
    }

    /// Sends a text and says whether the other end got it in time.
    func says(_ text: String, to other: Endpoint, withinMilliseconds limit: Int32 = patience)
        -> Bool
    {
        let bytes = Array(text.utf8)
        let noSignal = Int32(MSG_NOSIGNAL)
        guard Glibc.send(descriptor, bytes, bytes.count, noSignal) == bytes.count else {
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
            let parts = text.split(separator: "%").map(String.init)
            inet_pton(AF_INET6, parts[0], &address.sin6_addr)
            if parts.count > 1 { address.sin6_scope_id = if_nametoindex(parts[1]) }
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

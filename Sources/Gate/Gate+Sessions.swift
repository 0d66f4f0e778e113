import Linux
import Netlink
import Nftables
public import Policy
import Synchronization

extension Gate {
    /// The live sessions that managed ports let in, in no order.
    ///
    /// Those of this host with itself are none, and neither are those that it has begun.
    ///
    /// - Parameter ports: Only those that go to one of these; nil for all.
    /// - Returns: The sessions.
    /// - Throws: Where the kernel does not list sockets or connections.
    public func sessions(
        to ports: Set<TransportPort>? = nil
    ) throws(GateError) -> [FoundSession] {
        do throws(NetlinkError) {
            let found = try sessionTable(of: withState(\.managed), only: ports).sessions()
            guard let ports else { return found }
            return found.filter { ports.contains(TransportPort(of: $0.session)) }
        } catch {
            throw GateError(error)
        }
    }

    /// Reads what is needed to tell sessions.
    ///
    /// - Parameters:
    ///   - managed: The ports that they may go to.
    ///   - ports: Only those that go to one of these; nil for all.
    ///   - isMeant: Only those that come in as such a flow.
    /// - Returns: What the kernel has of them.
    /// - Throws: Where it does not list sockets or connections.
    func sessionTable(
        of managed: [ManagedPort],
        only ports: Set<TransportPort>? = nil,
        where isMeant: @escaping (Flow) -> Bool = { _ in true }
    ) throws(NetlinkError) -> SessionTable {
        var entries: [ConntrackEntry] = []
        if let ports, ports.count <= 4 {
            // The kernel then sends no others.
            for port in ports {
                entries += try ifThere { () throws(NetlinkError) in
                    try conntrack.connections(to: port.numbers)
                }
            }
        } else {
            entries = try tracked()
        }
        var earlier: Set<Flow> = []
        if withState(\.mayHoldEarlier) {
            for family in AddressFamily.allCases {
                earlier.formUnion(try earlierKeys(family).compactMap(Layout.flow(of:)))
            }
        }
        let served = try served()
        // Routes lead here to addresses, too, that no device has: such a one is known by its sockets.
        let own = try addresses.list().union(served.lazy.map(\.incoming.destination))
        return SessionTable(
            sockets: served,
            entries: entries,
            listening: Set(try sockets.listeners(of: [.tcp]).map(\.port)),
            own: own,
            earlier: earlier,
            isJudged: { flow in
                let isManaged =
                    managed.isFar(flow)
                    || own.contains(flow.destination) && managed.hasHere(flow)
                return isManaged && isMeant(flow)
            },
            isFar: managed.isFar
        )
    }

    /// What conntrack knows.
    func tracked() throws(NetlinkError) -> [ConntrackEntry] {
        try ifThere { () throws(NetlinkError) in try conntrack.connections() }
    }

    /// The connected sockets of this host.
    func served() throws(NetlinkError) -> [InternetSocket] {
        let datagrams = try ifThere { () throws(NetlinkError) in
            try sockets.connections(of: .udp)
        }
        return try sockets.connections() + datagrams
    }

    /// What a part of the kernel lists; nothing where the kernel has no such part: a gate without it
    /// is better than none.
    private func ifThere<Found>(
        _ list: () throws(NetlinkError) -> [Found]
    ) throws(NetlinkError) -> [Found] {
        do throws(NetlinkError) {
            return try list()
        } catch .refused {
            return []
        }
    }

    /// Ends sessions, so that both ends know.
    ///
    /// A socket of this host is aborted, and the kernel resets the other end. What passes through is
    /// refused for some seconds with a reset, or an ICMP error, for whoever says a word; of TCP both
    /// ends are made to say one, of UDP they are told unasked. Whoever is not among `found` is not
    /// touched: each session is found again by its socket's or its entry's own number.
    ///
    /// - Throws: Where one of them could not be ended; the others are.
    public func end(_ found: [FoundSession]) throws(GateError) {
        var failures: [String] = []
        @discardableResult
        func attempt(_ body: () throws(NetlinkError) -> Void) -> Bool {
            do throws(NetlinkError) { try body() } catch {
                failures.append("\(error)")
                return false
            }
            return true
        }
        for socket in found.compactMap(\.socket) {
            do throws(NetlinkError) {
                try sockets.destroy(socket)
            } catch  where error.isNotSupported {
                failures.append(
                    "cannot end a session of this host at its service, whose next packet is refused: "
                        + "the kernel is built without CONFIG_INET_DIAG_DESTROY"
                )
            } catch {
                failures.append("\(error)")
            }
        }
        for found in found where found.session.isEarlier {
            for key in found.arrivals.map(Layout.key(of:)) {
                _ = state.withLock { $0.earlier.remove(key) }
                var end = Transaction()
                let family: AddressFamily = key.count == 20 ? .ipv4 : .ipv6
                end.delete([SetElement(key)], from: Layout.earlier(family))
                attempt { () throws(NetlinkError) in
                    do throws(NetlinkError) { try connection.commit(end) } catch
                        where error.isNotFound
                    {}
                }
            }
        }
        // A socket of this host can be aborted, but for datagrams that tells nobody else.
        let passing = found.filter { $0.socket == nil || $0.session.transport == .udp }
            .compactMap(\.entry)
        let number = state.withLock { state in
            state.evictions += 1
            return state.evictions
        }
        let eviction = Eviction(of: passing, number: number, isOwned: isOwned)
        let isRefused =
            !passing.isEmpty
            && attempt { () throws(NetlinkError) in try connection.commit(eviction.beginning) }
        for entry in found.compactMap(\.entry) {
            attempt { () throws(NetlinkError) in try conntrack.forget(entry) }
        }
        // What is said in the name of others would else come to them.
        if isRefused {
            failures += eviction.provoke(eviction.flows)
            finishLater(eviction)
        }
        guard failures.isEmpty else {
            let more = failures.count > 1 ? " (and \(failures.count - 1) more)" : ""
            throw GateError(failures[0] + more)
        }
    }

    /// Provokes those again that have said nothing, and takes the table away in the end.
    ///
    /// Who sent datagrams is told once: the kernel sends one host six ICMP errors and then one in a
    /// second (`icmp_ratelimit`).
    private func finishLater(_ eviction: Eviction) {
        let finish: @Sendable () -> Void = { [self] in
            for pause in [CInt(200), 800] {
                _ = try? wait(for: [], atMost: pause)
                let silent = eviction.flows.filter { flow in
                    guard flow.transport == Transport.tcp.rawValue else { return false }
                    let element = try? connection.element(
                        Layout.key(of: flow),
                        in: eviction.set(of: flow)
                    )
                    return element?.counter?.packets == 0
                }
                _ = eviction.provoke(silent)
            }
            _ = try? wait(for: [], atMost: 2_000)
            try? connection.commit(eviction.ending)
        }
        do throws(SystemError) { try OwnThread.start(finish) } catch { finish() }
    }

    /// Takes away what an agent has left that died amid ending sessions.
    func removeLeftEvictions() throws(NetlinkError) {
        for table in try connection.tables() where Eviction.isTable(table) {
            var removal = Transaction()
            removal.delete(table)
            // Another agent's, whose it is as long as that lives.
            try? connection.commit(removal)
        }
    }
}

extension [ManagedPort] {
    /// Whether a flow goes to a port that is managed on a host behind this machine.
    func isFar(_ flow: Flow) -> Bool {
        guard let destination = IPAddress(bytes: flow.destination) else { return false }
        return contains { port in
            port.hosts?.contains { $0.contains(destination) } == true && port.has(flow)
        }
    }

    /// Whether a flow goes to a port that is managed on this machine, if it goes there.
    fileprivate func hasHere(_ flow: Flow) -> Bool { contains { $0.hosts == nil && $0.has(flow) } }
}

extension [ManagedPort] {
    /// Whether a session ends with its grant.
    func cut(_ session: Session) -> Bool {
        guard let number = session.port else { return false }
        return contains { port in
            let goesThere =
                session.isFar
                ? port.hosts?.contains { $0.contains(session.destination.address) } == true
                : port.hosts == nil
            return goesThere && port.range.contains(number)
                && port.sessions(of: session.transport) == .cut
        }
    }
}

extension ManagedPort {
    fileprivate func has(_ flow: Flow) -> Bool {
        range.lower <= flow.destinationPort && flow.destinationPort <= range.upper
            && range.portProtocol.transports.contains { $0.rawValue == flow.transport }
    }
}

extension TransportPort {
    fileprivate var numbers: (transport: UInt8, number: UInt16) { (transport.rawValue, port) }
}

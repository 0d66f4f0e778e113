/// An address and a port.
///
/// The text form is `198.51.100.7:50000`, or `[2001:db8::7]:50000`.
public struct HostPort: Hashable, Sendable, CustomStringConvertible {
    /// The address.
    public var address: IPAddress
    /// The port.
    public var port: UInt16

    /// Takes both.
    public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    /// The text form.
    public var description: String {
        address.family == .ipv4 ? "\(address):\(port)" : "[\(address)]:\(port)"
    }
}

/// A live connection to a managed port, or the datagrams that go back and forth between two ends.
public struct Session: Hashable, Sendable {
    /// The protocol.
    public var transport: Transport
    /// Where it comes from.
    public var client: HostPort
    /// Where it goes, as it arrives here.
    public var destination: HostPort
    /// Where it is served: another address than the destination where that is translated.
    public var server: HostPort
    /// Whether it is served by this host.
    public var isServedHere: Bool
    /// Whether it is let in because it is older than the gate, or than what its port's policy says.
    public var isEarlier: Bool
    /// Whether it goes to a host behind this machine that a policy names.
    public var isFar: Bool
    /// When it began; nil where the kernel does not note that.
    public var startedAt: Timestamp?
    /// Packets and bytes in both directions; nil where the kernel does not count them.
    public var traffic: Traffic?

    /// What went through.
    public struct Traffic: Hashable, Sendable {
        /// Packets.
        public var packets: UInt64
        /// Their bytes.
        public var bytes: UInt64

        /// Takes both.
        public init(packets: UInt64, bytes: UInt64) {
            self.packets = packets
            self.bytes = bytes
        }
    }

    /// Takes the ends of a session.
    public init(
        transport: Transport,
        client: HostPort,
        destination: HostPort,
        server: HostPort? = nil,
        isServedHere: Bool = true,
        isEarlier: Bool = false,
        isFar: Bool = false
    ) {
        self.transport = transport
        self.client = client
        self.destination = destination
        self.server = server ?? destination
        self.isServedHere = isServedHere
        self.isEarlier = isEarlier
        self.isFar = isFar
    }

    /// The port that it goes to.
    public var port: PortRange? {
        PortRange(destination.port, destination.port, transport.portProtocol)
    }

    /// The host behind this machine that it goes to; nil for this machine itself.
    public var host: IPAddress? { isFar ? destination.address : nil }

    /// Every element that lets it in, the narrowest first.
    public var elementKeys: [ElementKey] {
        (0...client.address.family.bits).reversed().compactMap { length in
            CIDR(client.address, prefixLength: length).map {
                ElementKey(
                    source: $0,
                    transport: transport,
                    port: destination.port,
                    host: host
                )
            }
        }
    }
}

/// A port of a protocol.
public struct TransportPort: Hashable, Sendable {
    /// The protocol.
    public var transport: Transport
    /// The port.
    public var port: UInt16

    /// Takes both.
    public init(transport: Transport, port: UInt16) {
        self.transport = transport
        self.port = port
    }

    /// Where a session goes.
    public init(of session: Session) {
        self.init(transport: session.transport, port: session.destination.port)
    }
}

extension ElementKey {
    /// Whether it lets a session in, as long as it is open.
    public func letsIn(_ session: Session) -> Bool {
        transport == session.transport && port == session.destination.port
            && source.contains(session.client.address) && host == session.host
    }
}

extension Plan {
    /// The live grants that let a session in, in their order.
    public func grants(lettingIn session: Session) -> [Grant.ID] {
        session.elementKeys.flatMap(holders(of:)).sorted()
    }
}

extension PolicySet {
    /// The policy that manages the port of a session; nil where none does.
    public func policy(managing session: Session) -> AccessPolicy? {
        guard let port = session.port else { return nil }
        return policies.first { policy in
            let goesThere =
                session.isFar
                ? policy.hosts?.contains { $0.contains(session.destination.address) } == true
                : policy.hosts == nil
            return policy.enabled && goesThere && policy.ports.contains { $0.contains(port) }
        }
    }
}

extension AccessPolicy {
    /// What becomes of sessions of a protocol when their grant ends.
    public func sessions(of transport: Transport) -> SessionMode {
        transport.isDatagrams ? udpSessions : sessions
    }
}

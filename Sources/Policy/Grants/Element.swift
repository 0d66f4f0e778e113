/// What an element of the gate's sets is found by: one port, open to one range.
public struct ElementKey: Hashable, Sendable {
    /// The range that is let in.
    public var source: CIDR
    /// The protocol.
    public var transport: Transport
    /// The port.
    public var port: UInt16
    private let far: Far?

    /// Takes the parts of a key.
    public init(source: CIDR, transport: Transport, port: UInt16, host: IPAddress? = nil) {
        self.source = source
        self.transport = transport
        self.port = port
        far = host.map(Far.init)
    }

    /// The host behind this machine that is reached; nil for this machine itself.
    public var host: IPAddress? { far?.host }

    /// Apart, because there are as many keys as grants, and most are for this machine.
    private final class Far: Hashable, Sendable {
        let host: IPAddress

        init(host: IPAddress) { self.host = host }

        static func == (one: Far, other: Far) -> Bool { one.host == other.host }

        func hash(into hasher: inout Hasher) { hasher.combine(host) }
    }
}

/// What has to change in the kernel for one element.
///
/// A label says whose the element is, `17.1 alice`: of the grants that hold it open, the one that
/// does so longest, of equals the newest.
public enum ElementChange: Hashable, Sendable {
    /// It was not there.
    case open(ElementKey, until: BootTime, label: String)
    /// It ends later or sooner than before.
    case move(ElementKey, from: BootTime, until: BootTime, label: String)
    /// It has to go, before an end that may have come already.
    case close(ElementKey, from: BootTime)

    /// The element.
    public var key: ElementKey {
        switch self {
        case .open(let key, _, _), .move(let key, _, _, _), .close(let key, _): key
        }
    }
}

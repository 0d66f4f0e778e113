/// A transport protocol with ports; raw values are the numbers of the IP header.
public enum Transport: UInt8, Hashable, Sendable, CaseIterable {
    case tcp = 6
    case udp = 17
    case sctp = 132
    case udpLite = 136

    /// Whether it sends single datagrams.
    public var isDatagrams: Bool { self == .udp || self == .udpLite }

    /// How policies write it; they have no word for SCTP and UDP-Lite alone.
    public var portProtocol: PortProtocol {
        switch self {
        case .tcp: .tcp
        case .udp: .udp
        case .sctp, .udpLite: .any
        }
    }
}

/// The protocol of a managed port as policies write it.
public enum PortProtocol: String, Codable, Hashable, Sendable, CaseIterable {
    case tcp, udp, any

    /// The transport protocols meant: `any` is all of them.
    public var transports: [Transport] {
        switch self {
        case .tcp: [.tcp]
        case .udp: [.udp]
        case .any: Transport.allCases
        }
    }
}

/// One port or several in a row, with their protocol.
///
/// The text form is `22/tcp` or `5985-5986/tcp`.
public struct PortRange: TextForm, Comparable {
    /// The first port, 1...65535.
    public let lower: UInt16
    /// The last port, `lower`...65535.
    public let upper: UInt16
    /// The protocol of all the ports.
    public let portProtocol: PortProtocol

    /// Takes the ports from `lower` to `upper`; nil for port 0 or an empty range.
    public init?(_ lower: UInt16, _ upper: UInt16, _ portProtocol: PortProtocol) {
        guard 0 < lower, lower <= upper else { return nil }
        self.lower = lower
        self.upper = upper
        self.portProtocol = portProtocol
    }

    /// Reads `22/tcp` or `5985-5986/tcp`; the protocol is tcp, udp or any.
    public init(parsing text: String) throws(ParseError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let numbers = parts[0].utf8.split(
            separator: UInt8(ascii: "-"),
            maxSplits: 2,
            omittingEmptySubsequences: false
        )
        let ports = numbers.compactMap { Int(digits: $0).flatMap(UInt16.init(exactly:)) }
        guard ports.count == numbers.count, ports.count <= 2, let lower = ports.first, lower > 0,
            let upper = ports.last
        else {
            throw ParseError(
                text,
                "write PORT/PROTO or LOW-HIGH/PROTO with ports 1...65535, like 22/tcp"
            )
        }
        guard lower <= upper else {
            throw ParseError(
                text,
                "the first port must not be higher than the last",
                suggestion: "\(upper)-\(lower)" + text.dropFirst(parts[0].count)
            )
        }
        guard parts.count == 2, let portProtocol = PortProtocol(rawValue: String(parts[1])) else {
            let known = PortProtocol(rawValue: parts.count == 2 ? parts[1].lowercased() : "tcp")
            throw ParseError(
                text,
                "the protocol must be tcp, udp or any, in lower case after a slash",
                suggestion: known.map { "\(parts[0])/\($0.rawValue)" }
            )
        }
        self.lower = lower
        self.upper = upper
        self.portProtocol = portProtocol
    }

    /// The text form.
    public var description: String {
        String(capacity: 15) { bytes in
            bytes.append(decimal: lower)
            if lower != upper {
                bytes.append(UInt8(ascii: "-"))
                bytes.append(decimal: upper)
            }
            bytes.append(UInt8(ascii: "/"))
            bytes.append(text: portProtocol.rawValue)
        }
    }

    /// How many ports, 1...65535; with `any` each counts once.
    public var count: Int { Int(upper) - Int(lower) + 1 }

    /// The text form, with the host behind this machine where there is one: `22/tcp@192.0.2.7`.
    public func text(at host: IPAddress?) -> String {
        host.map { "\(self)@\($0)" } ?? description
    }

    /// Whether all of the other range lies in this one; `any` contains tcp and udp.
    public func contains(_ other: PortRange) -> Bool {
        intersection(other) == other
    }

    /// Whether some port of some protocol lies in both.
    public func overlaps(_ other: PortRange) -> Bool {
        intersection(other) != nil
    }

    /// The ports that lie in both; nil where there are none.
    public func intersection(_ other: PortRange) -> PortRange? {
        let shared: PortProtocol
        if portProtocol == .any || portProtocol == other.portProtocol {
            shared = other.portProtocol
        } else if other.portProtocol == .any {
            shared = portProtocol
        } else {
            return nil
        }
        return PortRange(max(lower, other.lower), min(upper, other.upper), shared)
    }

    /// By first port, then last port, then protocol.
    public static func < (a: Self, b: Self) -> Bool {
        (a.lower, a.upper, a.portProtocol.rawValue) < (b.lower, b.upper, b.portProtocol.rawValue)
    }
}

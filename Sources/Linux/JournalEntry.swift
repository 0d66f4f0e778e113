internal import SystemPackage

/// One entry for systemd's journal, in its native protocol
/// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
public struct JournalEntry: Sendable {
    /// Where the journal takes entries.
    public static let socket = "/run/systemd/journal/socket"

    /// The datagram.
    public private(set) var bytes: [UInt8] = []

    /// An entry with a text for people.
    ///
    /// - Parameters:
    ///   - message: The text.
    ///   - priority: 0, an emergency, to 7, for debugging: syslog(3).
    public init(_ message: String, priority: Int) {
        add("MESSAGE", message)
        add("PRIORITY", String(priority))
    }

    /// Adds a field.
    ///
    /// - Parameters:
    ///   - name: In any form; in the journal it has capital letters, digits and underscores alone,
    ///     and `requesterName` is `REQUESTER_NAME`.
    ///   - value: Any text.
    public mutating func add(_ name: String, _ value: String) {
        bytes += Self.fieldName(name)
        if value.utf8.contains(0x0A) {
            bytes.append(0x0A)
            for shift in stride(from: 0, to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: value.utf8.count >> shift))
            }
        } else {
            bytes.append(UInt8(ascii: "="))
        }
        bytes += value.utf8
        bytes.append(0x0A)
    }

    private static func fieldName(_ name: String) -> [UInt8] {
        var field: [UInt8] = []
        var isSmall = false
        for byte in name.utf8 {
            defer { isSmall = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): field.append(byte - 0x20)
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                if isSmall { field.append(UInt8(ascii: "_")) }
                field.append(byte)
            case UInt8(ascii: "0")...UInt8(ascii: "9"): field.append(byte)
            default: field.append(UInt8(ascii: "_"))
            }
        }
        return field
    }

    /// Sends it.
    ///
    /// - Throws: `SystemError` where the journal does not take it, as where it is too long for a
    ///   datagram.
    public func send(to path: String = Self.socket) throws(SystemError) {
        guard let address = UnixAddress(path: path) else {
            throw SystemError(call: "sendto", errno: .noSuchFileOrDirectory)
        }
        try Descriptor.unixSocket(.datagram, isBlocking: false).send(bytes, to: address)
    }
}
